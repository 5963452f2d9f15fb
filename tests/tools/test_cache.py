"""The cache of builds: its names and its secret."""

from pathlib import Path

import pytest

from sigbit_tools.cache import cache_secret, cached_folder, key_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "A", "a_b", "verilog-nano.1", "a\n"])
def test_names_lead_nowhere_else(name: str, cache: Path) -> None:
    def make(into: Path) -> None:
        raise AssertionError("made")

    with pytest.raises(ValueError, match="must be named by a-z, 0-9 and -"):
        cached_folder(name, make)
    assert not list(cache.parent.glob("[!c]*"))


def test_a_folder_is_made_once(cache: Path) -> None:
    made = []

    def make(into: Path) -> None:
        made.append(into)
        (into / "x").write_text("1")

    name = f"verilog-{key_of('a', 'b')}"
    for _ in range(2):
        assert (cached_folder(name, make) / "x").read_text() == "1"
    assert len(made) == 1
    assert cached_folder(name, make).parent == cache


def test_the_secret_stays(cache: Path) -> None:
    secret = cache_secret()
    assert len(secret) == 32
    assert cache_secret() == secret
    (path,) = (p for p in cache.iterdir() if p.suffix != ".lock")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    assert len(cache_secret()) == 32
    assert cache_secret() != secret
