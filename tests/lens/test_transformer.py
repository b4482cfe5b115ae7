"""A transformer's graph computes what the transformer computes, and bad weights or settings are named."""

import json
import os
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from reference_transformer import (
    SMALL,
    config,
    head_parts,
    plain_logits,
    random_data,
    random_transformer,
    random_weights,
)
from safetensors.torch import load_file, save_file

from scrubbing.errors import GraphError, ModelError
from scrubbing.lens import Transformer, TransformerConfig, load_transformer, transformer
from scrubbing.rewrite import group_heads

POSITIONS = ("standard", "rotary", "shortformer")
NORMS = ("LN", "LNPre", "RMS", "RMSPre", None)
SLOW = pytest.mark.slow


def close(got: torch.Tensor, expected: torch.Tensor, *, atol: float = 1e-10) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def logits(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    return transformer(model).activations({"tokens": tokens}, "logits")[0].all()


# -- what the graph computes


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "settings",
    [
        {"positional_embedding_type": "standard"},
        {"positional_embedding_type": "shortformer"},
        {"positional_embedding_type": "rotary"},
        {"positional_embedding_type": "rotary", "rotary_adjacent_pairs": True, "rotary_dim": 2, "rotary_base": 30.0},
        {"positional_embedding_type": "shortformer", "attn_scale": 3.0, "eps": 0.1, "n_layers": 3},
    ],
    ids=["standard", "shortformer", "rotary", "rotary pairs", "scaled"],
)
def test_logits_equal_the_formulas(settings, norm):
    model = random_transformer(**settings, normalization_type=norm)
    tokens = random_data(model.config, rows=3)["tokens"][:, :4]
    close(logits(model, tokens), plain_logits(model.config, model.weights, tokens))


def test_absent_biases_are_zero():
    c = config(positional_embedding_type="shortformer")
    weights = {name: value for name, value in random_weights(c).items() if ".b_" not in name}
    tokens = random_data(c, rows=3)["tokens"]
    close(logits(Transformer(c, weights), tokens), plain_logits(c, weights, tokens))


def test_the_loss_is_the_weighted_cross_entropy_of_each_row():
    model = random_transformer()
    data = random_data(model.config, rows=4)
    expected = plain_logits(model.config, model.weights, data["tokens"])
    each = F.cross_entropy(expected.mT, data["labels"], reduction="none")
    close(transformer(model)(data), (each * data["weights"]).sum(1))


# transformer_lens computes rotary tables, and RMS norms with a gain, in float32 whatever the type of the weights.
@pytest.mark.filterwarnings("ignore")  # transformer_lens and what it imports warn about each other
@pytest.mark.parametrize(
    ("settings", "atol"),
    [
        ({"positional_embedding_type": "standard", "normalization_type": "LN"}, 1e-10),
        *(
            pytest.param({"positional_embedding_type": "standard", "normalization_type": n}, 1e-10, marks=SLOW)
            for n in NORMS
            if n not in ("LN", "RMS")
        ),
        pytest.param({"positional_embedding_type": "standard", "normalization_type": "RMS"}, 1e-5, marks=SLOW),
        *(
            pytest.param({"positional_embedding_type": "rotary", "normalization_type": n}, 1e-5, marks=SLOW)
            for n in NORMS
        ),
        ({"positional_embedding_type": "rotary", "rotary_dim": 2, "rotary_base": 30}, 1e-5),
        pytest.param({"attn_scale": 3.0, "eps": 0.1, "d_vocab_out": 5}, 1e-10, marks=SLOW),
        pytest.param({"use_attn_scale": False}, 1e-10, marks=SLOW),
    ],
    ids=str,
)
def test_logits_equal_those_of_transformer_lens(settings, atol):
    pytest.importorskip("transformer_lens")
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    given = TransformerBridgeConfig(**SMALL, attn_only=True, seed=0, **settings)
    native = TransformerBridge.boot_native(given).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in native.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        tokens = torch.randint(SMALL["d_vocab"], (3, 4), generator=generator)
        close(logits(load_transformer(native), tokens), native(tokens), atol=atol)


# -- its nodes


def test_the_stream_is_flat():
    G = transformer(random_transformer())
    layer0, layer1 = ([f"a{layer}_h{head}" for head in range(3)] for layer in range(2))
    assert {name: set(node.inputs) for name, node in G.items()} == {
        "embed": {"tokens"},
        **{head: {"embed"} for head in layer0},
        **{head: {"embed", *layer0} for head in layer1},
        "logits": {"embed", *layer0, *layer1},
        "loss": {"logits", "labels", "weights"},
    }
    assert G.origin is G


def test_a_group_is_one_node_that_writes_what_its_heads_write():
    model = random_transformer()
    data = random_data(model.config, rows=3)
    single, grouped = transformer(model), transformer(model, ind="a1_h0 a1_h2", prev="a0_h1")
    assert grouped == group_heads(single, ind="a1_h0 a1_h2", prev="a0_h1")
    assert grouped.origin is grouped
    assert grouped.keys() == single.keys() - {"a0_h1", "a1_h0", "a1_h2"} | {"ind", "prev"}
    one, two, prev = single.activations(data, "a1_h0", "a1_h2", "a0_h1")
    for got, expected in zip(grouped.activations(data, "ind", "prev"), (one + two, prev), strict=True):
        close(got, expected)
    close(grouped(data), single(data))


def test_a_head_owns_its_value_bias_and_later_readers_own_output_biases():
    model = random_transformer(normalization_type=None)
    c, weights = model.config, model.weights
    data = random_data(c, rows=2)
    heads = [f"a{layer}_h{head}" for layer in range(2) for head in range(3)]
    embed, *written = transformer(model).activations(data, "embed", *heads)
    close(embed, weights["embed.W_E"][data["tokens"]] + weights["pos_embed.W_pos"])
    resid = embed
    for layer in range(2):
        outs = [head_parts(c, weights, resid, layer=layer, head=head)["out"] for head in range(3)]
        for got, expected in zip(written[3 * layer :], outs, strict=False):
            close(got, expected)
        resid = resid + sum(outs) + weights[f"blocks.{layer}.attn.b_O"]
    close(logits(model, data["tokens"]), resid @ weights["unembed.W_U"] + weights["unembed.b_U"])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"ind": "a1_h0 a1_h3"}, "'ind' groups 'a1_h3', which is no head of this model; did you mean 'a1_h"),
        ({"ind": "a0_h0 a1_h1"}, "'ind' groups a0_h0, a1_h1; group heads of one layer"),
        (
            {"ind": "a1_h0", "other": "a1_h0 a1_h1"},
            "'a1_h0' is named twice, in 'ind' and in 'other'; name each head once",
        ),
        ({"logits": "a1_h0"}, "there is a node or column 'logits' already; choose another name"),
    ],
)
def test_a_group_of_what_is_not_there_is_named(groups, message):
    with pytest.raises(GraphError) as error:
        transformer(random_transformer(), **groups)
    assert message in str(error.value)


# -- where weights come from


@pytest.fixture
def folder(tmp_path):
    model = random_transformer(positional_embedding_type="shortformer")
    (tmp_path / "config.json").write_text(model.config.model_dump_json())
    save_file(model.weights, tmp_path / "model.safetensors")
    return tmp_path


def same(one: Transformer, other: Transformer) -> bool:
    keys = one.weights.keys()
    equal = keys == other.weights.keys() and all(torch.equal(one.weights[k], other.weights[k]) for k in keys)
    return equal and one.config == other.config


def test_a_folder_gives_back_what_was_saved(folder):
    model = random_transformer(positional_embedding_type="shortformer")
    assert same(load_transformer(folder), model)
    assert same(load_transformer(str(folder)), model)
    assert load_transformer(folder).to(torch.float32).weights["embed.W_E"].dtype == torch.float32


def test_a_model_of_transformer_lens_3_gives_its_state_without_buffers():
    model = random_transformer(positional_embedding_type="rotary", rotary_adjacent_pairs=True)
    buffers = {"mask": torch.ones(5, 5).bool(), "IGNORE": torch.tensor(-torch.inf), "rotary_sin": torch.zeros(5, 4)}
    state = model.weights | {f"blocks.0.attn.{name}": value for name, value in buffers.items()}
    cfg = SimpleNamespace(**model.config.model_dump(), device="cpu", initializer_range=0.02, to_dict=dict)
    assert same(load_transformer(SimpleNamespace(cfg=cfg, state_dict=lambda: state)), model)


def test_settings_that_change_nothing_are_accepted():
    given = SMALL | {"attn_only": True, "final_rms": False, "output_logits_soft_cap": -1.0, "n_key_value_heads": 3}
    assert TransformerConfig(**given, act_fn="gelu", init_mode="gpt2", rope_scaling=None, d_vocab_out=-1) == config(
        act_fn="gelu", d_vocab_out=-1
    )


def changed_config(**changes):
    def change(folder):
        settings = json.loads((folder / "config.json").read_text()) | changes
        written = {name: value for name, value in settings.items() if value != "left out"}
        (folder / "config.json").write_text(json.dumps(written))

    return change


def changed_weights(*left_out, **changes):
    def change(folder):
        weights = load_file(folder / "model.safetensors") | {k.replace("__", "."): v for k, v in changes.items()}
        save_file({k: v for k, v in weights.items() if k not in left_out}, folder / "model.safetensors")

    return change


def rewritten(name, change):
    def rewrite(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return rewrite


def replaced(name, make, folder):
    (folder / name).unlink()
    make(folder / name)


NOT_FINITE = torch.zeros(7, 6, dtype=torch.float64).index_fill(0, torch.tensor(3), torch.nan)
BAD_FOLDERS = {
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        "config.json is missing; it holds the model's n_layers, n_heads, d_model, ...",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "model.safetensors is missing; it holds the model's weights",
    ),
    "truncated config": (rewritten("config.json", lambda b: b[:-3]), "config.json cannot be read as JSON: "),
    "config of bytes": (rewritten("config.json", lambda b: b"\xff\xfe\x00"), "config.json cannot be read as JSON: "),
    "config of a list": (rewritten("config.json", lambda b: b"[1]"), "config.json: Input should be a valid dictionary"),
    "truncated weights": (
        rewritten("model.safetensors", lambda b: b[:-100]),
        "model.safetensors is damaged or no safetensors file (",
    ),
    "weights of text": (
        rewritten("model.safetensors", lambda b: b"no weights"),
        "model.safetensors is damaged or no safetensors file (",
    ),
    "empty weights": (
        rewritten("model.safetensors", lambda b: b""),
        "model.safetensors is damaged or no safetensors file (",
    ),
    "wrong shape": (
        changed_config(d_vocab=8),
        "'embed.W_E' has the shape [7, 6], but by config.json it must be [8, 6]: the weights and the configuration "
        "are not of one model (and 2 more problems)",
    ),
    "missing parameter": (
        changed_weights("blocks.1.attn.W_Q"),
        "the weights lack 'blocks.1.attn.W_Q', which config.json's settings call for",
    ),
    "unknown parameter": (
        changed_weights(blocks__1__attn__W_R=torch.zeros(1, dtype=torch.float64)),
        "the weights hold 'blocks.1.attn.W_R', which config.json's settings do not call for; "
        "did you mean 'blocks.1.attn.W_",
    ),
    "an MLP": (
        changed_weights(blocks__0__mlp__W_in=torch.zeros(6, 9, dtype=torch.float64)),
        "the weights hold 'blocks.0.mlp.W_in', which config.json's settings do not call for",
    ),
    "weights that are not finite": (
        changed_weights(embed__W_E=NOT_FINITE),
        "'embed.W_E' holds values that are not finite: the file is damaged or the training diverged",
    ),
    **{
        f"weights of {kind}": (
            changed_weights(embed__W_E=torch.ones(7, 6).to(kind)),
            f"'embed.W_E' is of type {str(kind)[6:]}, in which nothing is computed; save it as float32",
        )
        for kind in (torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2)
    },
    "many layers": (
        changed_config(n_layers=10**9),
        "config.json says n_layers is 1000000000, and the weights are of 2 layers",
    ),
    **{
        f"{name} {value}": (changed_config(**{name: value}), f"config.json: {name}: ")
        for name, value in (
            ("n_layers", 10**12),
            ("n_heads", 2**63),
            ("d_model", True),
            ("d_head", 4.0),
            ("n_ctx", "5"),
            ("d_vocab", -1),
            ("d_vocab", 10**400),
            ("eps", float("inf")),
            ("eps", float("nan")),
            ("eps", -1e-5),
            ("eps", True),
            ("attn_scale", float("nan")),
            ("attn_scale", float("inf")),
            ("rotary_base", 0.0),
            ("rotary_base", float("-inf")),
            ("use_attn_scale", 1),
            ("normalization_type", ["LN"]),
        )
    },
    **{
        f"attn_scale {value}": (
            changed_config(attn_scale=value),
            f"config.json: attn_scale is {value}; it must be above 0, or -1 for the root of d_head",
        )
        for value in (0.0, -2.0)
    },
    "nothing to predict": (
        changed_config(d_vocab_out=0),
        "config.json: d_vocab_out is 0; it must be above 0, or -1 for d_vocab",
    ),
    "a misspelt setting": (
        changed_config(normalisation_type="LN"),
        "config.json: there is no setting 'normalisation_type'; did you mean 'normalization_type'?",
    ),
    "a setting that stands twice": (
        rewritten("config.json", lambda b: b.replace(b"{", b'{"n_ctx": 3, ', 1)),
        "config.json cannot be read as JSON: 'n_ctx' stands twice",
    ),
    "deep JSON": (rewritten("config.json", lambda b: b"[" * 10**5), "cannot be read as JSON: it is nested too deeply"),
    "a long number": (
        rewritten("config.json", lambda b: b.replace(b'"n_ctx":', b'"n_ctx": 1' + b"0" * 5000)),
        "config.json cannot be read as JSON: ",
    ),
    **{
        f"{name} {kind}": (partial(replaced, name, make), f"{name} {message}")
        for name, message in (
            ("config.json", "cannot be read as JSON: it is "),
            ("model.safetensors", "is damaged or no safetensors file (it is "),
        )
        for kind, make in (
            ("is a pipe", os.mkfifo),
            ("is a folder", os.mkdir),
            ("never ends", lambda path: path.symlink_to("/dev/zero")),
        )
    },
    "an endless config": (
        partial(replaced, "config.json", lambda path: path.touch() or os.truncate(path, 2**40)),
        "config.json cannot be read as JSON: it is larger than 64 MiB",
    ),
    "missing setting": (changed_config(d_model="left out"), "config.json: d_model: Field required"),
    "no layers": (changed_config(n_layers=0), "config.json: n_layers: Input should be greater than or equal to 1"),
    "setting of a wrong type": (
        changed_config(n_heads="many"),
        "config.json: n_heads: Input should be a valid integer",
    ),
    "unknown norm": (
        changed_config(normalization_type="BN"),
        "config.json: normalization_type: Input should be 'LN', 'LNPre', 'RMS' or 'RMSPre'",
    ),
    "unknown positions": (
        changed_config(positional_embedding_type="alibis"),
        "config.json: positional_embedding_type: Input should be 'standard', 'rotary', 'shortformer', 'alibi' or 'no",
    ),
    **{
        f"{dims} rotary dimensions": (
            changed_config(positional_embedding_type="rotary", rotary_dim=dims),
            f"config.json: rotary_dim is {dims}; it must be even and at most d_head, which is 4",
        )
        for dims in (3, 6, -2)
    },
    "grouped queries": (
        changed_config(n_key_value_heads=2),
        "config.json: n_key_value_heads is 2, which does not divide n_heads, which is 3",
    ),
    "no MLP": (
        changed_config(attn_only=False, act_fn="gelu"),
        "the weights lack 'blocks.0.mlp.W_in', which config.json's settings call for",
    ),
    "an unknown activation": (
        changed_config(attn_only=False, act_fn="gelo"),
        "config.json: act_fn is 'gelo'; did you mean 'gelu'?; known are relu, relu2, gelu, ",
    ),
    "experts": (
        changed_config(num_experts=8),
        "config.json: num_experts is 8, and graphs are made only for None",
    ),
    "a window without a size": (
        changed_config(use_local_attn=True),
        "config.json: use_local_attn is True and window_size is missing",
    ),
    "windows of other layers": (
        changed_config(use_local_attn=True, window_size=2, attn_types=["local"]),
        "config.json: attn_types has 1 entries; there must be one for each layer",
    ),
    "a norm after nothing": (
        changed_config(use_normalization_before_and_after=True, normalization_type=None),
        "config.json: norm_placement is 'both'; it needs a norm, and blocks one by one",
    ),
    "a cap below 0": (changed_config(attn_scores_soft_cap=-3.0), "config.json: attn_scores_soft_cap: "),
    "positions stretched in no way": (changed_config(rope_scaling={"factor": 2.0}), "config.json: rope_scaling."),
    **{
        f"{name} {value}": (changed_config(**{name: value}), f"the weights lack {lacking!r}, which config.json's")
        for name, value, lacking in (
            ("use_normalization_before_and_after", True, "blocks.0.ln1_post.w"),
            ("post_embedding_ln", True, "embed.ln.w"),
            ("use_qk_norm", True, "blocks.0.attn.q_norm.w"),
        )
    },
}


@pytest.mark.parametrize("bad", BAD_FOLDERS)
def test_a_bad_folder_is_one_line_that_says_what_is_wrong(bad, folder):
    load_transformer(folder)
    spoil, message = BAD_FOLDERS[bad]
    spoil(folder)
    with pytest.raises(ModelError) as error:
        load_transformer(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"there is no model folder .*nowhere; it must hold config\.json and model"):
        load_transformer(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="int is neither a folder nor a model of transformer_lens"):
        load_transformer(3)
    cfg = SimpleNamespace(**SMALL, attn_only=False)
    with pytest.raises(ModelError, match="the model's cfg: act_fn is None; known are relu, "):
        load_transformer(SimpleNamespace(cfg=cfg, state_dict=dict))


# -- types of weights


@pytest.mark.parametrize(
    ("kinds", "widest"),
    [
        ((torch.bfloat16, torch.float32), torch.float32),
        ((torch.float16, torch.float64), torch.float64),
        ((torch.bfloat16, torch.float16), torch.float32),  # neither holds the other's numbers
        ((torch.bfloat16,), torch.bfloat16),
    ],
)
def test_weights_of_several_floating_types_are_promoted_to_the_widest(kinds, widest, folder):
    weights = load_file(folder / "model.safetensors")
    mixed = {name: value.to(kinds[place % len(kinds)]) for place, (name, value) in enumerate(sorted(weights.items()))}
    save_file(mixed, folder / "model.safetensors")
    model = load_transformer(folder)
    assert {value.dtype for value in model.weights.values()} == {widest}
    assert all(torch.equal(model.weights[name], value.to(widest)) for name, value in mixed.items())
    assert same(model.to(torch.float32), Transformer(model.config, {k: v.float() for k, v in mixed.items()}))


@pytest.mark.parametrize(
    ("scale", "kind", "message"),
    [
        (1e300, torch.float32, "which float32 cannot hold; compute in float64 (--dtype float64)"),
        (1e30, torch.float16, "which float16 cannot hold; compute in float64 (--dtype float64)"),
        (1e-300, torch.float32, "which are all 0 as float32; compute in float64 (--dtype float64)"),
    ],
)
def test_weights_that_a_type_cannot_hold_are_named(scale, kind, message):
    model = random_transformer()
    weights = dict(model.weights) | {"unembed.W_U": model.weights["unembed.W_U"] * scale}
    with pytest.raises(ModelError) as error:
        Transformer(model.config, weights).to(kind)
    assert str(error.value).startswith("'unembed.W_U' holds weights ")
    assert message in str(error.value)


@pytest.mark.parametrize("device", ["cude", "cuda:99", "xpu", ""])
def test_a_device_that_is_not_there_is_said(device):
    with pytest.raises(ModelError, match="the weights cannot be moved to "):
        random_transformer().to(device=device)
