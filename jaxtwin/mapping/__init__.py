"""Measured maps as mapping systems export them, read, checked, stored and handed on."""

from .data import MappingData, project
from .table import read_csv, write_csv

__all__ = ["MappingData", "project", "read_csv", "write_csv"]
