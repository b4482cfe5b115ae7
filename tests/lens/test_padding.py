"""Padded rows: at either side, a row's losses are those that it has alone."""

import pytest
import torch
from hugging_face_models import VOCABULARY, loaded, tried

from scrubbing import DataError, Graph, Hypothesis, ScrubbingWarning, reads, scrub
from scrubbing.lens import next_token_data, transformer

pytestmark = pytest.mark.usefixtures("unchecked")

LENGTHS = (9, 6, 2, 7)
NAMES = ["gpt2", "opt", "bloom", "llama", "mistral", "gemma2", "gpt_neox", "phi"]
ROWS = [
    torch.randint(0, VOCABULARY, (length,), generator=torch.Generator().manual_seed(i))
    for i, length in enumerate(LENGTHS)
]


def padded(side):
    """The rows as one array, what stands in the padding chosen at random, and where they are real."""
    tokens = torch.randint(0, VOCABULARY, (len(ROWS), max(LENGTHS)), generator=torch.Generator().manual_seed(9))
    mask = torch.zeros_like(tokens)
    for i, row in enumerate(ROWS):
        place = slice(0, len(row)) if side == "right" else slice(max(LENGTHS) - len(row), None)
        tokens[i, place], mask[i, place] = row, 1
    return tokens, mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", tried(NAMES, always=["gpt2", "bloom", "mistral"]))
def test_a_padded_row_has_the_loss_that_it_has_alone(name, side):
    model = loaded(name)
    tokens, mask = padded(side)
    weights = torch.ones(len(ROWS), max(LENGTHS) - 1, dtype=torch.float64)
    data = next_token_data(tokens, attention_mask=mask, weights=weights, model=model)
    per_position = sum(LENGTHS) / len(LENGTHS) - 1  # weights are divided by the mean number of labels in a row
    got = transformer(model, padded=True)(data) * per_position
    G = transformer(model)
    for row, loss in zip(ROWS, got, strict=True):
        alone = G(next_token_data(row[None], weights=torch.ones(1, len(row) - 1, dtype=torch.float64)))
        torch.testing.assert_close(loss, alone[0] * (len(row) - 1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", ["left", pytest.param("right", marks=pytest.mark.slow)])
def test_padded_rows_are_scored_as_rows_of_other_lengths(side):
    model = loaded("gpt2")
    tokens, mask = padded(side)
    weights = torch.ones(len(ROWS), max(LENGTHS) - 1, dtype=torch.float64)
    data = next_token_data(tokens, attention_mask=mask, weights=weights)
    G = transformer(model, padded=True)
    everything = {name: reads(*node.inputs) for name, node in G.items()}
    score = scrub(Hypothesis(G, Graph(everything)), data, baseline=Graph(loss=reads("labels", "weights")))
    torch.testing.assert_close(torch.tensor(score.by_reference.scrubbed, dtype=torch.float64), G(data))


def test_padding_that_no_node_reads_is_said():
    model = loaded("gpt2")
    tokens, mask = padded("left")
    G = transformer(model)
    h = Hypothesis(G, Graph(loss=reads("logits", "labels", "weights"), logits=reads("tokens")))
    with pytest.warns(ScrubbingWarning, match="attends to padding as to tokens; make the graph with transformer"):
        scrub(h, next_token_data(tokens, attention_mask=mask), baseline=Graph(loss=reads("labels", "weights")))


def test_position_embeddings_may_be_a_node_of_their_own():
    model = loaded("gpt2")
    tokens, mask = padded("left")
    data = next_token_data(tokens, attention_mask=mask)
    for options in ({"padded": True}, {}):
        apart, together = (transformer(model, pos_embed=own, **options) for own in (True, False))
        assert "pos_embed" in apart["a0_h0"].inputs
        torch.testing.assert_close(apart(data), together(data), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 0, 1, 1]], "'attention_mask' has padding between the tokens of row 0; pad at one side"),
        ([[0, 0, 0, 0]], "'attention_mask' marks no token in row 0; leave out rows without tokens"),
        ([[1, 1, 2, 1]], "'attention_mask' holds mark 2 in row 0, position 2, but marks go from 0 to 1"),
        ([[1, 1, 1]], r"'attention_mask' has the shape \[1, 3\]; for these tokens it must be \[1, 4\]"),
        ([[0.5, 1, 1, 1]], "'attention_mask' is of type float64; it must hold mark numbers"),
    ],
)
def test_a_mask_that_marks_no_row_is_an_error(mask, message):
    with pytest.raises(DataError, match=message):
        next_token_data([[1, 2, 3, 4]], attention_mask=mask)
    with pytest.raises(DataError, match="both lengths and attention_mask"):
        next_token_data([[1, 2, 3, 4]], lengths=[4], attention_mask=mask)
