"""Numbers in the text of a page: all of them come from rows.

While a page is rendered, what the template computes stands between marks; numbers outside of them
were typed. Numbers that name something are no figures: words with letters in them (ResNet-18, 4x4),
widths (4 bits), and code.
"""

import re

OPEN, CLOSE = "\x02", "\x03"
"""Marks around what a template computes."""
_CODE = re.compile(r"```.*?```|^ {4}.*$|`[^`\n]*`", re.S | re.M)
_LINK = re.compile(r"\]\([^)\n]*\)")
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_WIDTH = re.compile(r"(?<![\w.,])[1-8](?:(?:, | and | or | to | x )[1-8])*[ \n]bits?\b")
_NUMBER = re.compile(r"(?<!\w)[\d.,]*\d")


def marked(value: object) -> str:
    """A computed value between marks."""
    return f"{OPEN}{value}{CLOSE}"


def plain(text: str) -> str:
    """A page without marks."""
    return text.replace(OPEN, "").replace(CLOSE, "")


def typed(text: str) -> str:
    """A page with a ``#`` for everything computed."""
    kept, depth = [], 0
    for character in text:
        if character == OPEN:
            kept += ["#"] if depth == 0 else []
            depth += 1
        elif character == CLOSE:
            depth -= 1
        elif depth == 0:
            kept.append(character)
    return "".join(kept)


def typed_numbers(text: str) -> list[str]:
    """Numbers of a marked page that are neither computed nor part of a name, each with the words
    around it."""
    rest = typed(text)
    for pattern in (_COMMENT, _CODE, _LINK, _WIDTH):
        rest = pattern.sub(" ", rest)
    found = []
    for match in _NUMBER.finditer(rest):
        start = max(rest.rfind(c, 0, match.start()) for c in " \n(") + 1
        end = min(
            k
            for c in " \n)"
            if (k := rest.find(c, match.end())) >= 0 or (True and (k := len(rest)))
        )
        word = rest[start:end]
        if not any(c.isalpha() for c in word):
            found.append(" ".join(rest[max(0, start - 20) : end + 20].split()))
    return found
