"""The heart as data: meshes with fibres and regions, read, made, mended and written."""

from .mesh import Mesh

__all__ = ["Mesh"]
