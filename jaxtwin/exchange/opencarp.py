"""A case for openCARP: mesh, conductivities, cell, stimuli and a parameter file, out and back in.

Sources: Plank et al. 2021 (doi 10.1016/j.cmpb.2021.106223) and the list of parameters at
opencarp.org/parameters/master for names and units: points in um, `dt` in us, `tend` in ms, conductivities in
S/m, `cellSurfVolRatio` in 1/um, pulses in uA/cm2 with a membrane of 1 uF/cm2.

openCARP's monodomain conductivity is g_i g_e/(g_i + g_e) while `bidm_eqv_mono` is 1, its default, and g_i
alone if it is 0 (as in the tests of gpuSolve's reader of the format, and in public scripts for CARPentry,
which double g_i = g_e for the default). We write 0, and g_i = D chi C_m: nothing is rounded twice, and
non-conducting tissue causes no division by zero.

Not tested: exported cases were not run in openCARP. The source of its "MitchellSchaeffer" (parameters V_gate,
tau_in, tau_out, tau_open, tau_close, V_min, V_max in public cases) was not checked. Its published action
potentials (209 and 113 ms for tau_close of 110 and 55 ms, tau_out 6 ms, V_gate 0.13) are 4 and 7 % shorter
than those of our cell, and 1 and 4 % shorter than those of the modified one, so it may be the modified one:
compare one cell (`bench`) before you compare tissue. "mMS", the modified cell, has a voltage from 0 to 1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .._files import atomic_write, read_bytes
from .._results import InputError
from .._units import (
    MEMBRANE_CAPACITANCE,
    MICROMETRE,
    SURFACE_TO_VOLUME,
    conductivity_from_diffusivity,
    diffusivity_from_conductivity,
)
from ..anatomy import Mesh
from ..anatomy.opencarp import read_opencarp, read_vtx, write_opencarp, write_vtx
from ..cells import AbstractIonicModel, MitchellSchaeffer, ModifiedMitchellSchaeffer

STEM = "tissue"
PARAMETERS = "case.par"
_NAME = re.compile(r"region_(-?\d+)_class_\d+")
_LINE = re.compile(r"\s*([A-Za-z_][\w.\[\]]*)\s*=\s*(.*?)\s*$")


@dataclass(frozen=True)
class Electrode:
    """A current into some nodes. `strength`: du/dt during the pulse, 1/ms, as for `pulse`."""

    nodes: Int[np.ndarray, " nodes"]
    onset_ms: float = 0.0
    duration_ms: float = 2.0
    strength: float = 0.5


@dataclass(frozen=True)
class OpenCarpCase:
    """A case as described by its files.

    - `mesh`: regions as before the classification of conductivities; always in 3-D.
    - `along`, `across`: (cells,), diffusivity along and across the fibres, mm2/ms, as openCARP has them.
    - `parameters`: all entries of the parameter file, as text.
    """

    mesh: Mesh
    along: Float[np.ndarray, " cells"]
    across: Float[np.ndarray, " cells"]
    stimuli: tuple[Electrode, ...]
    end_ms: float
    step_ms: float
    parameters: dict[str, str]


def write_opencarp_case(
    folder: str | Path,
    mesh: Mesh,
    diffusivity: Float[np.ndarray, " cells"],
    *,
    ratio: float,
    ionic: AbstractIonicModel,
    stimuli: Sequence[Electrode],
    end_ms: float,
    step_ms: float,
    classes: int = 20,
) -> float:
    """Writes a folder that openCARP runs with `openCARP +F case.par`, and returns the error of the classes.

    openCARP takes conductivities by the tags of elements. In each region of the mesh, cells are put into
    `classes` of equal width in log D, each with the geometric mean of its bounds, or with exactly their
    values where there are no more than `classes` of these. Returned is the largest |D_written / D - 1|; the
    speed of a wave errs by half of it.

    **Arguments:**

    - `folder`: made where it does not exist; must be empty.
    - `diffusivity`: D along the fibres, mm2/ms, not negative; 0 does not conduct. `ratio`: D along over
      across.
    - `ionic`: Mitchell-Schaeffer, or its modified form, which becomes "mMS"; with numbers, not fields, as
      parameters. `stimuli`: at least one.
    - `end_ms`, `step_ms`: length of the run and of a step.

    **Raises:** `InputError` for a folder with something in it, another cell, and numbers out of their range.
    """
    folder = Path(folder)
    cell = _cell(ionic)
    _check(mesh, diffusivity, ratio, stimuli, end_ms, step_ms, classes)
    _make(folder)
    tags, table = _classified(mesh.regions, diffusivity, classes)
    tagged = Mesh(mesh.points, mesh.cells, mesh.fibres, tags)
    write_opencarp(folder / STEM, tagged)
    for number, electrode in enumerate(stimuli):
        write_vtx(folder / f"stimulus_{number}.vtx", np.asarray(electrode.nodes), "intra")
    lines = _parameters(table, ratio, cell, stimuli, end_ms, step_ms)
    with atomic_write(folder / PARAMETERS) as stream:
        stream.write("".join(f"{line}\n" for line in lines).encode())
    written = np.array([value for _, _, value in table])[tags - 1]
    there = diffusivity > 0
    return float(np.abs(written[there] / diffusivity[there] - 1.0).max(initial=0.0))


def read_opencarp_case(folder: str | Path) -> OpenCarpCase:
    """Reads a case that `write_opencarp_case` wrote, possibly edited manually.

    Raises `InputError` for files that are missing or damaged, and for cells whose tag belongs to no region of
    conductivity.
    """
    folder = Path(folder)
    said = _read_parameters(folder / PARAMETERS)
    found = read_opencarp(folder / said.get("meshname", STEM), unit="um").mesh
    monodomain = int(_number(said, "bidm_eqv_mono", 1.0)) == 1
    along, across = np.full(len(found.cells), np.nan), np.full(len(found.cells), np.nan)
    regions = found.regions.copy()
    for k in range(int(_number(said, "num_gregions"))):
        group = f"gregion[{k}]"
        scale = _number(said, f"{group}.g_mult", 1.0)
        tags = [int(_number(said, f"{group}.ID[{j}]")) for j in range(int(_number(said, f"{group}.num_IDs")))]
        here = np.isin(found.regions, tags)
        for values, letter in ((along, "l"), (across, "t")):
            sigma = _number(said, f"{group}.g_i{letter}")
            if monodomain:
                outside = _number(said, f"{group}.g_e{letter}")
                sigma = sigma * outside / (sigma + outside) if sigma + outside > 0 else 0.0
            chi = SURFACE_TO_VOLUME
            if "imp_region[0].cellSurfVolRatio" in said:
                chi = _number(said, "imp_region[0].cellSurfVolRatio") / MICROMETRE
            values[here] = diffusivity_from_conductivity(sigma * scale, chi)
        name = _NAME.fullmatch(said.get(f"{group}.name", ""))
        if name:
            regions[here] = int(name[1])
    unclaimed = np.isnan(along)
    if unclaimed.any():
        raise InputError(
            f"{int(unclaimed.sum())} cells without a conductivity in {PARAMETERS}, the first with tag "
            f"{found.regions[unclaimed.argmax()]}",
            "a gregion for each tag of the mesh",
            "Add the tag to one of them",
        )
    span = _voltage_span(said)
    stimuli = []
    for k in range(int(_number(said, "num_stim"))):
        file = said.get(f"stim[{k}].elec.vtx_file", "")
        path = folder / (file if file.endswith(".vtx") else file + ".vtx")
        nodes = read_vtx(path, len(found.points))
        stimuli.append(
            Electrode(
                nodes,
                _number(said, f"stim[{k}].ptcl.start"),
                _number(said, f"stim[{k}].ptcl.duration"),
                _number(said, f"stim[{k}].pulse.strength") / span,
            )
        )
    mesh = Mesh(found.points, found.cells, found.fibres, regions)
    return OpenCarpCase(
        mesh, along, across, tuple(stimuli), _number(said, "tend"), _number(said, "dt") * 1e-3, said
    )


def _cell(ionic):
    """Name of the cell in openCARP and its parameters there."""
    same = ("tau_in", "tau_out", "tau_open", "tau_close")
    if isinstance(ionic, ModifiedMitchellSchaeffer):
        name, numbers = "mMS", {"V_gate": ionic.a, "a_crit": ionic.a}
    elif isinstance(ionic, MitchellSchaeffer):
        name, numbers = "MitchellSchaeffer", {"V_gate": ionic.u_gate}
    else:
        raise InputError(
            f"a cell of type {type(ionic).__name__}", "MitchellSchaeffer or its modified form",
            "Export with one of these",
        )  # fmt: skip
    numbers |= {key: getattr(ionic, key) for key in same}
    if name == "MitchellSchaeffer":
        numbers |= {"V_min": ionic.v_min, "V_max": ionic.v_max}
    fields = [key for key, value in numbers.items() if np.size(value) != 1]
    if fields:
        raise InputError(
            f"{', '.join(fields)} with a value for each node", "one number for the whole tissue",
            "Export with the median, or with one region of cells for each value by hand",
        )  # fmt: skip
    return name, {key: float(np.asarray(value).reshape(())) for key, value in numbers.items()}


def _check(mesh, diffusivity, ratio, stimuli, end_ms, step_ms, classes):
    if diffusivity.shape != (len(mesh.cells),) or not (np.isfinite(diffusivity) & (diffusivity >= 0)).all():
        raise InputError(
            f"diffusivities of shape {diffusivity.shape}, "
            f"{int((~(np.isfinite(diffusivity) & (diffusivity >= 0))).sum())} of them negative or not finite",
            f"a number of 0 or more, mm2/ms, for each of {len(mesh.cells)} cells", "Check the conductivities",
        )  # fmt: skip
    if not (np.isfinite(ratio) and ratio > 0):
        raise InputError(f"a ratio of {ratio}", "a number above 0", "Use 1 where conduction is isotropic")
    if not (np.isfinite(end_ms) and np.isfinite(step_ms) and 0 < step_ms <= end_ms):
        raise InputError(
            f"steps of {step_ms} ms up to {end_ms} ms", "a step above 0 and no longer than the run",
            "Use steps of 0.02 ms",
        )  # fmt: skip
    if not 1 <= classes <= 1000:
        raise InputError(f"{classes} classes", "1 to 1000", "20 keep the error of the speed below a few %")
    if not stimuli:
        raise InputError("no stimulus", "at least one electrode", "Give the nodes that are paced")
    for number, each in enumerate(stimuli):
        nodes = np.asarray(each.nodes)
        if not nodes.size or nodes.min() < 0 or nodes.max() >= len(mesh.points):
            raise InputError(
                f"stimulus {number} at {nodes.size} nodes"
                + (f", {nodes.min()} to {nodes.max()}" if nodes.size else ""),
                f"nodes from 0 to {len(mesh.points) - 1}", "Check that they belong to this mesh",
            )  # fmt: skip
        numbers = each.onset_ms, each.duration_ms, each.strength
        if not np.isfinite(numbers).all() or each.onset_ms < 0 or each.duration_ms <= 0:
            raise InputError(
                f"stimulus {number} from {each.onset_ms} ms for {each.duration_ms} ms with strength "
                f"{each.strength}", "finite numbers, an onset of 0 or more and a duration above 0",
                "Check the stimulus",
            )  # fmt: skip


def _make(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        full = any(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder}, which cannot be used ({error.strerror})", "a new or empty folder", "Choose another"
        ) from error
    if full:
        raise InputError(
            f"the folder {folder}, which is not empty", "a new or empty folder",
            "Choose another, or empty it",
        )  # fmt: skip


def _classified(regions, diffusivity, classes):
    """Tags from 1, and for each tag its region, the number of its class there and the diffusivity."""
    tags, table = np.zeros(len(regions), np.int32), []
    for region in np.unique(regions):
        here = np.flatnonzero(regions == region)
        unique, index = np.unique(diffusivity[here], return_inverse=True)
        if len(unique) > classes:
            level = np.log(unique[unique > 0])
            width = (level[-1] - level[0]) / classes
            # Non-conducting tissue has a class of its own, below all others.
            place = np.full(len(unique), -1)
            place[unique > 0] = np.minimum(((level - level[0]) / width).astype(int), classes - 1)
            filled, which = np.unique(place, return_inverse=True)
            unique = np.where(filled < 0, 0.0, np.exp(level[0] + (filled + 0.5) * width))
            index = which[index]
        tags[here] = len(table) + 1 + index
        table += [(int(region), number, float(value)) for number, value in enumerate(unique)]
    return tags, table


def _parameters(table, ratio, cell, stimuli, end_ms, step_ms):
    """Lines of the parameter file; none is empty, because openCARP's reader rejects empty lines."""
    name, numbers = cell
    low, high = numbers.get("V_min", 0.0), numbers.get("V_max", 1.0)
    text = ",".join(f"{key}={value!r}" for key, value in numbers.items())
    lines = [
        "# Monodomain case written by jaxtwin. Run it in this folder: openCARP +F " + PARAMETERS,
        f"meshname = {STEM}",
        "simID = output",
        "bidomain = 0",
        "# the conductivity of the monodomain is g_i itself",
        "bidm_eqv_mono = 0",
        f"dt = {step_ms * 1e3!r} # us",
        f"tend = {float(end_ms)!r} # ms",
        "spacedt = 1.0 # ms",
        "timedt = 10.0 # ms",
        "# membrane: 1 uF/cm2; surface to volume in 1/um",
        "num_imp_regions = 1",
        f'imp_region[0].name = "{STEM}"',
        f'imp_region[0].im = "{name}"',
        f'imp_region[0].im_param = "{text}"',
        f"imp_region[0].cellSurfVolRatio = {SURFACE_TO_VOLUME * MICROMETRE!r}",
        f"imp_region[0].num_IDs = {len(table)}",
    ]
    lines += [f"imp_region[0].ID[{k}] = {k + 1}" for k in range(len(table))]
    lines += ["# conductivities in S/m", f"num_gregions = {len(table)}"]
    for k, (region, number, value) in enumerate(table):
        # repr, so that reading returns the same number
        along, across = (float(conductivity_from_diffusivity(d)) for d in (value, value / ratio))
        lines += [
            f'gregion[{k}].name = "region_{region}_class_{number}"',
            f"gregion[{k}].num_IDs = 1",
            f"gregion[{k}].ID[0] = {k + 1}",
            f"gregion[{k}].g_il = {along!r}",
            f"gregion[{k}].g_it = {across!r}",
            f"gregion[{k}].g_in = {across!r}",
        ]
    lines.append(f"num_stim = {len(stimuli)}")
    for k, each in enumerate(stimuli):
        # du/dt in 1/ms times the span of the voltage and C_m = 1 uF/cm2
        strength = each.strength * (high - low) * MEMBRANE_CAPACITANCE * 100.0
        lines += [
            f'stim[{k}].name = "stimulus_{k}"',
            f"stim[{k}].crct.type = 0 # transmembrane current",
            f"stim[{k}].pulse.strength = {float(strength)!r} # uA/cm2",
            f"stim[{k}].ptcl.start = {float(each.onset_ms)!r}",
            f"stim[{k}].ptcl.duration = {float(each.duration_ms)!r}",
            f"stim[{k}].ptcl.npls = 1",
            f'stim[{k}].elec.vtx_file = "stimulus_{k}"',
        ]
    middle = 0.5 * (low + high)
    return [
        *lines,
        "# first activation: upstroke through the middle of the action potential",
        "num_LATs = 1",
        'lats[0].ID = "activation"',
        "lats[0].all = 0",
        "lats[0].measurand = 0",
        "lats[0].mode = 0",
        "lats[0].method = 1",
        f"lats[0].threshold = {float(middle)!r}",
    ]


def _read_parameters(path):
    """Keys and values, without comments and quotation marks; the last of a key counts."""
    said = {}
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}, which is not text", "a parameter file", "Check the path") from error
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.split("#")[0]
        if not bare.strip():
            continue
        match = _LINE.match(bare)
        if match is None:
            raise InputError(
                f"{path.name} with {bare.strip()[:40]!r}, at line {number}", "lines 'key = value'",
                "Look at that line",
            )  # fmt: skip
        said[match[1]] = match[2].strip("\"'")
    return said


def _number(said, key, default=None):
    if key not in said and default is not None:
        return default
    try:
        value = float(said[key])
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{PARAMETERS} with {key} = {said.get(key, 'nothing')}", "a number", "Look at that line"
        ) from error
    if not np.isfinite(value):
        raise InputError(f"{PARAMETERS} with {key} = {value}", "a finite number", "Look at that line")
    return value


def _voltage_span(said):
    """V_max - V_min of the parameters of the cell; 1 where it has none."""
    pairs = (item.partition("=") for item in said.get("imp_region[0].im_param", "").split(","))
    numbers = {key.strip(): value for key, _, value in pairs}
    span = _number(numbers, "V_max", 1.0) - _number(numbers, "V_min", 0.0)
    if not span > 0:
        raise InputError(f"V_max - V_min = {span} mV", "a span above 0", f"Look at im_param in {PARAMETERS}")
    return span
