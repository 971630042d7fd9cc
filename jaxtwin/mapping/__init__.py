"""Measured maps as mapping systems export them: read, checked, stored and prepared for a fit."""

from .annotate import Annotation, annotate, annotated
from .data import MappingData, project
from .formats import read_mapping, write_openep
from .plausibility import apparent_speed, not_activated
from .quality import Quality, assess
from .reentry import refuse_reentry
from .storage import read_study, write_study
from .study import AbstractSignals, Map, Points, Signals, Study
from .table import read_csv, write_csv

__all__ = [
    "AbstractSignals",
    "Annotation",
    "Map",
    "MappingData",
    "Points",
    "Quality",
    "Signals",
    "Study",
    "annotate",
    "annotated",
    "apparent_speed",
    "assess",
    "not_activated",
    "project",
    "read_csv",
    "read_mapping",
    "read_study",
    "refuse_reentry",
    "write_csv",
    "write_openep",
    "write_study",
]
