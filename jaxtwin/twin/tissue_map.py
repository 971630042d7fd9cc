"""Tissue maps: from theta to diffusivity, scar and anisotropy."""

from abc import abstractmethod
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from ..anatomy import Mesh
from ..fem import MaternModes, matern_modes
from ..monodomain import magnitude
from .variation import Variation

Coefficients = dict[str, Float[Array, "..."]]

KINDS = "field", "regions", "uniform"
SCAR_SD, SCAR_LEVEL_SD = 1.5, 0.3  # of the field below the sigmoid of the scar, in whose units its bias is -3
TENSOR_SD, TENSOR_LEVEL_SD = 1.0, 1.6  # of log(D_l/D_t) as a vector: 2.2 in the mean, speeds 3 to 1
DEPTH_SD, BORDER_SD = 0.3, 0.6  # of the logarithms of depth and sharpness of the scar
FAINT = 3.0  # minus the logit of the scar fraction in healthy tissue for the softest border: 5 %


class AbstractTissueMap(eqx.Module):
    """A tissue map: theta (a few unconstrained arrays, a priori independent standard normal) -> diffusivity.

    The parameters are whitened: the prior is exp(-|theta|^2/2) for every parameterisation, and a unit step
    has the same meaning in every direction, which conditions the optimisation.
    """

    ceiling: eqx.AbstractVar[float]

    @property
    @abstractmethod
    def bases(self) -> dict[str, Float[Array, "nodes _"]]:
        """The basis that turns each array of theta into a field."""

    @abstractmethod
    def log_diffusivity(self, fields: dict[str, Float[Array, " nodes"]]) -> Float[Array, " nodes"]:
        """log D along the fibres at the nodes, from the fields there; D in mm2/ms, at most `ceiling`."""

    @abstractmethod
    def scar(self, theta: Coefficients) -> Float[Array, " nodes"]:
        """The scar fraction at the nodes, 0 to 1."""

    def mean(self) -> Coefficients:
        """The prior mean: all zero."""
        return {name: jnp.zeros(basis.shape[1], basis.dtype) for name, basis in self.bases.items()}

    def fields(self, theta: Coefficients) -> dict[str, Float[Array, " nodes"]]:
        """The fields at the nodes, linear in theta; a `coarse` map uses the first parameters of each."""
        return {name: basis @ theta[name][: basis.shape[1]] for name, basis in self.bases.items()}

    def diffusivity(self, theta: Coefficients) -> Float[Array, " nodes"]:
        """D along the fibres at the nodes, mm2/ms."""
        return jnp.exp(self.log_diffusivity(self.fields(theta)))

    @abstractmethod
    def anisotropy(
        self, fields: dict[str, Float[Array, " nodes"]]
    ) -> tuple[Float[Array, " nodes"] | float, Float[Array, " nodes"] | None]:
        """Stretch and shear as in `turned_tensor`, at the places of the fields. Without a shear (None) the
        fibres are those of the mesh, and the stretch is half the logarithm of D along over D across them."""

    @property
    def scales(self) -> Variation | None:
        """The scales of log D, where a fit may infer others."""
        return None

    def softened(self, share: float) -> "AbstractTissueMap":
        """The same map with a softer scar border: at `share` 0 so soft that the absence of scar has a
        derivative, at 1 unchanged."""
        return self

    def coarse(self, modes: int) -> "AbstractTissueMap":
        """The same map without all but the level and the first `modes` of each field, which are the longest
        waves: equal to the map itself at parameters that are zero in the others."""
        return self


def soft_clip(x: Float[Array, "..."], low: float, high: float) -> Float[Array, "..."]:
    """x, clipped smoothly to the interval from `low` to `high`."""
    return low + (jax.nn.softplus(4.0 * (x - low)) - jax.nn.softplus(4.0 * (x - high))) / 4.0


class LogDiffusivity(AbstractTissueMap):
    """Tissue map log D = clip(log D_0 + B theta_D - depth sigmoid(sharpness (bias + B_S theta_S))), smoothly
    between floor and ceiling. Depth and sharpness of the scar border may be estimated too.

    The columns of each basis (nodes, terms) carry the prior standard deviations: a constant column gives one
    value (`uniform`), indicators give regions (`per_region`), Matern modes give a field (`field`). The scar
    fraction is bounded, 0 to 1, and lowers D by up to exp(-depth), so scars are areas with a border.

    **Arguments:**

    - `basis`: B, (nodes, terms), of log D.
    - `reference`: D_0, mm2/ms. `floor`, `ceiling`: bounds of D, mm2/ms. Choose the floor above the
      diffusivity at which propagation blocks on the mesh, where the derivative vanishes; the ceiling
      determines the largest number of stages that a step may have.
    - `scar_basis`: B_S, (nodes, terms), of the scar; None: no scar. `scar_depth`: depth. `scar_bias`:
      argument of the sigmoid without scar, in the units of the basis: for a basis of standard deviation s,
      the prior probability of scar at a node is that of a standard normal above -bias/s. `sharpness`: larger
      values make the scar border thinner.
    - `depth_basis`, `border_basis`: of the logarithms of depth and sharpness of the scar, over `scar_depth`
      and `sharpness`, if these are estimated; usually `uniform`.
    - `ratio`: D along over D across the fibres, at least 1. `ratio_basis`: of the logarithm of that ratio, if
      it is estimated. `angle_basis`: of the shear, the off-diagonal component of log D in the frame of the
      fibres (`turned_tensor`), on surfaces. To correct the fibres of the mesh, use a large ratio and a
      standard deviation of log(ratio) times that of the fibre angle in radians. With a ratio of 1 and both
      bases free, only the map determines the fibre direction. B and the scar change the mean of log D over
      all directions.
    - `variation`: scales of B, a `field`, where a fit may infer others; B itself stays.
    - `hardness`: 0 to 1, of the scar border, see `softened`; below 1, depth and sharpness are those given.

    **Raises:** `InputError` unless 0 < floor < reference < ceiling and ratio >= 1.

    **Example:**

    ```python
    modes = jt.matern_modes(mesh, correlation_length=15.0, count=100)
    tissue_map = jt.LogDiffusivity(
        jt.field(modes), reference=0.3, floor=0.02, ceiling=2.0, scar_basis=jt.field(modes, sd=1.5), ratio=4.0
    )
    d_mm2_per_ms = tissue_map.diffusivity(tissue_map.mean())  # (nodes,)
    ```
    """

    basis: Float[Array, "nodes terms"]
    reference: float = eqx.field(static=True, kw_only=True)
    floor: float = eqx.field(static=True, kw_only=True)
    ceiling: float = eqx.field(static=True, kw_only=True)
    scar_basis: Float[Array, "nodes scar_terms"] | None = None
    scar_depth: float = eqx.field(static=True, default=3.0)
    scar_bias: float = eqx.field(static=True, default=-3.0)
    sharpness: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, float), default=5.0)
    depth_basis: Float[Array, "nodes depth_terms"] | None = None
    border_basis: Float[Array, "nodes border_terms"] | None = None
    ratio: float = eqx.field(static=True, default=1.0)
    ratio_basis: Float[Array, "nodes ratio_terms"] | None = None
    angle_basis: Float[Array, "nodes angle_terms"] | None = None
    variation: Variation | None = None
    hardness: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, float), default=1.0)

    def __check_init__(self):
        if not 0 < self.floor < self.reference < self.ceiling:
            raise InputError(
                f"a floor, reference and ceiling of D of {self.floor:g}, {self.reference:g}, "
                f"{self.ceiling:g} mm2/ms",
                "0 < floor < reference < ceiling",
                "Check the conductivity and its bounds; all must be positive",
            )
        if not 1.0 <= self.ratio < np.inf:
            raise InputError(
                f"an anisotropy ratio of {self.ratio}", "D along over D across of 1 or more", "Invert it"
            )

    @property
    def bases(self) -> dict[str, Float[Array, "nodes _"]]:
        bases = {
            "diffusivity": self.basis, "scar": self.scar_basis,
            "depth": self.depth_basis, "border": self.border_basis,
            "ratio": self.ratio_basis, "angle": self.angle_basis,
        }  # fmt: skip
        return {name: basis for name, basis in bases.items() if basis is not None}

    def scar(self, theta: Coefficients) -> Float[Array, " nodes"]:
        """The scar fraction at the nodes, 0 to 1."""
        if self.scar_basis is None:
            return jnp.zeros(self.basis.shape[0], self.basis.dtype)
        return self._share(self.fields(theta))

    def _share(self, fields: dict[str, Float[Array, " nodes"]]) -> Float[Array, " nodes"]:
        sharpness = jnp.log(self.sharpness)
        if "border" in fields:
            sharpness = sharpness + self._hard * fields["border"]
        softest = jnp.minimum(FAINT / max(-self.scar_bias, FAINT), self.sharpness)
        sharpness = jnp.exp((1.0 - self.hardness) * jnp.log(softest) + self.hardness * sharpness)
        return jax.nn.sigmoid(sharpness * (self.scar_bias + fields["scar"]))

    @property
    def _hard(self) -> Float[Array, ""]:
        """Whether depth and border are their own: behind a soft border each takes the place of the other."""
        return jnp.where(self.hardness < 1.0, 0.0, jnp.ones_like(self.hardness))

    def softened(self, share: float) -> "LogDiffusivity":
        if self.scar_basis is None:
            return self
        return eqx.tree_at(lambda c: c.hardness, self, jnp.asarray(share, self.basis.dtype))

    def coarse(self, modes: int) -> "LogDiffusivity":
        names = ("basis", "scar_basis", "ratio_basis", "angle_basis")
        fields = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(self, **{name: basis[:, : modes + 1] for name, basis in fields.items()})

    @property
    def scales(self) -> Variation | None:
        return self.variation

    def log_diffusivity(self, fields: dict[str, Float[Array, " nodes"]]) -> Float[Array, " nodes"]:
        log_d = float(np.log(self.reference)) + fields["diffusivity"]
        if "scar" in fields:
            depth = self.scar_depth * jnp.ones_like(log_d)
            if "depth" in fields:
                depth = depth * jnp.exp(self._hard * fields["depth"])
            log_d = log_d - depth * self._share(fields)
        stretch, shear = self.anisotropy(fields)
        log_d = log_d + (stretch if shear is None else magnitude(stretch, shear)) - self._stretch()
        return soft_clip(log_d, float(np.log(self.floor)), float(np.log(self.ceiling)))

    def anisotropy(self, fields: dict[str, Float[Array, " nodes"]]):
        stretch = self._stretch()
        if "ratio" in fields:
            stretch = stretch + 0.5 * fields["ratio"]
        shear = fields.get("angle")
        return (stretch, None) if shear is None else (stretch + 0.0 * shear, shear)

    def _stretch(self) -> float:
        return 0.5 * float(np.log(self.ratio))


def uniform(nodes: int, sd: float = 1.0) -> Float[Array, "nodes 1"]:
    """Basis of one value for the whole heart, (nodes, 1); `sd`: prior standard deviation of log D."""
    return jnp.full((nodes, 1), sd, float)


def per_region(mesh: Mesh, sd: float = 1.0) -> Float[Array, "nodes regions"]:
    """Basis of one value per region tag (ascending), (nodes, regions); a node on a border takes the mean over
    its cells. `sd`: prior standard deviation of log D in each region."""
    tags, index = np.unique(mesh.regions, return_inverse=True)
    share = np.zeros((len(mesh.points), len(tags)))
    np.add.at(share, (mesh.cells.ravel(), np.repeat(index, mesh.corners)), 1.0)
    return jnp.asarray(sd * share / share.sum(axis=1, keepdims=True), float)


def field(modes: MaternModes, sd: float = 0.5, level_sd: float = 1.0) -> Float[Array, "nodes terms"]:
    """Basis of a Matern field of log D, (nodes, terms): a level and smooth variation around it.

    **Arguments:** `modes`: from `matern_modes`. `sd`: prior standard deviation of the variation. `level_sd`:
    prior standard deviation of the level.
    """
    level = jnp.full((modes.modes.shape[0], 1), level_sd, modes.modes.dtype)
    return jnp.concatenate([level, sd * modes.modes], axis=1)


def scar_field(modes: MaternModes) -> Float[Array, "nodes terms"]:
    """The basis of a scar whose prior has it at 2.5 % of the places: the field exceeds 3 at two standard
    deviations."""
    return field(modes, SCAR_SD, SCAR_LEVEL_SD)


def tissue_prior(
    mesh: Mesh,
    *,
    reference: float,
    floor: float = 0.02,
    ceiling: float = 4.0,
    kind: str = "field",
    sd_log: float = 0.5,
    correlation_length: float = 15.0,
    modes: int = 300,
    scar: bool = False,
    fibres: bool = False,
    ratio: float = 1.0,
    infer_scales: bool = True,
) -> LogDiffusivity:
    """The tissue map of a case: which fields are estimated, and their prior scales.

    **Arguments:**

    - `reference`, `floor`, `ceiling`: D along the fibres at the prior mean and its bounds, mm2/ms.
    - `kind`: log D as a Matern "field", one value per "regions", or "uniform"; `sd_log`: its prior standard
      deviation.
    - `correlation_length` (mm) and number of `modes` of all fields; at most a third of the nodes.
    - `scar`: whether a scar fraction is estimated too, with the prior of `scar_field`.
    - `fibres`: whether direction and anisotropy ratio of conduction are estimated, on a surface. The
      logarithm of the ratio is the length of a vector whose two components have a standard deviation of 1.0
      around a level with one of 1.6: no direction is likelier than another, and `ratio` is not used.
    - `ratio`: D along over across the fibres of the mesh.

    **Raises:** `InputError` for another kind, and for bounds that do not enclose the reference.
    """
    if kind not in KINDS:
        raise InputError(f"a tissue map of kind '{kind}'", " or ".join(KINDS), "Choose one of them")
    found = None
    if kind == "field" or scar or fibres:
        count = min(modes, len(mesh.points) // 3)
        found = matern_modes(mesh, correlation_length=correlation_length, count=count)
    variation = None
    if kind == "field" and found is not None:
        basis, variation = field(found, sd_log), Variation.of(found, sd_log) if infer_scales else None
    else:
        basis = per_region(mesh, sd_log) if kind == "regions" else uniform(len(mesh.points), sd_log)
    tensor = field(found, TENSOR_SD, TENSOR_LEVEL_SD) if fibres and found is not None else None
    return LogDiffusivity(
        basis, scar_basis=scar_field(found) if scar and found is not None else None,
        reference=reference, floor=floor, ceiling=ceiling, ratio=1.0 if fibres else ratio,
        depth_basis=uniform(len(mesh.points), DEPTH_SD) if scar else None,
        border_basis=uniform(len(mesh.points), BORDER_SD) if scar else None,
        ratio_basis=tensor, angle_basis=None if tensor is None else 0.5 * tensor,
        variation=variation,
    )  # fmt: skip
