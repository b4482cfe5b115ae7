"""A small transformer with random weights, and random rows: what the other examples intervene on."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from scrubbing import next_token_data
from scrubbing.lens import load_transformer, transformer

ROWS = 16

torch.manual_seed(0)
sizes = GPT2Config(
    n_embd=32, n_layer=2, n_head=4, vocab_size=50, n_positions=32, initializer_range=0.2, bos_token_id=0, eos_token_id=0
)
model = GPT2LMHeadModel(sizes).eval()
loaded = load_transformer(model)
G = transformer(loaded)
data = dict(next_token_data(torch.randint(0, 50, (ROWS, 9)), model=loaded))
