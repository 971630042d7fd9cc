"""Differentiable cardiac electrophysiology twins in JAX.

mesh + fibres -> monodomain with Mitchell-Schaeffer cells -> activation times -> fitted conductivity.
Units: mm, ms, mV, mS, uF throughout.
"""

import lazy_loader

# names are imported when they are first used: `__init__.pyi` says from where
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
