"""Data files are read whole and right, or refused in one line: nothing is unpickled, waited for or taken on trust."""

import io
import os
import random
import struct
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest
import torch

from hypotheses.induction import archive
from hypotheses.induction.data import Rows, read_rows
from scrubbing.errors import DataError
from scrubbing.lens import TransformerConfig

ROWS, POSITIONS = 6, 4
CONFIG = TransformerConfig(n_layers=2, n_heads=2, d_model=4, d_head=2, d_vocab=9, n_ctx=POSITIONS)
RNG = np.random.default_rng(0)
GOOD = {
    "tokens": RNG.integers(0, 9, (ROWS, POSITIONS + 1)).astype(np.uint16),
    "other": np.roll(np.arange(ROWS), 1),
    "whitelist": np.arange(9) > 2,
    "weights": RNG.random((ROWS, POSITIONS)),
    "atypical": RNG.random((ROWS, POSITIONS)) < 0.5,
}


def npz(compressed=False, **changed) -> bytes:
    """A file's bytes; what is changed to None is left out."""
    file = io.BytesIO()
    arrays = {name: array for name, array in (GOOD | changed).items() if array is not None}
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    """A file of these members, and else of the good ones."""
    file, good = io.BytesIO(), zipfile.ZipFile(io.BytesIO(npz()))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name in GOOD:
            made.writestr(f"{name}.npy", members.get(name, good.read(f"{name}.npy")))
    return file.getvalue()


def npy(header: bytes, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An array's bytes under any header."""
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(padded))
    return b"\x93NUMPY" + bytes(version) + size + padded + content


def described(descr="'<u2'", shape="(6, 5)", order="False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()


def read(path, content, dtype=torch.float32) -> Rows:
    path.write_bytes(content)
    return read_rows(path, CONFIG, dtype)


def test_a_good_file_is_read(tmp_path):
    for content in (npz(), npz(compressed=True), zipped()):
        found = read(tmp_path / "data.npz", content)
        assert found.tokens.tolist() == GOOD["tokens"].tolist()
        assert found.other is not None
        assert found.other.tolist() == GOOD["other"].tolist()
        assert torch.equal(
            found.weights, torch.from_numpy(GOOD["weights"] * GOOD["whitelist"][GOOD["tokens"][:, :-1]]).float()
        )


HEADERS = {
    "nothing": b"",
    "no dict": b"(1, 2)",
    "text": b"not Python at all",
    "a call": b"__import__('os').system('touch unpickled')",
    "an open bracket": b"{" * 60,
    "deep": b"(" * 3000 + b")" * 3000,
    "long": b"{" + b"'a': 1, " * 4000 + b"}",
    "no bytes of text": b"\xff\xfe\x00{",
    "a null": b"{'descr': '<u2\x00', 'fortran_order': False, 'shape': (6, 5)}",
    "missing key": b"{'descr': '<u2', 'shape': (6, 5)}",
    "more keys": b"{'descr': '<u2', 'fortran_order': False, 'shape': (6, 5), 'more': 1}",
    "no type": described("'nonsense'"),
    "a type of nothing": described("''"),
    "a number for a type": described("7"),
    "objects": described("'|O'"),
    "objects in fields": described("[('a', '|O'), ('b', '<i8')]"),
    "fields": described("[('a', '<i2')]"),
    "a void": described("'|V2'"),
    "dates": described("'<M8[D]'", "(6, 5)"),
    "an empty type": described("'|S0'"),
    "complex": described("'<c8'"),
    "text for numbers": described("'<U1'"),
    "floats": described("'<f4'"),
    "booleans": described("'|b1'"),
    "a list for a shape": described(shape="[6, 5]"),
    "a number for a shape": described(shape="30"),
    "a negative shape": described(shape="(-6, -5)"),
    "half a shape": described(shape="(6.0, 5)"),
    "a huge shape": described(shape="(10000000000, 5)"),
    "a shape beyond all": described(shape=f"({2**64}, 5)"),
    "a product beyond all": described(shape=f"({2**33}, {2**33})"),
    "a shape of nothing": described(shape="(0, 5)"),
    "three axes": described(shape="(6, 5, 1)"),
    "one axis": described(shape="(30,)"),
    "no axis": described(shape="()"),
    "many axes": described(shape=f"({'1, ' * 70})"),
    "longer rows": described(shape="(5, 6)"),
    "fewer rows": described(shape="(5, 5)"),
    "more rows": described(shape="(7, 5)"),
    "no order": described(order="'C'"),
}
CONTENT = GOOD["tokens"].tobytes()
ARRAYS = {
    **{f"header: {name}": zipped(tokens=npy(header, CONTENT)) for name, header in HEADERS.items()},
    **{f"old header: {name}": zipped(tokens=npy(h, CONTENT, (2, 0))) for name, h in list(HEADERS.items())[:12]},
    **{
        f"format {version}": zipped(tokens=npy(described(), CONTENT, version))
        for version in ((0, 0), (1, 1), (3, 0), (9, 0), (255, 255))
    },
    "no array": zipped(tokens=b"no array"),
    "an empty array": zipped(tokens=b""),
    "half a magic": zipped(tokens=b"\x93NUM"),
    "a magic alone": zipped(tokens=b"\x93NUMPY\x01\x00"),
    "a header that is cut": zipped(tokens=npy(described(), CONTENT)[:40]),
    "content that is cut": zipped(tokens=npy(described(), CONTENT[:-1])),
    "content that goes on": zipped(tokens=npy(described(), CONTENT + b"\x00")),
    "a pickle": zipped(tokens=b"cos\nsystem\n(S'touch unpickled'\ntR."),
}
WRONG = {
    "no tokens": dict(tokens=None),
    "float tokens": dict(tokens=GOOD["tokens"].astype(float)),
    "boolean tokens": dict(tokens=GOOD["tokens"] > 0),
    "a token beyond the vocabulary": dict(tokens=np.where(np.arange(30).reshape(6, 5) == 7, 9, GOOD["tokens"])),
    "a label beyond the vocabulary": dict(tokens=np.where(np.arange(30).reshape(6, 5) == 9, 9, GOOD["tokens"])),
    "a negative token": dict(tokens=GOOD["tokens"].astype(int) - 9),
    "a token beyond int64": dict(tokens=np.full((6, 5), 2**64 - 1, dtype=np.uint64)),
    "no rows": dict(tokens=np.zeros((0, 5), int)),
    "rows of one token": dict(tokens=np.zeros((6, 1), int)),
    "rows of no token": dict(tokens=np.zeros((6, 0), int)),
    "rows beyond the context": dict(tokens=np.zeros((6, 6), int)),
    "tokens of three axes": dict(tokens=np.zeros((6, 5, 1), int)),
    "tokens of one axis": dict(tokens=np.zeros(30, int)),
    "other beyond the rows": dict(other=np.full(6, 6)),
    "negative other": dict(other=np.full(6, -1)),
    "float other": dict(other=np.zeros(6)),
    "boolean other": dict(other=np.zeros(6, bool)),
    "too few others": dict(other=np.zeros(5, int)),
    "other of two axes": dict(other=np.zeros((6, 1), int)),
    "a short whitelist": dict(whitelist=np.ones(8, bool)),
    "a long whitelist": dict(whitelist=np.ones(10, bool)),
    "an empty whitelist": dict(whitelist=np.zeros(9, bool)),
    "a whitelist of tokens": dict(whitelist=np.arange(9)),
    "a whitelist of shares": dict(whitelist=np.ones(9) / 2),
    "a whitelist of text": dict(whitelist=np.array(["yes"] * 9)),
    "weights one position short": dict(weights=np.ones((6, 3))),
    "weights for labels too": dict(weights=np.ones((6, 5))),
    "weights by row": dict(weights=np.ones(6)),
    "weights that are not a number": dict(weights=np.where(np.arange(24).reshape(6, 4) == 3, np.nan, 1.0)),
    "infinite weights": dict(weights=np.full((6, 4), np.inf)),
    "a negative weight": dict(weights=np.where(np.arange(24).reshape(6, 4) == 3, -1.0, 1.0)),
    "complex weights": dict(weights=np.ones((6, 4), complex)),
    "weights of text": dict(weights=np.full((6, 4), "1")),
    "weights of dates": dict(weights=np.zeros((6, 4), "M8[D]")),
    "no weight": dict(weights=np.zeros((6, 4))),
    "weights too large for the type": dict(weights=np.full((6, 4), 1e300)),
    "weights too small for the type": dict(weights=np.full((6, 4), 1e-300)),
    "atypical by row": dict(atypical=np.ones(6, bool)),
    "atypical by token": dict(atypical=np.ones((6, 5), bool)),
    "atypical of numbers": dict(atypical=np.full((6, 4), 2)),
    "atypical of shares": dict(atypical=np.full((6, 4), 0.5)),
    "a misspelt array": dict(weights=None, weigths=GOOD["weights"]),
    "another misspelt array": dict(other=None, others=GOOD["other"]),
}
WHERE = {
    "a token beyond the vocabulary": "'tokens' holds token 9 in row 1, position 2, but tokens go from 0 to 8",
    "weights that are not a number": "'weights' holds nan in row 0, position 3; they must be finite numbers",
    "weights too large for the type": "'weights' of up to 1e+300 are not finite as torch.float32; ",
    "weights too small for the type": "'weights' of up to 1e-300 are all 0 as torch.float32; give weights of around 1",
    "a misspelt array": "there is no use for an array 'weigths'; did you mean 'weights'?",
    "a negative token": "'tokens' holds token -",
}


def twice() -> bytes:
    file = io.BytesIO(npz())
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as made:
        warnings.simplefilter("ignore")
        made.writestr("tokens.npy", npy(described(), CONTENT[::-1]))
    return file.getvalue()


def many() -> bytes:
    file = io.BytesIO(npz())
    with zipfile.ZipFile(file, "a") as made:
        for number in range(archive.MANY):
            made.writestr(f"{number}.npy", b"")
    return file.getvalue()


def with_flags(offset: int, value: int) -> bytes:
    """A file of which each member's headers say something else: encrypted, or packed in another way."""
    content = bytearray(npz())
    for signature, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = content.find(signature)
        while start >= 0:
            content[start + offset + shift] = value
            start = content.find(signature, start + 1)
    return bytes(content)


FILES = {
    "nothing": b"",
    "text": b"tokens: 1 2 3",
    "an array alone": npy(described(), CONTENT),
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "half a file": npz()[: len(npz()) // 2],
    "the end alone": npz()[-100:],
    "an array that stands twice": twice(),
    "too many arrays": many(),
    "encrypted": with_flags(6, 1),
    **{f"packed by method {method}": with_flags(8, method) for method in (1, 6, 12, 14, 99)},
}


@pytest.mark.parametrize("name", [*ARRAYS, *FILES, *WRONG])
def test_a_bad_file_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = ARRAYS.get(name) or FILES.get(name)
    content = npz(**WRONG[name]) if content is None and name in WRONG else content or b""
    with pytest.raises(DataError) as error:
        read(tmp_path / "data.npz", content)
    assert str(error.value).startswith(f"{tmp_path / 'data.npz'}")
    assert str(error.value).isprintable()
    assert WHERE.get(name, "") in str(error.value)
    assert len(str(error.value)) < 500 + len(str(tmp_path))
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_a_file_with_changed_bytes_is_refused_or_says_the_same(seed, compressed, tmp_path):
    content = mutated(npz(compressed), seed)
    expected = read(tmp_path / "good.npz", npz())
    try:
        found = read(tmp_path / "data.npz", content)
    except DataError:
        return
    for column, values in expected.columns().items():
        assert torch.equal(found.columns()[column], values)
    assert torch.equal(found.other, expected.other)


def mutated(content: bytes, seed: int) -> bytes:
    """The same with some bytes changed, cut out or put in."""
    rng, changed = random.Random(seed), bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        place, size = rng.randrange(len(changed)), rng.choice((1, 1, 4, 30))
        kind = rng.choice(("flip", "random", "zero", "cut", "put in", "truncate"))
        if kind == "flip":
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == "random":
            changed[place : place + size] = rng.randbytes(size)
        elif kind == "zero":
            changed[place : place + size] = bytes(size)
        elif kind == "cut":
            del changed[place : place + size]
        elif kind == "put in":
            changed[place:place] = rng.randbytes(size)
        elif len(changed) > 40:
            del changed[rng.randrange(20, len(changed)) :]
    return bytes(changed)


def bomb(path) -> None:
    """Tokens of the right width that unpack to more than there may be."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("tokens.npy", "w", force_zip64=True) as file,
    ):
        file.write(npy(described("'|u1'", "(1000000, 5)")))
        for _ in range(50):
            file.write(bytes(100_000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "it is no ordinary file"),
        (os.mkdir, "it is no ordinary file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no ordinary file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (bomb, "unpacks to more than 0 GiB; give fewer rows"),
        (lambda path: None, "there is no data file"),
    ],
)
def test_what_would_never_end_is_not_begun(make, message, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 10**6)
    monkeypatch.setattr(archive, "_array", partial(pytest.fail, "the array was read"))
    make(tmp_path / "data.npz")
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "data.npz", CONFIG, torch.float32)


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "\ud800", ""])
def test_names_that_no_file_can_have_are_said(name, tmp_path):
    with pytest.raises(DataError):
        read_rows(tmp_path / name, CONFIG, torch.float32)


def test_labels_are_of_the_vocabulary_that_is_predicted(tmp_path):
    narrow = CONFIG.model_copy(update={"d_vocab_out": 5})
    tokens = np.minimum(GOOD["tokens"], 4)
    tokens[2, 3] = 7
    (tmp_path / "data.npz").write_bytes(npz(tokens=tokens))
    with pytest.raises(DataError, match="'labels' holds token 7 in row 2, position 2, but tokens go from 0 to 4"):
        read_rows(tmp_path / "data.npz", narrow, torch.float32)
