"""LATs on their way in by `check`, `import` and a case: whichever way they come, they are judged alike."""

import re
from unittest.mock import ANY

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.mapping.fuzz import READERS, export
from jaxtwin._cli.fitted import Fitted
from jaxtwin.anatomy import Mesh, write_mesh
from jaxtwin.inference import Fit, Laplace, Problem, Spread
from jaxtwin.inference.fit import default_prior
from jaxtwin.inference.problem import complete, placed_evidence, zeros
from jaxtwin.mapping import write_csv
from jaxtwin.mapping.study import Map, Points, Study
from jaxtwin.signals import NumericalError
from jaxtwin.twin import Wave


@pytest.fixture
def marked(shell, lat):
    """Times at the nodes of the shell, -1 in an area without activation."""
    return np.where(shell.points[:, 0] > 15.0, -1.0, lat)


def test_marks_in_a_mesh_are_no_times(jaxtwin, place, shell, marked):
    write_mesh(place / "heart.vtu", shell, {"LAT": marked})
    said = f"{(marked < 0).sum()} of {len(marked)} points not used: a LAT of exactly -1 ms"
    assert said in jaxtwin("check", place / "heart.vtu").out
    outcome = jaxtwin("import", place / "heart.vtu", "-o", place / "study.h5")
    assert f"{(marked < 0).sum()} nodes without a LAT: -1 stands for not activated" in outcome.err
    assert jt.read_study(place / "study.h5").data().valid.sum() == (marked >= 0).sum()


@pytest.mark.parametrize("refine", [0, 1])
def test_nothing_is_made_of_marks_by_refinement(place, case, shell, marked, refine):
    """Nodes between a time and a mark, or between two times, were not measured."""
    write_mesh(place / "heart.vtu", shell, {"LAT": marked})
    loaded = jt.load_case(case({"map.file": "heart.vtu", "map.array": "LAT", "mesh.refine": refine}))
    ready = jt.prepare(loaded)
    heart, data = ready.heart, ready.data
    assert data.valid.sum() == (marked >= 0).sum()
    np.testing.assert_allclose(np.sort(data.lat_ms[data.valid]), np.sort(marked[marked >= 0]))
    assert len(heart.mesh.points) > 3 * len(marked) or refine == 0


def test_seconds_are_told_on_every_way_in(jaxtwin, place, case, shell, lat):
    write_mesh(place / "heart.vtu", shell, {"LAT": lat / 1000})
    write_csv(place / "lat.csv", jt.MappingData(shell.points, lat))
    text = (place / "lat.csv").read_text().splitlines()
    rows = [line.split(",") for line in text[1:]]
    seconds = [",".join([*row[:3], str(float(row[3]) / 1000), *row[4:]]) for row in rows]
    (place / "lat.csv").write_text("\n".join([text[0], *seconds]))
    points = Points(shell.points, lat_ms=lat / 1000)
    jt.write_study(place / "study.h5", Study("made", "", (Map("m", None, points),)))
    assert "LATs in seconds" in jaxtwin("check", place / "heart.vtu").out
    assert "LATs in seconds" in jaxtwin("check", place / "study.h5").out
    assert "LATs in seconds" in jaxtwin("check", place / "lat.csv").error
    assert "LATs in seconds" in jaxtwin("import", place / "heart.vtu", "-o", place / "b.h5").err
    for file in ("heart.vtu", "study.h5", "lat.csv"):
        outcome = jaxtwin("check", case({"map.file": file, "map.array": "LAT", "beat.pulse.kind": "map"}))
        assert outcome.code == 2
        assert "LATs in seconds: multiply them by 1000" in outcome.error


def test_contradictions_at_one_place_are_said(jaxtwin, place, shell, lat):
    points, times = shell.points.copy(), lat.copy()
    points[:6], times[:6] = points[0], [10.0, 90.0, 10.0, 90.0, 10.0, 90.0]
    write_csv(place / "map.csv", jt.MappingData(points, times))
    said = "6 points at 1 place(s) contradict each other, by up to 80 ms"
    assert said in jaxtwin("check", place / "map.csv").out
    assert said in jaxtwin("import", place / "map.csv", "-o", place / "study.h5").err
    assert said in jaxtwin("check", place / "study.h5").out


def test_maps_that_do_not_belong_to_their_stimuli_are_said(jaxtwin, place, case, shell, lat):
    """The sphere of the case is at the roof, where the map begins."""
    assert "fall with the distance" not in jaxtwin("check", case()).out
    write_csv(place / "map.csv", jt.MappingData(shell.points, -lat))
    assert "LATs of map 'map' fall with the distance from its stimulus" in jaxtwin("check", case()).out


@pytest.fixture
def two_maps(place, case, shell):
    """Writes a case of two maps of two sites, in the right order or swapped, for a short fit."""
    ends = shell.points[[shell.points[:, 2].argmax(), shell.points[:, 0].argmax()]]
    lat = [np.linalg.norm(shell.points - end, axis=1) / 0.7 for end in ends]
    write_csv(place / "map.csv", jt.MappingData(
        np.tile(shell.points, (2, 1)), np.concatenate(lat), map_index=np.repeat([0, 1], len(shell.points)),
        names=("A", "B"),
    ))  # fmt: skip

    def write(swapped):
        short = {"mesh.error_estimate": False, "fit.uncertainty_directions": 0, "time.step_ms": 0.2}
        path = case(short | {"beat.pulse.centre_mm": None, "beat.pulse.radius_mm": None})
        text = path.read_text().replace("[beat.pulse]\n", "")
        for end in ends[::-1] if swapped else ends:
            text += f"[[beat]]\n[[beat.pulse]]\ncentre_mm = {end.tolist()}\nradius_mm = 8.0\n"
        path.write_text(text)
        return path

    return write


SWAPPED = "LATs of map 'A' rise with the distance from the stimulus of map 'B', and the other way round"


@pytest.mark.parametrize("swapped", [False, True])
def test_swapped_sites_are_said(jaxtwin, two_maps, swapped):
    outcome = jaxtwin("check", two_maps(swapped))
    assert outcome.code == 0, outcome.err
    assert (SWAPPED in outcome.out) == swapped


def start_of_fit(ready) -> Fit:
    """The twin at the prior mean, as a fit that has made no step: it takes no gradient."""
    evidence = complete(ready.evidence, ready.twin)
    placed = placed_evidence(ready.twin, ready.train, evidence)
    prior = default_prior(ready.twin, evidence, placed)
    problem = Problem(ready.twin, prior, evidence)
    return Fit(prior.mean, problem, ready.train, placed, 0.0, 0, 0.0, (), (), "not begun")


@pytest.mark.parametrize("swapped", [True, False])
def test_a_fit_of_swapped_sites_says_so_first(two_maps, swapped):
    """With waves that start at the sites of the case at the speed of the maps, and the error of one speed."""
    ready = jt.prepare(jt.load_case(two_maps(swapped)))
    fitted = Fitted(ready, start_of_fit(ready), (), ANY, ANY)
    order = np.roll(ready.data.lat_ms, len(ready.data.lat_ms) // 2 if swapped else 0)
    known = {"predicted_ms": order, "baselines": {"isotropic_speed": {"fit": {"rmse_ms": 3.0}}}}
    vars(fitted).update(known)
    first = fitted.warnings[0]
    doubted = re.match(r"This fit is in doubt: its error of \S+ ms at the fitted points ", first) is not None
    assert (doubted and SWAPPED in first) == swapped, first


def test_nodes_that_no_wave_reaches_have_no_times_in_the_result(two_maps, place, shell):
    """A part that touches no other: neither its activation nor the uncertainty of it is a number."""
    apart = shell.points[shell.cells[0]] + np.asarray([60.0, 0.0, 0.0])
    nodes = len(shell.points)
    write_mesh(place / "heart.vtu", Mesh(
        np.concatenate([shell.points, apart]), np.concatenate([shell.cells, [[nodes, nodes + 1, nodes + 2]]]),
    ))  # fmt: skip
    path = two_maps(False)
    path.write_text(path.read_text().replace("[mesh]\n", '[mesh]\nkeep = "all"\n'))
    ready = jt.prepare(jt.load_case(path))
    points, found = ready.heart.mesh.points, start_of_fit(ready)
    silent = points[:, 0] > 30.0
    assert silent.sum() == 3
    starts = [points[one.starts()[0][0]] for one in ready.beats]
    rows = [np.where(silent, np.nan, np.linalg.norm(points - at, axis=1) / 0.7) for at in starts]
    waves = tuple(Wave(jnp.asarray(lat), NumericalError(0.01 * lat, 0.3, 1.0, 0)) for lat in rows)
    prior, ones = found.problem.prior, jnp.ones(len(points))
    size = sum(leaf.size for leaf in jax.tree.leaves(prior.mean))
    posterior = Laplace(prior, zeros(prior.mean), jnp.zeros((size, 0)), jnp.zeros(0))
    fitted = Fitted(ready, found, waves, posterior, Spread(ones, ones, ones, ones, ones))
    fitted.save_fields(place / "r.vtkhdf", {})
    with h5py.File(place / "r.vtkhdf") as file:
        arrays = file["VTKHDF/PointData"]
        times = {name for name in arrays if name.endswith("_ms") and "per_ms" not in name}
        assert times == {
            f"activation{what}{of_map}_ms"
            for what in ("", "_sd", "_90_percent", "_combined")
            for of_map in ("", "_map_2")
        }
        for name in times:
            np.testing.assert_array_equal(arrays[name][:] == -10000.0, silent)
            assert arrays[name].attrs["not_activated"] == -10000.0


def test_sources_that_are_not_believed_are_counted(jaxtwin, place, case, shell, lat):
    early = lat.copy()
    early[np.argsort(lat)[[150, 200, 250]]] = 0.0, 1.0, 2.0
    write_csv(place / "map.csv", jt.MappingData(shell.points, early))
    outcome = jaxtwin("check", case({"beat.pulse.kind": "map"}))
    assert "3 LATs of map 'map' are too early for those around them and start no wave" in outcome.out


@pytest.mark.parametrize("name", READERS)
def test_check_knows_what_import_knows(jaxtwin, tmp_path, name):
    """The folder of an export, and each file that is one by itself."""
    place = export(name, tmp_path / "export", READERS[name])
    place = place / "study.h5" if name == "study" else place
    files = [each for each in place.rglob("*") if each.is_file()]
    for path in [place, *files]:
        imported = jaxtwin("import", path, "-o", tmp_path / "study.h5")
        if imported.code == 0 or path == place:
            assert imported.code == 0, imported.err
            checked = jaxtwin("check", path)
            assert checked.code == 0, checked.err
            assert "kind:" in checked.out


def test_a_carto_mesh_by_itself(jaxtwin, tmp_path):
    place = export("carto", tmp_path / "export", READERS["carto"])
    mesh = next(place.rglob("*.mesh"))
    (tmp_path / "alone.mesh").write_bytes(mesh.read_bytes())
    assert "CARTO 3" in jaxtwin("check", tmp_path / "alone.mesh").out
    assert jaxtwin("import", tmp_path / "alone.mesh", "-o", tmp_path / "study.h5").code == 0
    (one,) = jt.read_study(tmp_path / "study.h5").maps
    assert len(one.surface.triangles) > 0
    with pytest.raises(jt.InputError, match="a CARTO mesh"):
        jt.read_mesh(tmp_path / "alone.mesh")


def test_an_archive_that_cannot_be_opened_is_named_by_every_command(jaxtwin, place, case):
    (place / "map.zip").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    for words in (
        ("check", place / "map.zip"), ("import", place / "map.zip", "-o", place / "a.h5"),
        ("export", place / "map.zip", "-o", place / "a.csv"), ("check", case({"map.file": "map.zip"})),
    ):  # fmt: skip
        outcome = jaxtwin(*words)
        assert outcome.code == 2
        assert "a 7z archive" in outcome.error
