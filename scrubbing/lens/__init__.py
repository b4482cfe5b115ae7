"""Transformers as graphs, and where their weights come from."""

from scrubbing.lens.config import TransformerConfig
from scrubbing.lens.language_data import next_token_data
from scrubbing.lens.loading import Transformer, load_transformer
from scrubbing.lens.transformer import transformer

__all__ = ["Transformer", "TransformerConfig", "load_transformer", "next_token_data", "transformer"]
