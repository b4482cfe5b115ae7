"""Strings of brackets: random ones, those of a file, and their tokens."""

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.random import Generator

from scrubbing.errors import DataError
from scrubbing.graph.reading import in_short, read_file

START, PAD, END, OPEN, CLOSE = range(5)
TOKENS = 5  # in all
CHARACTERS = {"(": OPEN, ")": CLOSE}
AROUND = 2  # tokens around a string: start and end

LONGEST = 40  # brackets of a random string
COINS, SHUFFLED, BALANCED, EXCHANGED = 640, 118, 186, 56  # of a thousand random strings

GZIP = b"\x1f\x8b"
LARGEST = 2**26  # characters that a file may unpack to

Opens = Int[np.ndarray, "row bracket"]  # 1 for "(", 0 for ")"


def random_strings(rows: int, seed: int | Sequence[int]) -> list[str]:
    """Strings of 2 to 40 brackets, about 26.4% of them balanced. Each length is even, and all are equally common.

    Of a thousand strings 640 are coin flips; 118 have as many "(" as ")", in random order; 186 are balanced, uniformly
    among all balanced strings of the length; 56 are balanced but for two brackets that were exchanged.

    >>> strings = random_strings(3, seed=5)
    >>> strings[0], strings[2]
    (')())))))()(())))()((())()(((', '()')
    """
    rng = np.random.default_rng(seed)
    pairs = rng.integers(1, LONGEST // 2 + 1, rows)
    kind = rng.choice(4, rows, p=np.array([COINS, SHUFFLED, BALANCED, EXCHANGED]) / 1000)
    found = np.empty(rows, dtype=object)
    for n in range(1, LONGEST // 2 + 1):
        for k, draw in enumerate((_coins, _shuffled, _balanced, _exchanged)):
            (chosen,) = np.nonzero((pairs == n) & (kind == k))
            found[chosen] = ["".join(row) for row in np.where(draw(len(chosen), n, rng), "(", ")")]
    return found.tolist()


def balanced(string: str) -> bool:
    """Whether every bracket has its partner.

    >>> balanced("(())()"), balanced("())(")
    (True, False)
    """
    depth = 0
    for character in string:
        depth += 1 if character == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def tokens_of(strings: Sequence[str]) -> Int[np.ndarray, "row position"]:
    """Start, the brackets and end of each string, then padding, up to the longest.

    >>> tokens_of(["()", "(())"]).tolist()
    [[0, 3, 4, 2, 1, 1], [0, 3, 3, 4, 4, 2]]
    """
    found = np.full((len(strings), max(map(len, strings)) + AROUND), PAD)
    for row, string in zip(found, strings, strict=True):
        row[: len(string) + AROUND] = [START, *(CHARACTERS[character] for character in string), END]
    return found


def read_strings(path: Path, n_ctx: int) -> list[str]:
    """The strings of a text file, one a line, in order; the file may be packed with gzip.

    Raises `DataError` for a file that is missing or damaged, for a line that is empty or holds anything but brackets,
    and for one that a context of `n_ctx` tokens does not hold.
    """
    lines = _text(path).split("\n")
    lines = lines[:-1] if not lines[-1] else lines
    if not lines:
        raise DataError(f"{path} is empty; it must hold strings of brackets, one a line")
    longest = n_ctx - AROUND
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"line {number} of {path} is empty; every line must hold a string of brackets")
        if line.strip("()"):
            raise DataError(f"line {number} of {path} holds {line.strip('()')[0]!r}; a string is made of ( and ) alone")
        if len(line) > longest:
            raise DataError(
                f"line {number} of {path} has {len(line)} brackets; with a start and an end the model's context "
                f"of {n_ctx} holds {longest}"
            )
    return lines


def _text(path: Path) -> str:
    try:
        content = read_file(path)
        if content.startswith(GZIP):
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise DataError(f"{path} unpacks to more than {LARGEST // 2**20} MiB; give fewer strings")
        return content.decode("ascii").replace("\r\n", "\n")
    except FileNotFoundError:
        raise DataError(f"there is no file of strings {path}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged or no text of brackets ({in_short(error)})") from None


def _coins(rows: int, n: int, rng: Generator) -> Opens:
    return rng.integers(0, 2, (rows, 2 * n))


def _shuffled(rows: int, n: int, rng: Generator) -> Opens:
    return rng.permuted(np.tile([1, 0], (rows, n)), axis=1)


def _balanced(rows: int, n: int, rng: Generator) -> Opens:
    """Uniform by the cycle lemma: of n "(" and n + 1 ")" in a circle, one place to begin gives a balanced string."""
    circle = rng.permuted(np.repeat([[1, 0]], rows, axis=0).repeat([n, n + 1], axis=1), axis=1)
    begin = (2 * circle - 1).cumsum(1).argmin(1) + 1  # after the first of the lowest points
    order = (begin[:, None] + np.arange(2 * n)) % (2 * n + 1)
    return np.take_along_axis(circle, order, axis=1)


def _exchanged(rows: int, n: int, rng: Generator) -> Opens:
    strings = _balanced(rows, n, rng)
    places = rng.permuted(np.tile(np.arange(2 * n), (rows, 1)), axis=1)[:, :2]
    values = np.take_along_axis(strings, places[:, ::-1], axis=1)
    np.put_along_axis(strings, places, values, axis=1)
    return strings
