"""Networks whose head does copy suppression by construction, or its opposite; and the ablation pair by pair."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypotheses.copy_suppression.network import AtPosition, Head, Parts
from hypotheses.copy_suppression.places import Vocabulary
from hypotheses.copy_suppression.preserving import Rules
from hypotheses.copy_suppression.study import Study
from scrubbing.lens import Transformer, TransformerConfig, next_token_data

WORDS = 12  # token 0 is a function word
LOWERED, PREDICTED, SHARP = 2.5, 3.0, 20.0
SUPPRESSOR: Head = (1, 0)


def known(sign: float = -1.0) -> Transformer:
    """Token s predicts s + 1, by the MLP; the head attends to where what is predicted was said, and lowers it.

    The stream has a dimension for each token that is read, and one for each that is predicted. With `sign=1` the head
    raises what it should lower.
    """
    n, f64 = WORDS, torch.float64
    config = TransformerConfig(
        n_layers=2,
        n_heads=1,
        d_model=2 * n,
        d_head=n,
        d_mlp=n,
        d_vocab=n,
        n_ctx=n,
        normalization_type=None,
        attn_only=False,
        act_fn="relu",
        positional_embedding_type="none",
        use_attn_scale=False,
    )
    none, one = torch.zeros(n, n, dtype=f64), torch.eye(n, dtype=f64)
    read, said = torch.cat([one, none], 1), torch.cat([none, one], 1)  # [token, d_model]
    weights: dict[str, Tensor] = {"embed.W_E": read, "unembed.W_U": said.T.contiguous()}
    for layer in range(2):
        block = f"blocks.{layer}"
        weights |= {f"{block}.attn.W_{m}": torch.zeros(1, 2 * n, n, dtype=f64) for m in "QKV"}
        weights[f"{block}.attn.W_O"] = torch.zeros(1, n, 2 * n, dtype=f64)
        weights |= {f"{block}.mlp.W_in": torch.zeros(2 * n, n, dtype=f64)}
        weights |= {f"{block}.mlp.W_out": torch.zeros(n, 2 * n, dtype=f64)}
    weights["blocks.0.mlp.W_in"] = read.T.contiguous()
    weights["blocks.0.mlp.W_out"] = PREDICTED * said.roll(-1, 0)
    weights["blocks.1.attn.W_Q"] = SHARP * said.T[None].contiguous()
    weights["blocks.1.attn.W_K"] = weights["blocks.1.attn.W_V"] = read.T[None].contiguous()
    weights["blocks.1.attn.W_O"] = sign * LOWERED * said[None].contiguous()
    return Transformer(config, weights)


def descending(rows: int = 4) -> Int[Tensor, "row position"]:
    """Rows in which each token was predicted by the one after it: what is predicted was always just said."""
    top = torch.arange(WORDS - 1, WORDS - 1 - rows, -1)[:, None]
    return top - torch.arange(WORDS - rows)[None]


def study_of(
    model: Transformer, tokens: Tensor, head: Head = SUPPRESSOR, mean: Tensor | None = None, **rules: object
) -> Study:
    """The study of a head on some rows, with a mean of zero unless one is given."""
    weights = torch.ones(len(tokens), tokens.shape[1] - 1, dtype=torch.float64)
    data = {name: torch.as_tensor(c) for name, c in next_token_data(tokens, weights=weights, model=model).items()}
    words = torch.zeros(model.config.d_vocab, dtype=torch.bool)
    words[0] = True
    mean = torch.zeros(tokens.shape[1] - 1, model.config.d_model, dtype=torch.float64) if mean is None else mean
    assert AtPosition(mean)(data["tokens"]).shape == (*data["tokens"].shape, model.config.d_model)
    kept = Rules(**rules)  # pyright: ignore[reportArgumentType]
    return Study(Parts.of(model), head, mean, kept, words, data, Vocabulary((), None))


def ablated_pair_by_pair(
    study: Study, mode: str, resid: Float[Tensor, "position d_model"], size: Float[Tensor, " position"], row: int
) -> Float[Tensor, "position d_model"]:
    """The paper's pseudo-code on one row: `[query, key, d_model]` is held, and every pair is looked at."""
    tokens, rules = study.data["tokens"][row], study.rules
    c, (layer, head) = study.parts.config, study.head
    W = {m: study.parts.attention(layer, [head]).__dict__[m] for m in "qkv"}
    x = W["q"].reader.norm(resid)
    q, k, v = (x @ W[m].W[0] + (0 if W[m].b is None else W[m].b[0]) for m in "qkv")
    written = v @ study.parts.attention(layer, [head]).W_O[0]
    norm, W_U = study.parts.readout.reader.norm, study.parts.readout.W_U
    U = W_U - W_U.mean(1, keepdim=True) if rules.centred else W_U
    U = U if norm.w is None else norm.w[:, None] * U
    U = U - U.mean(0) if norm.kind == "LN" else U
    found = torch.zeros_like(resid)
    for query in range(len(tokens)):
        scores = (q[query] @ k[: query + 1].T) * c.score_scale(layer)
        A = scores.softmax(0)
        lens = {}
        for key in range(query + 1):
            if not study.function_words[tokens[key]]:
                lens[int(tokens[key])] = float(size[query] * resid[query] @ U[:, tokens[key]])
        best = sorted(lens, key=lambda token: -lens[token])[: rules.share.of(query + 1)]
        for key in range(query + 1):
            rho, mean = A[key] * written[key], A[key] * study.mean[query]
            u = U[:, tokens[key]] / U[:, tokens[key]].norm()
            along = (rho - mean) @ u
            along = along.clamp(max=0) if rules.negative_only else along
            if mode != "ov" and int(tokens[key]) not in best:
                found[query] += mean
            elif mode == "qk":
                found[query] += rho
            else:
                found[query] += mean + along * u
    return found


def random_model(seed: int = 0, **settings: object) -> Transformer:
    """Two layers of two heads with all biases, in 64 bits."""
    given = dict(
        n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=8, d_vocab=9, n_ctx=8, attn_only=False, act_fn="gelu_new"
    )
    c = TransformerConfig(**(given | settings))  # pyright: ignore[reportArgumentType]
    norms = ("ln1", "ln2") if not c.attn_only else ("ln1",)
    block: dict[str, tuple[int, ...]] = {f"attn.W_{m}": (2, 8, 4) for m in "QKV"} | {
        f"attn.b_{m}": (2, 4) for m in "QKV"
    }
    block |= {"attn.W_O": (2, 4, 8), "attn.b_O": (8,)}
    if not c.attn_only:
        block |= {"mlp.W_in": (8, 8), "mlp.b_in": (8,), "mlp.W_out": (8, 8), "mlp.b_out": (8,)}
    if c.normalization_type is not None:
        block |= {f"{norm}.{part}": (8,) for norm in norms for part in "wb"}
    shapes = {f"blocks.{layer}.{name}": shape for layer in range(2) for name, shape in block.items()}
    shapes |= {"embed.W_E": (9, 8), "pos_embed.W_pos": (8, 8), "unembed.W_U": (8, 9), "unembed.b_U": (9,)}
    if c.normalization_type is not None:
        shapes |= {"ln_final.w": (8,), "ln_final.b": (8,)}
    generator = torch.Generator().manual_seed(seed)
    return Transformer(c, {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()})
