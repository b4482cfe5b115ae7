"""A record that loses nothing: every score in a local SQLite file, with the hashes of all that it depends on."""

from scrubbing.store.reading import Entry
from scrubbing.store.store import Store, as_store

__all__ = ["Entry", "Store", "as_store"]
