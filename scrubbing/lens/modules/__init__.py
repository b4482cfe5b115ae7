"""Any torch module as a graph: traced by `torch.export`, and cut at its operations or at chosen submodules."""

from scrubbing.lens.modules.building import from_module

__all__ = ["from_module"]
