"""Bad input: exit code 2, one paragraph of what was got, wanted and to do, and no file more than before."""

import csv
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import jaxtwin._cli.folder as output
import jaxtwin._cli.init as new_case
import jaxtwin._cli.simulate as simulation
from jaxtwin import load_case, prepare
from jaxtwin._cli.export import _as_computed
from jaxtwin._results import InputError
from jaxtwin.anatomy import Mesh, write_mesh
from jaxtwin.view import Result


def files(folder: Path) -> dict[Path, bytes]:
    """All files below a folder, and what is in them."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def line(name, number, text):
    """Damage: one line of a file replaced."""

    def damage(place):
        lines = (place / name).read_text().splitlines()
        lines[number] = text
        (place / name).write_text("\n".join(lines) + "\n")

    return damage


def column(change, *names):
    """Damage: some columns of map.csv changed."""

    def damage(place):
        with (place / "map.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            row.update({name: change(row[name]) for name in names})
        with (place / "map.csv").open("w", newline="") as stream:
            table = csv.DictWriter(stream, rows[0])
            table.writeheader()
            table.writerows(rows)

    return damage


def cut(name, part):
    """Damage: a file cut short, as by a full disk."""

    def damage(place):
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[: int(part * len(content))])

    return damage


def content(name, text):
    """Damage: a file with this content."""
    return lambda place: (place / name).write_bytes(text.encode("latin-1"))


OPENCARP = {"mesh.file": "heart.pts"}
FROM_MAP = {"beat.pulse.kind": "map"}
XYZ = ("x_mm", "y_mm", "z_mm")
FAR = column(lambda x: float(x) + 500, "x_mm")
FLAT_MAP = "x_mm,y_mm,lat_ms\n" + "".join(f"{i},{i},{i}\n" for i in range(20))

MESHES = {
    "micrometres forced on millimetres": ({"mesh.unit": "um"}, None, ("heart.vtu 0.048 mm long", "Set unit")),
    "millimetres forced on micrometres": (OPENCARP | {"mesh.unit": "mm"}, None, ("47992", "taken as mm")),
    "metres forced on millimetres": ({"mesh.unit": "m"}, None, ("taken as m", "unit of the points")),
    "NaN": (OPENCARP, line("heart.pts", 5, "nan 0 0"), ("1 points with NaN or infinite", "index 4")),
    "infinite": (OPENCARP, line("heart.pts", 5, "0 -inf 0"), ("1 points with NaN or infinite", "index 4")),
    "no such node": (OPENCARP, line("heart.elem", 5, "Tr 0 1 9999 0"), ("9999 of 297 points", "from 0")),
    "negative node": (OPENCARP, line("heart.elem", 5, "Tr 0 1 -4 0"), ("nodes -4 to", "from 0")),
    "missing file": ({"mesh.file": "nope.vtk"}, None, ("nope.vtk", "No such file", "Check the path")),
    "folder": ({"mesh.file": "."}, None, ("cannot be read", "Is a directory")),
    "not a mesh": ({"mesh.file": "map.csv"}, None, ("map.csv", "cannot be read as a mesh", ".vtu")),
    "half of a vtu": ({}, cut("heart.vtu", 0.5), ("heart.vtu", "complete VTK XML file")),
    "nearly all of a vtu": ({}, cut("heart.vtu", 0.99), ("heart.vtu", "complete VTK XML file")),
    "half of a pts": (OPENCARP, cut("heart.pts", 0.5), ("heart.pts with 149 points", "announces 297")),
    "half of an elem": (OPENCARP, cut("heart.elem", 0.5), ("heart.elem with 255 elements", "530")),
    "half of a lon": (OPENCARP, cut("heart.lon", 0.5), ("heart.lon with 252 fibres for 530",)),
    "empty": ({}, content("heart.vtu", ""), ("heart.vtu",)),
}
STIMULI = {
    "beside the mesh": (
        {"beat.pulse.centre_mm": [100, 0, 0]},
        None,
        ("hits no node", "76 mm from centre_mm", "radius_mm = 8", "[-24.0, -20.0, -13.2]"),
    ),
    "two coordinates": ({"beat.pulse.centre_mm": [100, 0]}, None, ("[100.0, 0.0]", "3 numbers")),
    "no such region": (
        {"beat.pulse.kind": "region", "beat.pulse.regions": [77]},
        None,
        ("hits no node: regions [77]", "[0, 1, 2, 3, 4, 5]"),
    ),
    "vertices without a file": ({"beat.pulse.kind": "vtx"}, None, ("vtx without a file",)),
    "vertices of another mesh": (
        {"beat.pulse.kind": "vtx", "beat.pulse.file": "a.vtx"},
        content("a.vtx", "1\nextra\n9999\n"),
        ("a.vtx with the index 9999, at line 3, on a mesh of 297 nodes", "0 to 296", "belong together"),
    ),
    "map without a map": (FROM_MAP | {"map.file": None}, None, ("of kind map without a map", "[map]")),
    "map far from the mesh": (FROM_MAP, FAR, ("far from the mesh", "476 mm")),
    "map longer than the run": (FROM_MAP | {"time.end_ms": 5}, None, ("until 60.29 ms", "end_ms = 5", "85")),
}
MAPS = {
    "far from the mesh": ({}, FAR, ("far from the mesh", "476 mm", "one coordinate system")),
    "metres": ({}, column(lambda x: float(x) / 1000, *XYZ), ("map.csv", "positions in metres")),
    "micrometres": ({}, column(lambda x: float(x) * 1000, *XYZ), ("map.csv", "divide them by 1000")),
    "all invalid": (
        {},
        column(lambda x: -10000, "lat_ms"),
        ("149 points and no valid LAT", "at least one valid LAT"),
    ),
    "no position": ({}, column(lambda x: "nan", "x_mm"), ("line 2, column x_mm: 'nan'", "remove the line")),
    "two coordinates": ({}, content("map.csv", FLAT_MAP), ("(20, 2)", "3 dimensions")),
    "longer than the run": (
        {"time.end_ms": 30},
        None,
        ("end_ms = 30", "until 50.29 ms, from the last pulse on", "Raise end_ms to 75"),
    ),
    "mesh without arrays": ({"map.file": "heart.pts"}, None, ("no point array 'LAT'", "[map] array")),
    "none": ({"map.file": None}, None, ("a fit or a source of kind map without a map", '[map] file = "..."')),
    "fibres from one map": ({"fit.fibres": True}, None, ("[fit] fibres with 1 maps", "3 maps or more")),
    "too few points": ({"map.fit_points": 9999}, None, ("149 valid points", "9999 to fit")),
    "half": ({}, cut("map.csv", 0.5), ("map.csv line 76 with 1 columns", "5, as in the header")),
    "binary": ({}, content("map.csv", "\0\xff" * 99), ("null bytes", "CSV in UTF-8")),
    "missing": ({"map.file": "nope.csv"}, None, ("nope.csv", "No such file")),
    "ceiling below the start": (
        {"tissue.speed_mm_per_ms": None, "tissue.conductivity_S_per_m": 9},
        None,
        ("0.33209, 6.42857, 4 mm2/ms", "floor < reference < ceiling"),
    ),
}
CASES = {
    "misspelt key": ({"tissue.spede_mm_per_ms": 1}, None, ("spede_mm_per_ms", "Perhaps speed_mm_per_ms")),
    "misspelt table": ({"tisue.x": 1}, None, ("[tisue]", "Perhaps tissue is meant")),
    "negative conductivity": (
        {"tissue.conductivity_S_per_m": -1, "tissue.speed_mm_per_ms": None},
        None,
        ("tissue.conductivity_S_per_m = -1", "above 0"),
    ),
    "negative diffusivity": (
        {"tissue.diffusivity_mm2_per_ms": -1, "tissue.speed_mm_per_ms": None},
        None,
        ("tissue.diffusivity_mm2_per_ms = -1", "above 0"),
    ),
    "step too large": ({"time.step_ms": 1}, None, ("time.step_ms = 1", "upstroke", "0.5 or less", "0.2")),
    "dead cells": ({"cells.tau_out_ms": 1}, None, ("no stimulus can excite", "below 0.2222")),
    "output over files": ({"output.folder": "."}, None, ("output folder", "holds something else")),
    "output inside a file": ({"output.folder": "map.csv/x"}, None, ("output folder", "Not a directory")),
}
BAD = [
    pytest.param(command, *entry, id=f"{group}: {name}")
    for group, command, entries in (
        ("mesh", "simulate", MESHES),
        ("stimulus", "simulate", STIMULI),
        ("map", "fit", MAPS),
        ("case", "simulate", CASES),
    )
    for name, entry in entries.items()
]


@pytest.mark.parametrize(("command", "changes", "damage", "words"), BAD)
def test_refused_in_one_paragraph(jaxtwin, case, place, command, changes, damage, words):
    path = case(changes)
    if damage:
        damage(place)
    before = files(place)
    outcome = jaxtwin(command, path)
    assert outcome.code == 2
    assert outcome.error.startswith("Error: Got ")
    assert " Wanted " in outcome.error
    for word in words:
        assert word in outcome.error
    assert len(outcome.error) < 700
    assert outcome.out == ""
    assert files(place) == before


def test_check_refuses_what_a_run_would_refuse(jaxtwin, case, place):
    path = case({"beat.pulse.centre_mm": [100, 0, 0]})
    outcome = jaxtwin("check", path, place / "heart.vtu", place / "nope.csv")
    assert outcome.code == 2
    assert "hits no node" in outcome.err
    assert "nope.csv, which cannot be read" in outcome.err
    assert "nodes:" in outcome.out, "the good file in the middle is looked at all the same"


def test_a_small_or_large_heart_is_a_problem(jaxtwin, case, place, shell):
    far = {"mesh.unit": "cm", "map.file": None, "beat.pulse.centre_mm": [0, 0, 180]}
    outcome = jaxtwin("check", case(far))
    assert outcome.code == 0
    assert "480 mm long, which is unusual for a heart" in outcome.out
    write_mesh(place / "heart.vtu", Mesh(shell.points / 5, shell.cells, shell.fibres))
    for path in (case({"map.file": None, "beat.pulse.centre_mm": [0, 0, 3.6]}), place / "heart.vtu"):
        outcome = jaxtwin("check", path)
        assert outcome.code == 0
        assert "probably in centimetres" in outcome.out
        assert "nothing wrong found" not in outcome.out


def test_anisotropy_without_fibres_is_a_problem(jaxtwin, case, place, shell):
    write_mesh(place / "heart.vtu", Mesh(shell.points, shell.cells))
    for ratio, problem in ((4.0, True), (1.0, False)):
        outcome = jaxtwin("check", case({"map.file": None, "tissue.anisotropy_ratio": ratio}))
        assert outcome.code == 0
        assert ("There are no fibres, and anisotropy_ratio = 4" in outcome.out) == problem


def test_an_exported_stimulus_of_vertices_is_that_of_the_run(case, place, shell):
    (place / "a.vtx").write_text("3\n" + "".join(f"{node}\n" for node in shell.cells[7]))
    vertices = {"beat.pulse.kind": "vtx", "beat.pulse.file": "a.vtx"}
    one = load_case(case(vertices | {"mesh.refine": 1, "map.file": None}))
    heart = prepare(one).heart
    result = Result(heart.mesh, np.zeros(0), {"original_node": heart.origin}, {}, {})
    (stimulus,) = _as_computed(result, one).beats
    np.testing.assert_array_equal(np.asarray(stimulus.strength)[0] > 0, heart.node_sets["a.vtx"])
    write_mesh(place / "heart.vtu", Mesh(1.1 * shell.points, shell.cells, shell.fibres))
    with pytest.raises(InputError, match="no longer the mesh of this run"):
        _as_computed(result, one)


def test_a_map_on_the_mesh_has_no_more_points_for_a_finer_mesh(jaxtwin, case, place, shell, lat):
    """Nodes that refinement adds were not measured, and nothing is made of a number for "missing"."""
    measured = np.where(np.arange(len(lat)) % 3 == 0, -10000.0, lat)
    write_mesh(place / "heart.vtu", shell, {"LAT": measured})
    valid = f"{(measured > 0).sum()}"
    for refine in (0, 1):
        outcome = jaxtwin("check", case({"map.file": "heart.vtu", "mesh.refine": refine}))
        assert outcome.code == 0
        assert re.search(rf"valid:? +{valid}\b", outcome.out), outcome.out


@pytest.mark.parametrize("domain", ["", "intra\n"])
def test_vertices_stay_a_region_when_the_mesh_is_refined(jaxtwin, case, place, shell, domain):
    (place / "a.vtx").write_text(f"3\n{domain}" + "".join(f"{node}\n" for node in shell.cells[7]))
    changes = {"beat.pulse.kind": "vtx", "beat.pulse.file": "a.vtx"}
    changes |= {"mesh.file": "heart.pts", "map.file": None}
    for refine, nodes in ((0, 3), (1, 6), (2, 15)):
        outcome = jaxtwin("check", case(changes | {"mesh.refine": refine}))
        assert outcome.code == 0, outcome.err
        assert re.search(rf"stimulated_nodes:? +\[?{nodes}\b", outcome.out), outcome.out


@pytest.mark.parametrize("words", [["simulat"], ["fit"], ["simulate", "a", "b"], ["demo", "--edge", "x"], []])
def test_wrong_words_on_the_command_line(jaxtwin, words):
    outcome = jaxtwin(*words)
    assert outcome.code == 2
    assert "Usage: " in outcome.out + outcome.err
    assert "Traceback" not in outcome.err


def test_init_spares_a_folder_that_is_not_empty(jaxtwin, place):
    before = files(place)
    outcome = jaxtwin("init", place)
    assert outcome.code == 2
    assert "which is not empty" in outcome.error
    outcome = jaxtwin("init", place / "map.csv" / "x")
    assert outcome.code == 2
    assert "cannot be made" in outcome.error
    assert files(place) == before


def test_a_solve_that_diverges_says_where_and_when(jaxtwin, case, place):
    path = case({"beat.pulse.strength_per_ms": 1e6})
    before = files(place)
    outcome = jaxtwin("simulate", path)
    assert outcome.code == 1
    assert outcome.error.startswith("Failed: The solve diverged before 10 ms: u = ")
    assert "at node" in outcome.error
    assert files(place) == before


def interrupted(*arguments, **more):
    raise KeyboardInterrupt


def full_disk(*arguments, **more):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stage", ["simulate_in_parts", "write_json"], ids=["solving", "writing"])
@pytest.mark.parametrize("stop", [interrupted, full_disk])
def test_nothing_is_left_of_a_run_that_was_cut_off(jaxtwin, case, place, monkeypatch, stage, stop):
    path = case({"time.end_ms": 20.0, "output.folder": "new/deep/result"})
    before = files(place)
    monkeypatch.setattr(simulation, stage, stop)
    monkeypatch.setattr(simulation, "save_figure", lambda figure, path: path.write_bytes(b"a figure"))
    outcome = jaxtwin("simulate", path)
    assert "Traceback" not in outcome.err
    if stop is interrupted:
        assert outcome.code == 130
        assert outcome.err.endswith("Interrupted: no result was written.\n")
    else:
        assert outcome.code == 1
        assert outcome.error == "Failed: [Errno 28] No space left on device"
    assert files(place) == before


@pytest.mark.parametrize("stop", [interrupted, full_disk])
def test_nothing_is_left_of_an_init_that_was_cut_off(jaxtwin, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(new_case, "made_up_map", stop)
    assert jaxtwin("init", tmp_path / "new" / "case").code not in (0, 2)
    assert files(tmp_path) == {}


def test_an_earlier_result_survives_all_that_goes_wrong(tmp_path):
    with output.run_folder(tmp_path / "result") as folder:
        (folder / "resolved.toml").write_text("first")
    first = files(tmp_path)
    with suppress(KeyboardInterrupt), output.run_folder(tmp_path / "result") as folder:
        (folder / "resolved.toml").write_text("second")
        raise KeyboardInterrupt
    assert files(tmp_path) == first
    with suppress(FileNotFoundError), output.run_folder(tmp_path / "result") as folder:
        folder.rmdir()  # nothing to move into place
    assert files(tmp_path) == first
    with output.run_folder(tmp_path / "result") as folder:
        (folder / "resolved.toml").write_text("third")
    assert [path.read_text() for path in tmp_path.rglob("*.toml")] == ["third"]
