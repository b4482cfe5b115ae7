"""A network written by hand whose head 1.0 does two things, by the kind of its destination: the known answer.

Rows are BEGIN and a shuffle of words. Head 0.0 writes each token into its successor's PREVIOUS block. Head 1.0 of a
destination of class X attends to the token before, by position; of class Y to the follower of an earlier copy of
itself, by PREVIOUS; to BEGIN where there is none. It copies what it attends to into OUTPUT, which the logits read.

>>> model = build()
>>> model.config.n_layers, model.config.n_heads
(2, 2)
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.polysemantic.tokens import Kinds
from scrubbing.lens import Transformer, TransformerConfig

BEGIN, X, Y = 0, tuple(range(1, 7)), tuple(range(7, 13))  # tokens by class
N_TOKENS = 13
N_CTX = 20
HEAD = (1, 0)

TOKEN, PREVIOUS, OUTPUT = (slice(start, start + N_TOKENS) for start in range(0, 3 * N_TOKENS, N_TOKENS))
POSITION = slice(3 * N_TOKENS, 3 * N_TOKENS + N_CTX)
D_MODEL = POSITION.stop
D_HEAD = N_TOKENS + N_CTX + 1
MATCH, FALLBACK = 60.0, 30.0  # scores: of a match, and of BEGIN
CONFIDENCE = 4.0  # the logit of what was attended to

Matrix = Float[Tensor, "d_model d_head"]


def build(dtype: torch.dtype = torch.float64) -> Transformer:
    """The network: two layers of two heads, of which the second of each does nothing, and no norms."""
    eye, nothing = torch.eye(D_MODEL, dtype=dtype), torch.zeros(D_MODEL, D_HEAD, dtype=dtype)
    weights = {"embed.W_E": eye[TOKEN], "pos_embed.W_pos": eye[POSITION], "unembed.W_U": CONFIDENCE * eye[:, OUTPUT]}
    for layer, matrices in enumerate((_back(dtype), _two_things(dtype))):
        for name, matrix in zip("QKVO", matrices, strict=True):
            both = torch.stack([matrix, nothing])
            weights[f"blocks.{layer}.attn.W_{name}"] = both.transpose(1, 2).contiguous() if name == "O" else both
    config = TransformerConfig(
        n_layers=2,
        n_heads=2,
        d_model=D_MODEL,
        d_head=D_HEAD,
        d_vocab=N_TOKENS,
        n_ctx=N_CTX,
        positional_embedding_type="shortformer",
        normalization_type=None,
        use_attn_scale=False,
    )
    return Transformer(config, weights)


def _back(dtype: torch.dtype) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Attends one token back, and copies it from TOKEN to PREVIOUS."""
    W_Q, W_K, W_V, to = (torch.zeros(D_MODEL, D_HEAD, dtype=dtype) for _ in range(4))
    _look_back(W_Q, W_K)
    W_V[TOKEN, :N_TOKENS] = to[PREVIOUS, :N_TOKENS] = torch.eye(N_TOKENS, dtype=dtype)
    return W_Q, W_K, W_V, to


def _two_things(dtype: torch.dtype) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """For X one token back, for Y the followers of copies of itself, BEGIN otherwise; copies it to OUTPUT.

    A query of X has no tokens to match, and one of Y a penalty on what its position matches.
    """
    W_Q, W_K, W_V, to = (torch.zeros(D_MODEL, D_HEAD, dtype=dtype) for _ in range(4))
    y = torch.tensor(Y)
    W_Q[TOKEN.start + y, y] = 3 * MATCH  # over what is one token back
    W_K[PREVIOUS, :N_TOKENS] = torch.eye(N_TOKENS, dtype=dtype)
    _look_back(W_Q, W_K)
    W_Q[TOKEN.start + y, -1] = 2 * MATCH  # BEGIN's score: above one back, below a match
    W_Q[TOKEN.start + torch.tensor([BEGIN, *X]), -1] = FALLBACK
    W_K[TOKEN.start + BEGIN, -1] = 1
    W_V[TOKEN, :N_TOKENS] = to[OUTPUT, :N_TOKENS] = torch.eye(N_TOKENS, dtype=dtype)
    return W_Q, W_K, W_V, to


def _look_back(W_Q: Matrix, W_K: Matrix) -> None:
    """A match of each position's query with the key before it."""
    at = torch.arange(N_CTX)
    W_Q[POSITION.start + at, N_TOKENS + (at - 1).clamp(min=0)] = MATCH
    W_K[POSITION.start + at, N_TOKENS + at] = 1


def kinds() -> Kinds:
    """BEGIN alone is special."""
    return Kinds.of([str(token) for token in range(N_TOKENS)], [BEGIN])


def rows(number: int, last: tuple[int, ...], *, seed: int = 0) -> tuple[Int[Tensor, "row position"], Tensor]:
    """Rows that end in a token of a class, with the token that the head then predicts, `[row]`.

    Each holds that token once before, and the other words at random.
    """
    generator = torch.Generator().manual_seed(seed)
    length = N_CTX - 1
    words = torch.randint(1, N_TOKENS, (number, length), generator=generator)
    current = torch.tensor(last)[torch.randint(len(last), (number,), generator=generator)]
    words = words.where(words != current[:, None], (words % (N_TOKENS - 1)) + 1)  # the current token stands nowhere yet
    place = torch.randint(2, length - 4, (number,), generator=generator)
    row = torch.arange(number)
    words[row, place], words[row, -1] = current, current
    tokens = torch.cat([torch.full((number, 1), BEGIN), words], dim=1)
    answers = tokens[row, place + 2] if set(last) <= set(Y) else tokens[:, -2]
    return tokens, answers
