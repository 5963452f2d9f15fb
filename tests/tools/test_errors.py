"""Texts of errors."""

from sigbit_tools.errors import SigbitError


def test_foreign_characters_are_escaped() -> None:
    text = "keys \x1b[2J, \x7f, \u2028, \ud800 and é\nof a file"
    assert str(SigbitError(text)) == "keys \\x1b[2J, \\x7f, \\u2028, \\ud800 and é\nof a file"
    assert str(SigbitError("plain")) == "plain"
