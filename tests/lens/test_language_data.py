"""Rows of tokens become columns, and every mistake is named by column and row."""

import numpy as np
import pandas as pd
import pytest
import torch
from reference_transformer import random_data, random_transformer

from scrubbing import DataError, Graph, Hypothesis, reads, scrub
from scrubbing.lens import next_token_data, transformer

TOKENS = torch.tensor([[1, 2, 3, 4], [5, 6, 5, 0], [2, 2, 2, 2]])


def test_labels_are_the_tokens_that_follow():
    data = next_token_data(TOKENS)
    assert list(data) == ["tokens", "labels", "weights"]
    assert data["tokens"].tolist() == TOKENS[:, :-1].tolist()
    assert data["labels"].tolist() == TOKENS[:, 1:].tolist()
    assert torch.equal(data["weights"], torch.full((3, 3), 1 / 3))


@pytest.mark.parametrize("lengths", [None, [4, 3, 1]])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_mean_over_rows_is_the_mean_over_evaluated_positions(lengths, kind):
    losses = torch.rand(3, 3, dtype=torch.float64)
    weights = torch.rand(3, 3).to(kind)
    data = next_token_data(TOKENS, lengths, weights)
    assert data["weights"].dtype == kind
    real = torch.ones(3, 3) if lengths is None else torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    expected = (losses * weights * real).sum() / (weights * real).sum()
    torch.testing.assert_close((losses * data["weights"]).sum(1).mean(), expected, rtol=1e-6, atol=0, check_dtype=False)


def test_padding_may_hold_anything_and_is_not_evaluated():
    model = random_transformer()
    padded = TOKENS.clone()
    padded[1, 3] = -100
    padded[2, 1:] = 10**6
    data = next_token_data(padded, [4, 3, 1], model=model)
    assert (data["weights"] != 0).tolist() == [[True] * 3, [True, True, False], [False] * 3]
    assert 0 <= min(data["tokens"].min(), data["labels"].min()) <= max(data["tokens"].max(), data["labels"].max()) < 7
    G = transformer(model)
    assert torch.equal(G(data)[:2], G(next_token_data(TOKENS, [4, 3, 1], model=model))[:2])


def test_groups_are_kept_as_a_column():
    assert next_token_data(TOKENS, groups=["a", "b", "a"])["groups"].tolist() == ["a", "b", "a"]
    assert next_token_data(TOKENS, groups=torch.tensor([0, 1, 1]))["groups"].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "tokens",
    [TOKENS.numpy(), TOKENS.tolist(), TOKENS.int(), TOKENS.numpy().astype(np.uint16), pd.DataFrame(TOKENS)],
)
def test_tokens_come_in_many_types(tokens):
    data = next_token_data(tokens, weights=np.ones((3, 3), int))
    assert data["tokens"].dtype == torch.int64
    assert data["labels"].tolist() == TOKENS[:, 1:].tolist()


BEYOND = TOKENS.clone()
BEYOND[1, 2] = 7
ONES = np.ones((3, 3))


def at(row, position, value):
    changed = ONES.copy()
    changed[row, position] = value
    return changed


MISTAKES = {
    "float tokens": (dict(tokens=TOKENS.float()), "'tokens' is of type float32; it must hold token numbers"),
    "boolean tokens": (dict(tokens=TOKENS > 1), "'tokens' is of type bool"),
    "complex tokens": (dict(tokens=TOKENS.to(torch.complex64)), "'tokens' is of type complex64"),
    "tokens of text": (dict(tokens=[["a", "b"]]), "'tokens' is of type <U1"),
    "words": (dict(tokens=["a b c"]), r"'tokens' has the shape \[1\]; it must be \[rows, context \+ 1\]"),
    "ragged tokens": (dict(tokens=[[1, 2], [3]]), "the column 'tokens' is ragged: row 0 has 2 entries, row 1 has 1"),
    "masked tokens": (dict(tokens=np.ma.masked_equal(TOKENS.numpy(), 5)), "the column 'tokens' is masked in row 1"),
    "no tokens": (dict(tokens=None), "the column 'tokens' is a single value"),
    "no rows": (dict(tokens=TOKENS[:0]), r"'tokens' has the shape \[0, 4\]"),
    "one token each": (dict(tokens=TOKENS[:, :1]), r"'tokens' has the shape \[3, 1\]"),
    "one row": (dict(tokens=TOKENS[0]), r"'tokens' has the shape \[4\]"),
    "three axes": (dict(tokens=TOKENS[None]), r"'tokens' has the shape \[1, 3, 4\]"),
    "a token below 0": (dict(tokens=TOKENS - 1), r"'tokens' holds token -1 in row 1, position 3, but tokens are none"),
    "a token beyond the vocabulary": (
        dict(tokens=BEYOND, d_vocab=7),
        "'tokens' holds token 7 in row 1, position 2, but tokens go from 0 to 6",
    ),
    "a token beyond the model": (dict(tokens=BEYOND, model=random_transformer()), "'tokens' holds token 7 in row 1"),
    "a token beyond int64": (dict(tokens=np.full((2, 2), 2**64 - 1, np.uint64)), "the column 'tokens' holds whole"),
    "rows beyond the context": (
        dict(n_ctx=2),
        "rows of 4 tokens give 3 inputs, but the model's context is 2; cut the rows to 3 tokens",
    ),
    "rows beyond the model": (dict(tokens=torch.zeros(2, 7).long(), model=random_transformer()), "rows of 7 tokens"),
    "weights one position short": (
        dict(weights=ONES[:, 1:]),
        r"'weights' has the shape \[3, 2\]; for these tokens it must be \[3, 3\]",
    ),
    "weights of all tokens": (dict(weights=np.ones((3, 4))), r"'weights' has the shape \[3, 4\]"),
    "weights one row short": (dict(weights=ONES[1:]), r"'weights' has the shape \[2, 3\]"),
    "weights by row": (dict(weights=[1, 1, 1]), r"'weights' has the shape \[3\]"),
    "one weight": (dict(weights=1.0), "the column 'weights' is a single value"),
    "a weight that is no number": (dict(weights=at(2, 1, np.nan)), "'weights' holds nan in row 2, position 1; they"),
    "an infinite weight": (dict(weights=at(0, 2, np.inf)), "'weights' holds inf in row 0, position 2"),
    "a weight below 0": (dict(weights=at(1, 0, -1)), "'weights' holds -1.0 in row 1, position 0"),
    "complex weights": (dict(weights=ONES * 1j), "'weights' is of type complex128"),
    "weights of text": (dict(weights=np.full((3, 3), "1")), "'weights' is of type <U1"),
    "masked weights": (dict(weights=np.ma.masked_equal(at(1, 0, 9), 9)), "the column 'weights' is masked in row 1"),
    "no weight": (dict(weights=ONES * 0), "no position of the data has a weight above 0"),
    "weights beyond float32": (
        dict(weights=torch.full((3, 3), 1e308, dtype=torch.float64)),
        "'weights' of up to 1e.308 are all 0 as torch.float64",
    ),
    "lengths beyond the row": (
        dict(lengths=[4, 5, 4]),
        "'lengths' holds length 5 in row 1, but lengths go from 0",
    ),
    "lengths below 0": (dict(lengths=[4, -1, 4]), "'lengths' holds length -1 in row 1"),
    "an empty row": (dict(lengths=[4, 4, 0]), "'lengths' holds length 0 in row 2; leave out rows without tokens"),
    "rows of one token": (dict(lengths=[1, 1, 1]), "no position of the data has a weight above 0"),
    "float lengths": (dict(lengths=[4.0, 4.0, 4.0]), "'lengths' is of type float64; it must hold length numbers"),
    "boolean lengths": (dict(lengths=[True] * 3), "'lengths' is of type bool"),
    "too few lengths": (dict(lengths=[4, 4]), r"'lengths' has the shape \[2\]; for these tokens it must be \[3\]"),
    "a mask for lengths": (dict(lengths=np.ones((3, 4), int)), r"'lengths' has the shape \[3, 4\]"),
    "one length": (dict(lengths=4), "the column 'lengths' is a single value"),
    "padding before the tokens": (dict(tokens=TOKENS - 1, lengths=[4, 4, 4]), "'tokens' holds token -1 in row 1"),
    "too few groups": (dict(groups=["a"]), r"'groups' has the shape \[1\]; for these tokens it must be \[3\]"),
    "groups by position": (dict(groups=ONES), r"'groups' has the shape \[3, 3\]"),
    "one group": (dict(groups="a"), "the column 'groups' is a single value"),
    "groups of nothing": (dict(groups=[None, 1, 2]), "the column 'groups' holds None in row 0"),
    "ragged groups": (dict(groups=[[1], [1, 2], [3]]), "the column 'groups' is ragged"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_named(name):
    arguments, message = MISTAKES[name]
    with pytest.raises(DataError, match=f"^{message}") as error:
        next_token_data(**{"tokens": TOKENS} | arguments)
    assert "\n" not in str(error.value)


# -- columns that were made by hand

MODEL = random_transformer(positional_embedding_type="standard")
NETWORK = transformer(MODEL)
NOTHING = Graph(loss=reads("labels", "weights"))
CLAIM = Hypothesis(
    NETWORK, Graph(loss=reads("logits", "labels", "weights"), logits=reads("embed"), embed=reads("tokens"))
)
DATA = random_data(MODEL.config, rows=4)


def changed(column, change):
    return {column: change(DATA[column].clone())}


def entry(row, position, value):
    def change(column):
        column[row, position] = value
        return column

    return change


HAND_MADE = {
    "labels one position short": (changed("labels", lambda c: c[:, 1:]), r"'labels' has the shape \[4, 4\]; for these"),
    "labels one position long": (
        changed("labels", lambda c: torch.cat([c, c[:, :1]], dim=1)),
        r"'labels' has the shape \[4, 6\]; for these tokens it must be \[4, 5\]",
    ),
    "weights one position short": (changed("weights", lambda c: c[:, 1:]), r"'weights' has the shape \[4, 4\]"),
    "weights by row": (changed("weights", lambda c: c[:, 0]), r"'weights' has the shape \[4\]"),
    "float labels": (
        changed("labels", lambda c: c.double()),
        "'labels' is of type float64; it must hold token numbers",
    ),
    "float tokens": (changed("tokens", lambda c: c.float()), "'tokens' is of type float32; it must hold token numbers"),
    "a label beyond": (changed("labels", entry(2, 3, 7)), "'labels' holds token 7 in row 2, position 3, but tokens go"),
    "a label below 0": (changed("labels", entry(1, 4, -100)), "'labels' holds token -100 in row 1, position 4"),
    "a token beyond": (changed("tokens", entry(3, 0, 7)), "'tokens' holds token 7 in row 3, position 0, but tokens go"),
    "a token below 0": (changed("tokens", entry(0, 2, -1)), "'tokens' holds token -1 in row 0, position 2"),
    "a weight that is no number": (
        changed("weights", entry(1, 1, torch.nan)),
        "'weights' holds nan in row 1, position 1",
    ),
    "an infinite weight": (changed("weights", entry(2, 4, -torch.inf)), "'weights' holds -inf in row 2, position 4"),
    "complex weights": (changed("weights", lambda c: c * 1j), "'weights' is of type complex128; it must hold numbers"),
    "rows beyond the context": (
        {name: torch.cat([column, column], dim=1) for name, column in DATA.items()},
        "'tokens' has rows of 10 tokens, but the model's context is 5; cut the rows",
    ),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_mistakes_in_columns_that_were_made_by_hand_are_named(name):
    columns, message = HAND_MADE[name]
    with pytest.raises(DataError, match=f"^{message}"):
        scrub(CLAIM, DATA | columns, baseline=NOTHING)


@pytest.mark.usefixtures("unchecked")
def test_labels_that_nobody_reads_may_be_anything():
    weights = DATA["weights"].clone()
    weights[:, 2] = 0
    labels = DATA["labels"].clone()
    labels[:, 2] = -100
    expected = scrub(CLAIM, DATA | {"weights": weights}, baseline=NOTHING)
    assert scrub(CLAIM, DATA | {"weights": weights, "labels": labels}, baseline=NOTHING) == expected


@pytest.mark.parametrize(("x", "value"), [(0.0, "-inf"), (-1.0, "nan")])
def test_a_loss_that_is_not_finite_is_named_by_its_row(x, value):
    G = Graph(h=lambda x: x.log(), loss=lambda h, y: h + y)
    rewritten = G.rewritten({"h": lambda x: x.log() + 0})
    data = {"x": torch.tensor([1.0, 2.0, x, 3.0]), "y": torch.arange(4.0)}
    claim = Hypothesis(rewritten, Graph(h=reads("x"), loss=reads("h", "y")))
    with pytest.raises(DataError, match=f"the network's own loss of row 2 is {value}; losses must be finite"):
        scrub(claim, data, baseline=Graph(loss=reads("y")))


def test_a_complex_loss_is_refused():
    G = Graph(a=lambda x: x * 1j, loss=lambda a, y: a + y)
    data = {"x": torch.rand(5), "y": torch.rand(5)}
    with pytest.raises(DataError, match="the output of G is complex, and a loss is a real number"):
        scrub(Hypothesis(G, Graph(a=reads("x"), loss=reads("a", "y"))), data, baseline=Graph(loss=reads("y")))
