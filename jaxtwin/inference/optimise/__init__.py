"""Optimisers, independent of hearts: they only know an objective."""

from .assessment import Assessment, Optimum, history_row
from .lbfgs import lbfgs
from .trust_region import LEAST, Model, Progress, trust_region

__all__ = ["LEAST", "Assessment", "Model", "Optimum", "Progress", "history_row", "lbfgs", "trust_region"]
