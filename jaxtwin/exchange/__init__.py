"""Import and export of cases of other simulators."""

from .opencarp import Electrode, OpenCarpCase, read_opencarp_case, write_opencarp_case

__all__ = ["Electrode", "OpenCarpCase", "read_opencarp_case", "write_opencarp_case"]
