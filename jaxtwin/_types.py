"""Types shared by all packages."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

Parameter = float | Float[Array, "..."] | Float[np.ndarray, "..."]
"""A number one may fit, sweep or batch: a Python number, a scalar, or a field."""


def nodal(**how) -> Any:
    """A field of a Module whose arrays have the nodes of the mesh as their last axis.

    Numbers in it hold for all nodes. An array in any other field, a table of constants say, is shared by all
    nodes as it is, whatever its shape. `how`: what `equinox.field` takes.
    """
    return eqx.field(metadata={"nodal": True}, **how)


def nodal_leaves(tree, numbers: bool = False) -> list[tuple[str, Any, bool]]:
    """Of each leaf its place in the tree, its value, and whether its last axis is that of the nodes.

    Arrays in lists, tuples and dictionaries are nodal; those in a Module where its fields say so (`nodal`).
    With `numbers` also those are marked that could be arrays over the nodes and are numbers.
    """
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        at, marked = tree, False
        inside = False
        for key in path:
            if isinstance(at, eqx.Module):
                inside = True
                marked = marked or type(at).__dataclass_fields__[key.name].metadata.get("nodal", False)
                at = getattr(at, key.name)
            else:
                at = at[key.idx if hasattr(key, "idx") else key.key]
        at_nodes = (marked or not inside) and (numbers or np.ndim(leaf) > 0)
        found.append((jax.tree_util.keystr(path), leaf, at_nodes))
    return found
