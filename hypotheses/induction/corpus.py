"""The text that the shipped model learns: the source of Python's own standard library, as rows of tokens."""

import sysconfig
from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt16
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from scrubbing.errors import DataError

BEGIN = "<|begin|>"
END = "<|end|>"

# Machine-made tables (character maps, help topics) would teach the model little but how to count.
_TABLES = {"site-packages", "encodings", "pydoc_data", "__pycache__"}
_HELD_OUT_SHARE = 10  # one file in ten is never trained on


def source_files(root: Path | None = None) -> list[Path]:
    """Every Python source file below `root`, in order; by default the running interpreter's standard library."""
    root = root or Path(sysconfig.get_paths()["stdlib"])
    return sorted(path for path in root.rglob("*.py") if not _TABLES & set(path.relative_to(root).parts))


def split_files(files: list[Path], root: Path) -> tuple[list[Path], list[Path]]:
    """Whole files to train on, and whole files held out; a file's side depends on its name alone."""
    held_out = [f for f in files if _bucket(f.relative_to(root)) == 0]
    return sorted(set(files) - set(held_out)), held_out


def _bucket(name: Path) -> int:
    return int.from_bytes(blake2b(name.as_posix().encode(), digest_size=8).digest(), "little") % _HELD_OUT_SHARE


def train_tokenizer(files: list[Path], d_vocab: int) -> Tokenizer:
    """A byte-level BPE of `d_vocab` tokens, two of them the row's BEGIN and a file's END."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((read_source(f) for f in files), trainer)
    return tokenizer


def special_tokens(tokenizer: Tokenizer) -> tuple[int, int]:
    """The numbers of BEGIN and END."""
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    if begin is None or end is None:
        raise DataError(f"the tokenizer lacks {BEGIN} or {END}; use one made by train_tokenizer")
    return begin, end


def read_source(path: Path) -> str:
    """A source file as text; bytes that are not UTF-8 (some of the library's tests hold them) are replaced."""
    return path.read_bytes().decode("utf8", errors="replace")


def token_stream(files: list[Path], tokenizer: Tokenizer) -> UInt16[np.ndarray, "tokens"]:
    """All files one after the other, each closed by END."""
    _, end = special_tokens(tokenizer)
    encoded = tokenizer.encode_batch([read_source(f) for f in files])
    return np.concatenate([np.array([*e.ids, end], dtype=np.uint16) for e in encoded])


def rows_at(
    stream: UInt16[np.ndarray, "tokens"],
    starts: Int[np.ndarray, "rows"],
    context: int,
    begin: int,
    periods: Int[np.ndarray, "rows"] | None = None,
) -> UInt16[np.ndarray, "rows context_plus_1"]:
    """Rows of BEGIN and the `context` tokens from each start: `context` inputs and as many labels.

    With `periods` a row repeats its first so many tokens.
    """
    places = np.arange(context)[None]
    if periods is not None:
        places = places % periods[:, None]
    rows = stream[starts[:, None] + places]
    return np.concatenate([np.full((len(rows), 1), begin, dtype=stream.dtype), rows], axis=1)


def held_out_rows(
    stream: UInt16[np.ndarray, "tokens"], rows: int, context: int, begin: int
) -> UInt16[np.ndarray, "rows context_plus_1"]:
    """`rows` rows that do not overlap, spread evenly over the stream."""
    return rows_at(stream, held_out_starts(stream, rows, context), context, begin)


def held_out_files(stream: UInt16[np.ndarray, "tokens"], rows: int, context: int, end: int) -> Int[np.ndarray, " rows"]:
    """The number of the file in which each held-out row starts."""
    ends = np.cumsum(stream == end) - (stream == end)  # before each token
    return np.unique(ends[held_out_starts(stream, rows, context)], return_inverse=True)[1]


def held_out_starts(stream: UInt16[np.ndarray, "tokens"], rows: int, context: int) -> Int[np.ndarray, " rows"]:
    """Where the held-out rows start.

    Raises `DataError` for a stream that is too short.
    """
    available = len(stream) // context
    if available < rows:
        raise DataError(
            f"{rows} held-out rows of {context} tokens were asked for, but the held-out files give {available}; "
            f"ask for fewer rows, or train on an interpreter whose standard library has its tests"
        )
    return np.linspace(0, available - 1, rows).astype(np.int64) * context
