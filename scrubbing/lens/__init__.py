"""Transformers as graphs, and where their weights come from."""

from scrubbing.lens.blocks import transformer
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.language_data import next_token_data
from scrubbing.lens.loading import load_transformer, save_transformer
from scrubbing.lens.weights import Transformer

__all__ = ["Transformer", "TransformerConfig", "load_transformer", "next_token_data", "save_transformer", "transformer"]
