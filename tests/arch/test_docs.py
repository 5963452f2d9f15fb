"""docs/isa.md is the page that the tables give."""

from pathlib import Path

from sigbit_hw.arch import docs, isa, regs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "isa.md"


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == docs.render(), (
        "run: python -m sigbit_hw.arch.docs docs/isa.md"
    )


def test_page_names_everything():
    page = docs.render()
    names = [f.name for o in isa.Opcode for f in isa.fields_of(o)]
    names += [r.name for r in regs.REGISTERS] + [c.name for c in regs.Cause]
    names += [name for name, _ in regs.COUNTERS]
    assert all(f"`{name}`" in page for name in names)


def test_the_page_is_written_or_printed(tmp_path, monkeypatch, capsys):
    path = tmp_path / "isa.md"
    monkeypatch.setattr("sys.argv", ["docs", str(path)])
    docs.main()
    assert path.read_text(encoding="utf-8") == docs.render()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.argv", ["docs"])
    docs.main()
    assert capsys.readouterr().out == docs.render()
