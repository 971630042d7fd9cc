"""Cases of other simulators, in and out."""

from .opencarp import Electrode, OpenCarpCase, read_opencarp_case, write_opencarp_case

__all__ = ["Electrode", "OpenCarpCase", "read_opencarp_case", "write_opencarp_case"]
