"""A record that loses nothing: every score in a local SQLite file, with the hashes of all that it depends on.

The names are imported when one is first used (PEP 562): a history is listed without torch, which takes seconds.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrubbing.store.entries import Entry
    from scrubbing.store.store import Store, as_store

__all__ = ["Entry", "Store", "as_store"]

if not TYPE_CHECKING:  # where a type checker saw it, any name would seem to exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import scrubbing.store.store as module

        return getattr(module, name)
