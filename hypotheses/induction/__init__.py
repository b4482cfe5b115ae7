"""The induction heads of a two-layer attention-only model, and the hypotheses about how they work."""
