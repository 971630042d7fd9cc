"""Measured maps as mapping systems export them: read, checked, stored and handed on."""

from .annotate import Annotation, annotate, annotated
from .chamber import Chamber, chamber
from .data import MappingData, project
from .fibres import Fibres, carried_fibres, rule_fibres
from .formats import read_mapping, write_openep
from .opencarp_case import Electrode, OpenCarpCase, read_opencarp_case, write_opencarp_case
from .plausibility import apparent_speed, not_activated
from .quality import Quality, assess
from .storage import read_study, write_study
from .study import AbstractSignals, Map, Points, Signals, Study, Surface
from .table import read_csv, write_csv

__all__ = [
    "AbstractSignals", "Annotation", "Chamber", "Electrode", "Fibres", "Map", "MappingData", "OpenCarpCase",
    "Points", "Quality", "Signals", "Study", "Surface", "annotate", "annotated", "apparent_speed", "assess",
    "carried_fibres", "chamber", "not_activated", "project", "read_csv", "read_mapping", "read_opencarp_case",
    "read_study", "rule_fibres", "write_csv", "write_opencarp_case", "write_openep", "write_study",
]  # fmt: skip
