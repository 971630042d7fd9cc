"""Readers of exports of mapping systems, one file for each format, and what they share.

A reader has `recognises(files)` and `read(files, identity)`, which returns a `Study`.
"""

from .files import Files
from .openep_out import write_openep
from .read import read_mapping, recognise

__all__ = ["Files", "read_mapping", "recognise", "write_openep"]
