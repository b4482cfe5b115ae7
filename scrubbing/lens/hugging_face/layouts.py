"""Where a family's parameters lie: names of modules, and how fused ones are laid out."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Layout:
    """The names of a family's modules; those of a block are relative to it, and None is for what it does not have.

    `root` is left out in some files. Weights of linear layers are `[out, in]`, with `transposed` `[in, out]`. A fused
    `qkv` holds all queries, then all keys and all values ("split"), or the three of each head ("by_head").
    """

    root: str = "model"
    embed: str = "embed_tokens"
    pos_embed: str | None = None
    positions_skipped: int = 0  # of the table of positions, which come before the first
    embed_norm: str | None = None
    blocks: str = "layers"
    ln1: str | None = "input_layernorm"
    ln1_post: str | None = None
    q: str | None = "self_attn.q_proj"
    k: str | None = "self_attn.k_proj"
    v: str | None = "self_attn.v_proj"
    qkv: str | None = None
    fused: Literal["split", "by_head"] = "split"
    o: str = "self_attn.o_proj"
    q_norm: str | None = None
    k_norm: str | None = None
    ln2: str | None = "post_attention_layernorm"
    ln2_post: str | None = None
    gate: str | None = "mlp.gate_proj"
    up: str | None = "mlp.up_proj"
    gate_up: str | None = None
    down: str = "mlp.down_proj"
    ln_final: str | None = "norm"
    unembed: tuple[str, ...] = ("lm_head", "embed_out")  # beside the root, by the file's age
    transposed: bool = False


LLAMA = Layout()
QWEN3 = replace(LLAMA, q_norm="self_attn.q_norm", k_norm="self_attn.k_norm")
GEMMA2 = replace(
    LLAMA, ln1_post="post_attention_layernorm", ln2="pre_feedforward_layernorm", ln2_post="post_feedforward_layernorm"
)
GEMMA3 = replace(GEMMA2, q_norm="self_attn.q_norm", k_norm="self_attn.k_norm")
OLMO = replace(LLAMA, ln1=None, ln2=None, ln_final=None)
OLMO2 = replace(QWEN3, ln1=None, ln1_post="post_attention_layernorm", ln2=None, ln2_post="post_feedforward_layernorm")
COHERE = replace(LLAMA, ln2=None)
PHI = replace(LLAMA, o="self_attn.dense", ln2=None, gate=None, up="mlp.fc1", down="mlp.fc2", ln_final="final_layernorm")
PHI3 = replace(LLAMA, q=None, k=None, v=None, qkv="self_attn.qkv_proj", gate=None, up=None, gate_up="mlp.gate_up_proj")
OPT = Layout(
    root="model.decoder",
    pos_embed="embed_positions",
    positions_skipped=2,
    ln1="self_attn_layer_norm",
    o="self_attn.out_proj",
    ln2="final_layer_norm",
    gate=None,
    up="fc1",
    down="fc2",
    ln_final="final_layer_norm",
)
GPT2 = Layout(
    root="transformer",
    embed="wte",
    pos_embed="wpe",
    blocks="h",
    ln1="ln_1",
    q=None,
    k=None,
    v=None,
    qkv="attn.c_attn",
    o="attn.c_proj",
    ln2="ln_2",
    gate=None,
    up="mlp.c_fc",
    down="mlp.c_proj",
    ln_final="ln_f",
    transposed=True,
)
GPT_BIGCODE = replace(GPT2, transposed=False)
GPT_NEO = replace(
    GPT_BIGCODE,
    q="attn.attention.q_proj",
    k="attn.attention.k_proj",
    v="attn.attention.v_proj",
    qkv=None,
    o="attn.attention.out_proj",
)
GPTJ = replace(
    GPT_BIGCODE,
    pos_embed=None,
    q="attn.q_proj",
    k="attn.k_proj",
    v="attn.v_proj",
    qkv=None,
    o="attn.out_proj",
    ln2=None,
    up="mlp.fc_in",
    down="mlp.fc_out",
)
GPT_NEOX = Layout(
    root="gpt_neox",
    embed="embed_in",
    q=None,
    k=None,
    v=None,
    qkv="attention.query_key_value",
    fused="by_head",
    o="attention.dense",
    gate=None,
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    ln_final="final_layer_norm",
)
BLOOM = replace(
    GPT_NEOX,
    root="transformer",
    embed="word_embeddings",
    embed_norm="word_embeddings_layernorm",
    blocks="h",
    qkv="self_attention.query_key_value",
    o="self_attention.dense",
    ln_final="ln_f",
)
FALCON = replace(BLOOM, embed_norm=None, fused="split", ln2=None)
