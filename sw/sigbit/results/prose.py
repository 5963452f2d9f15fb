"""Numbers in the text of a page: all of them must come from rows.

While a page is rendered, values computed by the template stand between markers; a number outside
them was typed. Numbers in names are not figures: words with letters in them (ResNet-18, 4x4),
widths (4 and 3 bits), formats and shapes ((4,1)), code, and links.
"""

import re

OPEN, CLOSE = "\x02", "\x03"
"""Markers around values computed by a template."""
_NAMES = (
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"```.*?```|^ {4}.*$|`[^`\n]*`", re.S | re.M),
    re.compile(r"\]\([^)\n]*\)"),
    re.compile(r"(?<![\w.,])[1-8](?:(?:, | and | or | to | x )[1-8])*\sbits?\b"),
    re.compile(r"\(-?\d+(?:, ?-?\d+)+\)"),
)
"""Comments, code, targets of links, widths, and tuples such as (4,1)."""
_WORD = re.compile(r"[^\s()]+")


def marked(value: object) -> str:
    """A computed value between markers."""
    return f"{OPEN}{value}{CLOSE}"


def plain(text: str) -> str:
    """A page without markers."""
    return text.replace(OPEN, "").replace(CLOSE, "")


def typed(text: str) -> str:
    """A page with a ``#`` in place of everything computed."""
    kept: list[str] = []
    depth = 0
    for character in text:
        if character == OPEN:
            kept += ["#"] * (depth == 0)
            depth += 1
        elif character == CLOSE:
            depth -= 1
        elif depth == 0:
            kept.append(character)
    return "".join(kept)


def typed_numbers(text: str) -> list[str]:
    """Numbers of a marked page that are neither computed nor part of a name, each with the
    surrounding words."""
    rest = typed(text)
    for pattern in _NAMES:
        rest = pattern.sub(" ", rest)
    words = _WORD.findall(rest)
    return [
        " ".join(words[max(0, k - 2) : k + 3])
        for k, word in enumerate(words)
        if any(c.isdigit() for c in word) and not any(c.isalpha() for c in word)
    ]
