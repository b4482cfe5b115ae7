"""A hypothesis as a file: what it claims, on which data, with which settings, and the score that it got.

Functions are written down by import path, source and fingerprint, never as code to run: reading a record runs nothing
and imports nothing.
"""

from scrubbing.store.record.files import Record, data_hash, load_record, save_record
from scrubbing.store.record.restoring import restore

__all__ = ["Record", "data_hash", "load_record", "restore", "save_record"]
