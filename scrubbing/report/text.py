"""Untrusted text (names, tokens, notes) as people can see it: nothing in it turns a line or moves a cursor."""

import unicodedata

NAMES = {" ": "·", "\n": "↵", "\t": "→", "\r": "␍"}
LONGEST = 34  # characters of a line in a picture; longer ones lose their middle
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, direction marks, halves of characters


def visible(text: str) -> str:
    r"""The text with characters that do not show, or that would turn the line around, written out.

    >>> print(visible("naive\x1b[2J"), visible("a\u202eb"))
    naive\x1b[2J a\u202eb
    """
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in HIDDEN else c for c in text)


def visible_token(text: str) -> str:
    r"""A token as it is shown among others: its spaces and line ends have signs.

    >>> visible_token(" def\n")
    '·def↵'
    """
    return "".join(NAMES.get(c) or visible(c) for c in text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text of at most so many characters, without its middle where it has more.

    >>> shortened("a_head_with_a_name", 9)
    'a_he...me'
    """
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    front = (longest - 3 + 1) // 2 + 1
    return f"{text[:front]}...{text[front + 3 - longest :]}"


def _escaped(c: str) -> str:
    return c.encode("unicode_escape", errors="backslashreplace").decode()
