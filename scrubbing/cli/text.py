"""Text that comes from files, made fit for a terminal."""


def printable(text: str) -> str:
    r"""The text with control characters, and others that do not show, written out: it cannot steer a terminal.

    >>> print(printable("naive\x1b[2J"))
    naive\x1b[2J
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    r"""The same with all its lines as one.

    >>> one_line("no such\n    file")
    'no such file'
    """
    return printable(" ".join(text.split()))
