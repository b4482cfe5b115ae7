"""Models in Hugging Face's form: a configuration and weights by each family's own names, read without its code.

A new family is a line in `FAMILIES`: how its configuration is said in ours, and where its weights lie.
"""

from scrubbing.lens.hugging_face.converting import converted
from scrubbing.lens.hugging_face.families import FAMILIES, family_of

__all__ = ["FAMILIES", "converted", "family_of"]
