"""`jaxtwin verify`: the claims of the solver, measured on this machine."""

import os
import time
from collections.abc import Callable

import jax

from .. import verify
from .._results import InputError
from ..anatomy import sheet, slab
from ..cells import AbstractIonicModel, MitchellSchaeffer, ModifiedMitchellSchaeffer
from ..monodomain import RungeKuttaChebyshev
from ..signals import plane_wave_speed, wave_speed
from ..verify import CONVERGED, SlabWave, richardson_limit, slab_wave
from ..verify.slab import ACROSS, ALONG, POINTS
from .claims import Claim, Group, Table, number

MEMORY_GIB = 12.0  # of the machine, for the finest slab
Report = Callable[[str], None]


def _space(full: bool, report: Report) -> Group:
    orders = {name: verify.spatial_order(name) for name in verify.STEADY}
    return Group(
        "Order in space, against exact solutions",
        [Claim(f"observed order, {name}", found.order, ">=", 1.8) for name, found in orders.items()],
        [_errors("Relative L2 error", "edge", orders)] if full else [],
    )


def _time(full: bool, report: Report) -> Group:
    orders = verify.temporal_order()
    least = RungeKuttaChebyshev.order - 0.2
    return Group(
        "Order in time, with reaction and gates that cross their threshold",
        [Claim(f"observed order of {name}", found.order, ">=", least) for name, found in orders.items()],
        [_errors("Largest error", "step", orders)] if full else [],
    )


def _speed(full: bool, report: Report) -> Group:
    cells = {
        "Mitchell-Schaeffer": MitchellSchaeffer(),
        "modified Mitchell-Schaeffer": ModifiedMitchellSchaeffer(),
        "modified Mitchell-Schaeffer, atrial": ModifiedMitchellSchaeffer.atrial(),
    }
    claims = [
        Claim(f"{name}, fine cable, relative error", abs(_plane(cell, 0.1)), "<=", 0.01)
        for name, cell in cells.items()
    ]
    orders = {"lumped mass": verify.speed_order(), "half consistent": verify.speed_order(0.5)}
    for (name, found), least in zip(orders.items(), (1.8, 3.0), strict=True):
        claims.append(Claim(f"order of the speed, gate standing still, {name}", found.order, ">=", least))
        claims.append(
            Claim(f"error of the speed, the same, edge 0.1 mm, {name}", found.errors[-1], "<=", 0.005)
        )
    return Group(
        "Speed of a plane wave against the closed form",
        claims,
        [_errors("Relative error of the speed, D = 0.1 mm2/ms, gate standing still", "edge", orders)],
    )


def _invariance(full: bool, report: Report) -> Group:
    meshes = {
        "sheet": sheet(5.0, 5.0, 0.5, distortion=0.2),
        "slab": slab(3.0, 2.0, 1.0, 0.5, distortion=0.2),
    }
    return Group(
        "Rotation and conservation",
        [
            Claim(
                f"change of activation times when mesh and fibres turn {where}",
                verify.rotation_difference(dim), "<=", 1e-9, "ms",
            )
            for dim, where in ((2, "in the plane"), (3, "out of the plane"))
        ]
        + [
            Claim(
                f"relative drift of the total in 20 ms of diffusion, distorted {name}",
                verify.total_drift(mesh), "<=", 1e-12,
            )
            for name, mesh in meshes.items()
        ],
    )  # fmt: skip


def _gradient(full: bool, report: Report) -> Group:
    models: dict[str, type[AbstractIonicModel]] = {"modified Mitchell-Schaeffer": ModifiedMitchellSchaeffer}
    if full:
        models = {"Mitchell-Schaeffer": MitchellSchaeffer} | models
    claims = []
    for name, model in models.items():
        report(f"gradient: {name}")
        taylor = verify.taylor_remainders(model)
        claims.append(Claim(f"{name}: order of the Taylor remainder", taylor.order, ">=", 1.9))
        errors = [error for row in verify.derivative_errors(model).values() for error in row.values()]
        for kind, what, bound in (
            ("difference", "central differences", 1e-5),
            ("forward", "forward mode", 1e-9),
        ):
            claims.append(
                Claim(
                    f"{name}: reverse mode against {what}, every parameter and recorder, the worst",
                    max(error[kind] for error in errors), "<=", bound,
                )
            )  # fmt: skip
    for name in verify.DERIVATIVE_MESHES if full else ("sheet",):
        for memory, share, how in (
            (1e9, 0.5, "trajectory stored, half consistent mass"),
            (6e5, 0.0, "computed again, lumped mass"),
        ):
            claims.append(
                Claim(
                    f"transpose by hand against autodiff, {name}, {how}",
                    max(verify.transpose_error(name, memory, share).values()), "<=", 1e-10,
                )
            )  # fmt: skip
    return Group("Gradients of a solve", claims)


def _precision(full: bool, report: Report) -> Group:
    found = {name: verify.precision_difference(name) for name in verify.PRECISION_MESHES}
    return Group(
        "Single against double precision",
        [
            Claim(f"largest difference of activation times, {name}", gap.largest, "<=", 0.1, "ms")
            for name, gap in found.items()
        ],
        [
            Table(
                "Activation times in float32 less those in float64",
                ("mesh", "largest, ms", "rms, ms", "last activation, ms"),
                [(name, gap.largest, gap.rms, gap.last) for name, gap in found.items()],
            )
        ],
    )


SCHEMES = {"lumped": 0.0, "half consistent": 0.5}


def _slab(full: bool, report: Report) -> Group:
    edges = (0.5, 0.25, 0.125, 0.0625) if full else (0.5, 0.25)
    if full:
        _enough_memory()
    waves: dict[str, list[SlabWave]] = {name: [] for name in SCHEMES}
    for edge in edges:
        for name, share in SCHEMES.items():
            begin = time.perf_counter()
            stop = 120.0 if edge > 0.25 else 100.0  # coarse meshes are slow
            waves[name].append(slab_wave(edge, consistent_mass=share, stop=stop))
            nodes = waves[name][-1].nodes
            report(f"slab: {edge:g} mm, {name}, {nodes:,} nodes, {time.perf_counter() - begin:.0f} s")
    dt = waves["half consistent"][0].dt / 2
    halved = {edge: slab_wave(edge, dt, consistent_mass=0.5, stop=100.0) for edge in edges[1:3]}
    runs = [wave for sequence in waves.values() for wave in sequence]
    claims = [
        Claim("nodes that the wave does not reach, all meshes", float(sum(w.silent for w in runs)), "<=", 0.0)
    ]
    for k, (edge, fine) in enumerate(halved.items(), 1):
        gap = max(abs(fine.lat[p] - waves["half consistent"][k].lat[p]) for p in POINTS)
        claims.append(
            Claim(f"halving the step at {edge:g} mm, the nine points, the worst", gap, "<=", 0.1, "ms")
        )
    for direction, diffusivity in (("along", ALONG), ("across", ACROSS)):
        claims.append(
            Claim(
                f"plane wave {direction} the fibres, fine cable, against the closed form, relative",
                abs(_plane(ModifiedMitchellSchaeffer(), diffusivity)), "<=", 0.01,
            )
        )  # fmt: skip
    group = Group("The slab of Niederer et al. 2011 with modified Mitchell-Schaeffer cells", claims)
    (_limits if full else _against_limit)(group, waves)
    group.tables += [_slab_table(name, sequence) for name, sequence in waves.items()]
    return group


def _against_limit(group: Group, waves: dict[str, list[SlabWave]]) -> None:
    """Coarse meshes against the limit that `--full` has found."""
    for name, bound in (("lumped", 0.15), ("half consistent", 0.06)):
        wave = waves[name][-1]
        worst = max(abs(wave.lat[p] / CONVERGED[p] - 1.0) for p in POINTS if p != "P1")
        group.claims.append(
            Claim(f"times at {wave.edge:g} mm, {name}, against the limit, relative, the worst of P2 to P9",
                  worst, "<=", bound)
        )  # fmt: skip


def _limits(group: Group, waves: dict[str, list[SlabWave]]) -> None:
    """What the finest meshes say about the limit. P1 is excited by the stimulus itself."""
    limits = {name: _richardson(sequence) for name, sequence in waves.items()}
    points = [p for p in POINTS if p != "P1"]
    gap = max(abs(limits["lumped"][p].value - limits["half consistent"][p].value) for p in points)
    least = min(limits["lumped"][p].order for p in points)
    group.claims += [
        Claim("limits of the two schemes, P2 to P9, largest difference", gap, "<=", 0.2, "ms"),
        Claim("observed order, lumped, P2 to P9, the least", least, ">=", 1.8),
    ]
    for name, sequence in waves.items():
        finest = sequence[-1]
        worst = max(abs(finest.lat[p] / limits["lumped"][p].value - 1.0) for p in points)
        text = f"times at {finest.edge:g} mm, {name}, against the limit, relative, the worst of P2 to P9"
        group.claims.append(Claim(text, worst, "<=", 0.01))
    for direction, speed in verify.slab_closed_form().items():
        ratio = limits["lumped"][direction].value / speed
        text = f"speed {direction} the fibres in the slab over that of a plane wave, limit"
        group.claims += [
            Claim(f"{text}, at least", ratio, ">=", 0.94),
            Claim(f"{text}, at most", ratio, "<=", 1.0),
        ]


def _richardson(sequence: list[SlabWave]) -> dict[str, verify.Limit]:
    coarse, middle, fine = (wave.figures for wave in sequence[-3:])
    return {name: richardson_limit((coarse[name], middle[name], fine[name])) for name in fine}


def _slab_table(name: str, sequence: list[SlabWave]) -> Table:
    closed = verify.slab_closed_form()
    head = ["", *(f"{wave.edge:g} mm" for wave in sequence)]
    limits = _richardson(sequence) if len(sequence) > 2 else {}
    rows: list[tuple[str | float, ...]] = [("nodes", *(f"{wave.nodes:,}" for wave in sequence))]
    for figure in sequence[0].figures:
        unit = "ms" if figure in POINTS else "mm/ms"
        label = f"{figure}, {unit}" if figure in POINTS else f"speed {figure}, {unit}"
        row: list[str | float] = [label, *(wave.figures[figure] for wave in sequence)]
        if limits:
            row += [limits[figure].value, limits[figure].order]
        row.append(closed.get(figure, ""))
        rows.append(tuple(row))
    if limits:
        head += ["limit", "order"]
        rows[0] = (*rows[0], "", "")
    rows[0] = (*rows[0], "")
    dt = sequence[0].dt
    return Table(
        f"Activation at the nine points, {name} mass, step {dt:g} ms", (*head, "plane wave"), rows, 4
    )


def _enough_memory() -> None:
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if memory < MEMORY_GIB:
        raise InputError(
            f"--full on a machine with {memory:.0f} GiB of memory",
            f"{MEMORY_GIB:.0f} GiB or more for the slab of 1.8 million nodes",
            "Leave --full out, or name the other groups with --only",
        )


GROUPS: dict[str, Callable[[bool, Report], Group]] = {
    "space": _space, "time": _time, "speed": _speed, "invariance": _invariance, "gradient": _gradient,
    "precision": _precision, "slab": _slab,
}  # fmt: skip


def chosen_groups(names: list[str]) -> list[str]:
    """The groups of these names in their own order, all of them for none. Raises `InputError`."""
    for name in names:
        if name not in GROUPS:
            raise InputError(f"the group {name!r}", f"one of {', '.join(GROUPS)}", "Correct --only")
    return [name for name in GROUPS if name in names or not names]


def run_group(name: str, full: bool, report: Report) -> Group:
    """Measures one group, in double precision whatever JAX is set to."""
    begin = time.perf_counter()
    with jax.enable_x64(True):
        group = GROUPS[name](full, report)
    group.seconds = time.perf_counter() - begin
    return group


def _plane(cell: AbstractIonicModel, diffusivity: float) -> float:
    """Relative error of the speed on a cable whose edges are a fifth of the front."""
    closed = float(wave_speed(cell, diffusivity))
    return plane_wave_speed(cell, diffusivity, edge=0.05 * (diffusivity / 0.1) ** 0.5) / closed - 1.0


def _errors(title: str, size: str, orders: dict[str, verify.Order]) -> Table:
    """Errors of each refinement. All orders of a table have as many sizes."""
    rows: list[tuple[str | float, ...]] = []
    for name, found in orders.items():
        errors = (f"{number(e, 3)} ({s:.3g})" for s, e in zip(found.sizes, found.errors, strict=True))
        rows.append((name, *errors, found.order))
    count = len(next(iter(orders.values())).sizes)
    return Table(f"{title} ({size} in brackets)", ("", *("error",) * count, "order"), rows)
