"""Types shared by all packages."""

from jaxtyping import Array, Float

Parameter = float | Float[Array, "..."]
"""A number one may fit, sweep or batch: a Python number, a scalar, or a field."""
