"""Solves on several devices: many tissues at once, or one mesh distributed over devices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as Devices
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from .._results import InputError
from .._types import nodal_leaves
from ..fem import Partition, diffusion_operator
from .adjoint import AbstractAdjoint, Checkpointed
from .conductivity import check_diffusivity
from .recorder import AbstractRecorder
from .result import result_of
from .simulate import Solution, begin, march_of, simulate, solution_of, with_stages
from .stepper import AbstractStepper, RungeKuttaChebyshev
from .times import Times
from .tissue import Tissue


def _devices(devices, wanted: int | None = None) -> np.ndarray:
    chosen = np.asarray(jax.devices() if devices is None else devices)
    if wanted is not None and len(chosen) != wanted:
        raise InputError(
            f"{len(chosen)} devices for a mesh in {wanted} parts", "one device for each part",
            "Split the mesh into as many parts as there are devices, or name the devices",
        )  # fmt: skip
    return chosen


def simulate_batch(
    tissues: Tissue,
    times: Times,
    *,
    batched: tuple[str, ...],
    stepper: AbstractStepper | None = None,
    recorders: tuple[AbstractRecorder, ...] = (),
    adjoint: AbstractAdjoint | None = None,
    devices=None,
) -> Solution:
    """Solves many tissues in one compiled program; arrays of the solution have a leading batch axis.

    Reverse mode is supported. Each solve stores a trajectory of its own, so divide the memory of the adjoint
    by the batch size.

    **Arguments:**

    - `tissues`: a `Tissue` whose `batched` fields have a leading batch axis.
    - `batched`: names of these fields, of "space", "ionic", "diffusivity", "stimulus": `("stimulus",)` for
      pacing sites, `("ionic", "diffusivity")` for parameter samples. All solves use the number of stages of
      the stiffest tissue.
    - `devices`: the devices that share the batch, whose size must be a multiple of their number; one device
      if None.
    - `stepper`, `recorders`, `adjoint`: as in `simulate`.

    **Returns:** a `Solution`.
    """
    shared, spread = _parted(tissues, batched)
    size = {leaf.shape[0] for leaf in jax.tree.leaves(spread)}
    if len(size) != 1:
        raise InputError(
            f"batch axes of lengths {sorted(size)}",
            "one length",
            "Name in `batched` the fields with a batch in front",
        )
    (count,) = size
    chosen = _devices(jax.devices()[:1] if devices is None else devices)
    if count % len(chosen):
        raise InputError(
            f"a batch of {count} on {len(chosen)} devices",
            "a multiple of the number of devices",
            "Pad the batch",
        )
    check_diffusivity(tissues.diffusivity)
    stepper = stepper or RungeKuttaChebyshev()
    if stepper.stages is None:
        differ = count if set(batched) - {"stimulus"} else 1
        each = [eqx.combine(jax.tree.map(lambda leaf, k=k: leaf[k], spread), shared) for k in range(differ)]
        steppers = [with_stages(stepper, tissue, times.dt) for tissue in each]
        stepper = max(steppers, key=lambda s: s.stages or 0)
    return _batch(
        shared, spread, times, stepper, recorders, adjoint or Checkpointed(), tuple(chosen.tolist())
    )


def _parted(tissues: Tissue, batched: tuple[str, ...]) -> tuple[Tissue, Tissue]:
    """The leaves that all solves share, and those with a leading batch axis."""
    chosen = jax.tree_util.tree_map_with_path(
        lambda path, leaf: eqx.is_array(leaf) and path[0].name in batched, tissues
    )
    spread, shared = eqx.partition(tissues, chosen)
    return shared, spread


@eqx.filter_jit
def _batch(shared, spread, times, stepper, recorders, adjoint, devices) -> Solution:
    arrays, static = eqx.partition(shared, eqx.is_array)

    def many(spread, arrays):
        def one(spread):
            tissue = eqx.combine(spread, arrays, static)
            return simulate(tissue, times, stepper=stepper, recorders=recorders, adjoint=adjoint, throw=False)

        return jax.vmap(one)(spread)

    if len(devices) == 1:
        return many(spread, arrays)
    grid = Devices(np.asarray(devices), ("batch",))
    return jax.shard_map(
        many, mesh=grid, in_specs=(PartitionSpec("batch"), PartitionSpec()), out_specs=PartitionSpec("batch"),
        check_vma=False,
    )(spread, arrays)  # fmt: skip


def simulate_split(
    split: Partition,
    tissue: Tissue,
    times: Times,
    *,
    stepper: AbstractStepper | None = None,
    recorders: tuple[AbstractRecorder, ...] = (),
    adjoint: AbstractAdjoint | None = None,
    devices=None,
) -> Solution:
    """Runs the same solve as `simulate` with the mesh distributed over several devices, forward and gradient.

    Each product of a stage exchanges the values at the borders of the parts. Recorders must have records that
    are arrays with the nodes last. Values shared by all nodes, such as a table or the duration of a stimulus,
    are not differentiated here.

    **Arguments:**

    - `split`: from `jaxtwin.fem.partition(mesh, tissue.space, parts)`.
    - `devices`: as many as parts; all if None. With `jax.distributed`, those of all processes: each process
      calls this function with the same arguments and gets the whole solution.
    """
    chosen = _devices(devices, split.parts)
    stepper = with_stages(stepper or RungeKuttaChebyshev(), tissue, times.dt)
    return _split(split, tissue, times, stepper, recorders, adjoint or Checkpointed(), tuple(chosen.tolist()))


@jax.custom_jvp
def _not_differentiated(shared: Array) -> Array:
    """Values shared by all nodes; differentiating them raises, since each part would count the derivative at
    its halo nodes again."""
    return shared


@_not_differentiated.defjvp
def _(primals, tangents):
    raise InputError(
        "a derivative by a number or table that all nodes share, of a mesh in parts",
        "one by the diffusivity or by a field over the nodes", "Use `simulate`, or a field over the nodes",
    )  # fmt: skip


@eqx.filter_jit
def _split(split: Partition, tissue: Tissue, times, stepper, recorders, adjoint, devices) -> Solution:
    grid = Devices(np.asarray(devices), ("parts",))
    march_of(tissue, stepper, times, recorders)  # checks the fields of the whole mesh

    def dealt(leaf):
        return jnp.moveaxis(leaf[..., split.nodes], -2, 0)

    def everywhere(leaf):
        """A number as a nodal field, whose derivative can be masked to the nodes that a part owns."""
        return jnp.broadcast_to(leaf, (tissue.space.nodes,))

    local = tissue.ionic, tissue.stimulus, recorders
    marks = [marked for _, _, marked in nodal_leaves(local, numbers=True)]
    at_nodes = jax.tree.unflatten(jax.tree.structure(local), marks)
    fields, rest = eqx.partition(
        local, jax.tree.map(lambda mark, leaf: mark and eqx.is_array(leaf), at_nodes, local)
    )
    fields = jax.tree.map(lambda leaf: everywhere(leaf) if leaf.ndim == 0 else leaf, fields)
    shared, static = eqx.partition(rest, eqx.is_array)
    arrays, form = eqx.partition(split.spaces, eqx.is_array)
    parts = (
        arrays, split.own_nodes, split.own_edges, tissue.diffusivity[split.cells], jax.tree.map(dealt, fields)
    )  # fmt: skip

    def run(parts, shared):
        arrays, own_nodes, own_edges, tensor, fields = jax.tree.map(lambda leaf: leaf[0], parts)

        def counted(leaf, mask):
            """The value everywhere, its derivative only at the nodes that this part owns."""
            return jnp.where(mask, leaf, jax.lax.stop_gradient(leaf))

        def over_nodes(leaf):
            return counted(leaf, own_nodes.reshape((1,) * (leaf.ndim - 1) + own_nodes.shape))

        space = eqx.combine(arrays, form)
        ionic, stimulus, watching = eqx.combine(
            jax.tree.map(over_nodes, fields), jax.tree.map(_not_differentiated, shared), static
        )
        march = march_of(Tissue(space, ionic, tensor, stimulus), stepper, times, watching)
        of_edges = counted(diffusion_operator(space, tensor).of_edges, own_edges)
        march = eqx.tree_at(lambda m: m.diffusion, march, march.diffusion.with_edges(of_edges))
        state, memory = begin(march, None)
        state, memory, emitted = adjoint.run(march, state, memory, jnp.asarray(0), times.steps)
        solution = solution_of(march, state, memory, emitted)
        for recorder, record in zip(recorders, solution.records, strict=True):
            if any(jnp.shape(leaf)[-1:] != own_nodes.shape for leaf in jax.tree.leaves(record)):
                raise InputError(
                    f"{type(recorder).__name__} on a mesh in parts", "recorders of a value for each node",
                    "Use `simulate`, or leave this recorder out",
                )  # fmt: skip
        return jax.tree.map(lambda leaf: leaf[None], (solution.state, solution.records))

    whole = jax.shard_map(
        run, mesh=grid, in_specs=(PartitionSpec("parts"), PartitionSpec()), out_specs=PartitionSpec("parts"),
        check_vma=False,
    )  # fmt: skip

    def collected(leaf):
        flat = jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], -1)
        return jax.lax.with_sharding_constraint(flat[..., split.place], NamedSharding(grid, PartitionSpec()))

    state, records = jax.tree.map(collected, whole(parts, shared))
    return Solution(state, records, result_of(tissue.ionic, recorders, state.u, records))
