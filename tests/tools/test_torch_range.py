"""The range of torch releases, and the script that tests its ends."""

import pytest
from packaging.requirements import Requirement

from tools.torch_range import ROOT, allowed, main, wanted


def test_the_lock_lies_in_the_range() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    (locked,) = (Requirement(line) for line in lines if line.startswith("torch=="))
    (pin,) = locked.specifier
    oldest = Requirement(wanted("oldest"))
    assert allowed().specifier.contains(pin.version)
    assert not oldest.specifier.contains(pin.version)
    (least,) = oldest.specifier
    assert allowed().specifier.contains(least.version)
    assert Requirement(wanted("newest")) == allowed()


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--only", "some"], 2)])
def test_help_and_mistakes(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == code
    said = capsys.readouterr()
    assert "oldest" in said.out + said.err
