"""Every family against its own model in transformers, through every door."""

import importlib
from pathlib import Path

import pytest
import torch
from family_table import PAGE, page
from hugging_face_models import MODELS, REPRESENTATIVES, VOCABULARY, hugging_face_model, tried

from scrubbing.errors import ModelError, ScrubbingWarning
from scrubbing.lens import load_transformer, save_transformer, transformer
from scrubbing.lens.hugging_face import FAMILIES

TOKENS = torch.randint(0, VOCABULARY, (3, 20), generator=torch.Generator().manual_seed(1))
# Some compute norms, softmax or rotations in 32 bits whatever their type.
IN_64_BITS = ("gpt2", "opt")
ALWAYS = (*REPRESENTATIVES, "llama", "qwen3", "granite", "gptj", "phi3", "llama, yarn")


def logits(G, columns):
    return G.activations(columns, "logits")[0].all()


@torch.no_grad()
def output_of(model, **columns):
    return model(**columns).logits


@pytest.mark.parametrize("name", tried(MODELS, always=ALWAYS))
def test_a_family_s_graph_gives_its_model_s_logits(name):
    model = hugging_face_model(name)
    expected = output_of(model, input_ids=TOKENS)
    assert expected.std() > 0.05
    got = logits(transformer(load_transformer(model)), {"tokens": TOKENS})
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", tried(MODELS, always=["gpt2", "opt"]))
def test_in_64_bits_graphs_and_models_differ_by_what_models_compute_in_32(name):
    model = hugging_face_model(name, torch.float64)
    expected = output_of(model, input_ids=TOKENS)
    got = logits(transformer(load_transformer(model)), {"tokens": TOKENS})
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10 if name in IN_64_BITS else 1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt2", "GPT2LMHeadModel"),
        pytest.param("llama", "LlamaForCausalLM", marks=pytest.mark.slow),
        pytest.param("gemma3", "Gemma3ForCausalLM", marks=pytest.mark.slow),
    ],
)
def test_a_bridge_of_transformer_lens_is_the_model_that_it_wraps(name, kind):
    build = importlib.import_module("transformer_lens.model_bridge.sources._bridge_builder").build_bridge_from_module
    model = hugging_face_model(name)
    expected = output_of(model, input_ids=TOKENS)
    bridge = build(model, kind, hf_config=model.config, model_name=name)
    got = logits(transformer(load_transformer(bridge)), {"tokens": TOKENS})
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # transformer_lens and what it imports warn about each other
@pytest.mark.parametrize(
    "name", tried(["gpt2", "llama", "gemma2", "gpt_neox", "bloom", "qwen3", "phi"], always=["gpt2"])
)
def test_a_bridge_whose_norms_are_folded_is_the_model_that_it_computes(name):
    build = importlib.import_module("transformer_lens.model_bridge.sources._bridge_builder").build_bridge_from_module
    model = hugging_face_model(name)
    plain = load_transformer(model, check=False).weights["blocks.0.attn.W_Q"].clone()
    bridge = build(model, type(model).__name__, hf_config=model.config, model_name=name)
    bridge.enable_compatibility_mode()
    with torch.no_grad():
        expected = bridge(TOKENS)
    loaded = load_transformer(bridge)
    torch.testing.assert_close(logits(transformer(loaded), {"tokens": TOKENS}), expected, rtol=0, atol=1e-5)
    assert not torch.equal(loaded.weights["blocks.0.attn.W_Q"], plain)


def test_a_model_that_computes_something_else_than_it_says_is_refused_with_the_layer():
    model = hugging_face_model("llama")
    mlp = model.model.layers[0].mlp
    mlp.register_forward_hook(lambda module, given, output: 2 * output)
    with pytest.raises(ModelError, match=r"differ by up to \d.* from those of the LlamaForCausalLM, first at the"):
        load_transformer(model)
    assert load_transformer(model, check=False).config.n_layers == 2
    with pytest.raises(ModelError, match=r"in training mode.*call model\.eval"):
        load_transformer(model.train())


def test_every_family_is_tried_and_in_the_readme():
    assert {kind for kind, _ in MODELS.values()} == FAMILIES.keys()
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    listed = next(line for line in readme.splitlines() if line.startswith("| families")).split("|")[2]
    assert [name.strip() for name in listed.split(",")] == sorted(FAMILIES)


def test_the_page_of_families_names_every_model():
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert [row[0].removeprefix("| ") for row in rows[2:]] == sorted(MODELS)
    assert {row[-1] for row in rows[2:]} == {"object, folder, our folder, weights, bridge |"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformer_lens and what it imports warn about each other
def test_the_page_of_families_says_what_their_doors_give():
    assert PAGE.read_text() == page(), "write it again: python -m tests.family_table"


@pytest.mark.parametrize("name", tried(["gpt2", "llama", "gemma2", "gpt_neox"], always=["gpt2", "gemma2"]))
def test_a_folder_of_hugging_face_and_one_of_ours_give_the_same_graph(name, tmp_path):
    model = hugging_face_model(name)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    loaded = load_transformer(tmp_path / "theirs")
    save_transformer(loaded, tmp_path / "ours")
    G = transformer(load_transformer(model))
    assert transformer(loaded) == G
    assert transformer(load_transformer(tmp_path / "ours")) == G
    assert transformer(load_transformer(loaded.weights, loaded.config.model_dump())) == G


def test_weights_are_views_and_shared_by_all_nodes():
    model = hugging_face_model("llama")
    loaded = load_transformer(model)
    held = {p.untyped_storage().data_ptr() for p in model.parameters()}
    assert {value.untyped_storage().data_ptr() for value in loaded.weights.values()} <= held
    G = transformer(loaded)
    head, mlp = G["a1_h2"].fn, G["m0"].fn
    used = [head.q.W, head.k.W, head.v.W, head.W_O, mlp.W_out, mlp.neurons.W_in, head.q.of_normalised._matrix]
    assert {value.untyped_storage().data_ptr() for value in used} <= held
    assert G["a1_h2"].fn.k == G["a1_h3"].fn.k  # they share keys


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "lama"}, "model_type is 'lama', and no such family is known; did you mean 'llama'?; known are"),
        ({"model_type": "bert"}, "from_module takes any module apart"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}, and graphs are made only for None"),
        ({"hidden_act": "mish"}, "config.json: act_fn is 'mish'; known are"),
        ({"num_key_value_heads": 3}, "n_key_value_heads is 3, which does not divide n_heads, which is 4"),
        ({"hidden_size": None}, "the model's width or its number of heads is missing"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "rope_scaling.rope_type: Input should be"),
    ],
)
def test_what_a_configuration_says_and_is_not_computed_is_refused_by_name(change, message):
    model = hugging_face_model("llama")
    settings = model.config.to_dict() | change
    with pytest.raises(ModelError) as error:
        load_transformer(_Stub(settings, model.state_dict()))
    assert message in str(error.value)


def test_code_that_a_model_brings_is_not_run_and_named():
    model = hugging_face_model("llama")
    settings = model.config.to_dict() | {"auto_map": {"AutoModelForCausalLM": "modeling.Own"}}
    with pytest.warns(
        ScrubbingWarning, match=r"code of the model's own \(auto_map\), which is never run: it is read as"
    ):
        loaded = load_transformer(_Stub(settings, model.state_dict()), check=False)
    assert transformer(loaded) == transformer(load_transformer(model))


class _Stub:
    """A model by its configuration and its weights."""

    def __init__(self, settings, weights):
        self.config = type("Config", (), {"model_type": settings["model_type"], "to_dict": lambda self: settings})()
        self.state_dict = lambda: weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("model.layers.1.mlp.up_proj.weight"), "layers.1.mlp.up_proj.weight is missing; it must be a"),
        (lambda w: w.pop("model.norm.weight"), "the weights lack 'ln_final.w', which config.json's settings call for"),
        (
            lambda w: w.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(8)}),
            "the weights hold 'model.layers.0.self_attn.q_norm.weight', which no model of this family",
        ),
        (
            lambda w: w.update({"model.layers.0.mlp.down_proj.weight": torch.ones(32, 47)}),
            "'blocks.0.mlp.W_out' has the shape [47, 32], but by config.json it must be [48, 32]",
        ),
        (
            lambda w: w.update({"model.layers.0.self_attn.k_proj.weight": torch.ones(15, 32)}),
            "are for 15 numbers, which 2 heads do not share",
        ),
    ],
)
def test_weights_that_do_not_fit_a_family_are_named(change, message):
    model = hugging_face_model("llama")
    weights = model.state_dict()
    change(weights)
    with pytest.raises(ModelError) as error:
        load_transformer(_Stub(model.config.to_dict(), weights))
    assert message in str(error.value)


def test_a_name_is_looked_up_on_the_hub(tmp_path, monkeypatch):
    model = hugging_face_model("gpt2")
    model.save_pretrained(tmp_path)
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    hub = importlib.import_module("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", download)
    expected = transformer(load_transformer(tmp_path))
    assert transformer(load_transformer("pythia-160m")) == expected
    assert transformer(load_transformer("someone/something")) == expected
    assert [name for name, _ in asked] == ["EleutherAI/pythia-160m", "someone/something"]
    assert not any("bin" in pattern or "py" in pattern for _, patterns in asked for pattern in patterns)

    def no_network(name, allow_patterns):
        raise OSError("cannot reach the hub\nnor the cache")

    monkeypatch.setattr(hub, "snapshot_download", no_network)
    with pytest.raises(
        ModelError, match="no model folder gpt2, and no such model could be had from the hub: cannot re"
    ):
        load_transformer("gpt2")
    with pytest.raises(ModelError, match="could be had from the hub: 'nowhere' is not an official model name"):
        load_transformer("nowhere")


def test_a_pickle_is_not_read(tmp_path):
    model = hugging_face_model("gpt2")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin may run code when it is read, so convert it"):
        load_transformer(tmp_path)
