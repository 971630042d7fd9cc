"""A mapped chamber prepared for computation: openings, edge length, fibres."""

from .chamber import Chamber, chamber
from .fibres import Fibres, carried_fibres, rule_fibres

__all__ = ["Chamber", "Fibres", "carried_fibres", "chamber", "rule_fibres"]
