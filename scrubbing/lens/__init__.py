"""Transformers as graphs, and where their weights come from."""

from scrubbing.lens.attention_only import transformer
from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.language_data import next_token_data
from scrubbing.lens.loading import Transformer, load_transformer

__all__ = ["Transformer", "TransformerConfig", "load_transformer", "next_token_data", "transformer"]
