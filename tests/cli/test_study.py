"""From an export to a case, a fit and a case for openCARP: what each command leaves and refuses."""

import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.exports import carto
from jaxtwin.exchange import read_opencarp_case
from jaxtwin.mapping import read_study

WOI = (-20, 80)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A small study: two paced maps of a shell of 4 mm edges with a wave at 0.7 mm/ms, and an empty one."""
    folder = tmp_path_factory.mktemp("export") / "study"
    mesh = jt.atrial_shell(4.0)
    random = np.random.default_rng(0)
    maps = []
    for k, axis in enumerate((0, 2)):
        rows = random.choice(len(mesh.points), 80, replace=False)
        site = mesh.points[mesh.points[:, axis].argmax()]
        lat = np.round(np.linalg.norm(mesh.points[rows] - site, axis=1) / 0.7 + random.normal(0, 1, 80))
        lat[:3] = np.nan
        raw = random.integers(-5, 5, (80, 120, len(carto.CHANNELS)))
        time = np.arange(120)[None] - 30 - np.nan_to_num(lat)[:, None]
        raw[:, :, 0] += np.round(-900 * time / 3 * np.exp(0.5 - 0.5 * (time / 3) ** 2)).astype(int)
        volts = [carto.voltages(raw, channel, 30, WOI) for channel in (2, 0)]
        maps.append(carto.CartoMap(
            f"{k + 1}-paced", mesh.points, mesh.cells, mesh.points[rows], lat, *volts, raw, reference=30,
            woi=WOI,
        ))  # fmt: skip
    none = np.zeros(0)
    maps.append(carto.CartoMap("3-empty", mesh.points, mesh.cells, np.zeros((0, 3)), none, none, none))
    carto.write_study(folder, maps)
    return folder


@pytest.fixture(scope="module")
def study(jaxtwin, export, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.h5"
    outcome = jaxtwin("import", export, "-o", path)
    assert outcome.code == 0, outcome.err
    assert "1-paced" in outcome.out
    assert "77" in outcome.out
    assert "160 of 160 waveforms" in outcome.err
    return path


def test_nothing_of_the_patient_is_printed_or_kept(jaxtwin, export, study, tmp_path):
    content = study.read_bytes()
    outcome = jaxtwin("import", export, "-o", tmp_path / "s.h5")
    for word in ("Doe", "Jane", "01_02_1950", "01/02/50"):
        assert word.encode() not in content
        assert word not in outcome.out + outcome.err
    jaxtwin("import", export, "-o", tmp_path / "named.h5", "--keep-identity")
    assert "Doe Jane" in read_study(tmp_path / "named.h5").name


def test_check_says_what_is_wrong_and_draws_the_points(jaxtwin, study, tmp_path):
    outcome = jaxtwin("check", study, "--figure", tmp_path / "points.png")
    assert outcome.code == 0, outcome.err
    assert "1-paced: 3 points cannot be used: no LAT." in outcome.out
    assert "80 points, 77 LATs can be used (" in outcome.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["points-1.png", "points-2.png"]


def test_check_takes_an_export_as_it_is(jaxtwin, export):
    outcome = jaxtwin("check", export)
    assert outcome.code == 0, outcome.err
    assert "CARTO 3 5.0" in outcome.out


def test_waveforms_can_take_the_place_of_annotations(jaxtwin, export, tmp_path):
    """They agree within a millisecond, rounding of the export included."""
    outcome = jaxtwin("import", export, "-o", tmp_path / "own.h5", "--annotate", "auto", "--map", "1-paced")
    assert outcome.code == 0, outcome.err
    (own,) = read_study(tmp_path / "own.h5").maps
    exported = read_study_of(jaxtwin, export, tmp_path).map("1-paced").points
    both = own.points.valid & exported.valid
    assert both.sum() > 70
    assert np.abs(own.points.lat_ms - exported.lat_ms)[both].max() < 1.0


def read_study_of(jaxtwin, export, folder):
    jaxtwin("import", export, "-o", folder / "all.h5")
    return read_study(folder / "all.h5")


@pytest.fixture(scope="module")
def fitted(jaxtwin, export, tmp_path_factory):
    """The folder of a case, fitted: two commands. Shortened between them."""
    folder = tmp_path_factory.mktemp("case") / "patient"
    outcome = jaxtwin("import", export, "--case", folder, "--edge", 5.0)
    assert outcome.code == 0, outcome.err
    assert f"Next: jaxtwin fit {folder}" in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["case.toml", "heart.vtu", "study.h5"]
    text = (folder / "case.toml").read_text()
    for old, new in (
        ("modes = ", "modes = 5 # "),
        ("iterations = 20", "iterations = 1"),
        ("directions = 20", "directions = 2"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "case.toml").write_text(text)
    assert jaxtwin("check", folder).code == 0
    outcome = jaxtwin("fit", folder)
    assert outcome.code == 0, outcome.err
    return folder


def test_a_case_of_a_study_is_fitted(fitted):
    assert (fitted / "result" / "summary.json").is_file()
    assert (fitted / "result" / "scar.png").is_file()  # two maps: scar is looked for


def test_a_fitted_twin_becomes_cases_for_opencarp(jaxtwin, fitted, tmp_path):
    """One for each map, with the conductivity that was found, in classes."""
    outcome = jaxtwin("export", fitted / "result", "-o", tmp_path / "carp")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "carp").iterdir()) == ["beat_1", "beat_2"]
    from jaxtwin.view import read_vtkhdf

    result = read_vtkhdf(fitted / "result" / "result.vtkhdf")
    case = read_opencarp_case(tmp_path / "carp" / "beat_2")
    np.testing.assert_allclose(case.mesh.points, result.mesh.points, atol=1e-5)
    along = np.exp(np.log(result.point_data["diffusivity_mm2_per_ms"])[result.mesh.cells].mean(axis=1))
    np.testing.assert_allclose(case.along, along, rtol=0.1)
    assert len(case.stimuli) >= 1


@pytest.mark.parametrize("name", ["points.csv", "map.mat", "surface.vtu", "heart.pts"])
def test_studies_are_written_for_other_programs(jaxtwin, study, tmp_path, name):
    """And read back as what they were."""
    maps = [] if name == "points.csv" else ["--map", "2-paced"]
    outcome = jaxtwin("export", study, "-o", tmp_path / name, *maps)
    assert outcome.code == 0, outcome.err
    one = read_study(study).map("2-paced")
    if name == "points.csv":
        assert int(jt.read_csv(tmp_path / name).valid.sum()) == 2 * 77
    elif name == "map.mat":
        (back,) = jt.read_mapping(tmp_path / name).maps
        np.testing.assert_array_equal(back.points.lat_ms, one.points.lat_ms)
    elif name == "surface.vtu":
        np.testing.assert_array_equal(jt.read_mesh(tmp_path / name).mesh.points, one.surface.points)
    else:
        assert jt.read_mesh(tmp_path / name).mesh.edge_lengths.max() < 2.0  # 1 mm but for mended slivers


BAD = {
    "nothing there": (["import", "{tmp}/none", "-o", "{tmp}/s.h5"], "does not exist"),
    "no target": (["import", "{export}"], "neither -o nor --case"),
    "two targets": (["import", "{export}", "-o", "{tmp}/s.h5", "--case", "{tmp}/c"], "both -o and --case"),
    "another map": (["import", "{export}", "-o", "{tmp}/s.h5", "--map", "9"], "no map '9'"),
    "another method": (["import", "{export}", "-o", "{tmp}/s.h5", "--annotate", "best"], "method 'best'"),
    "a map without LATs": (
        ["import", "{export}", "--case", "{tmp}/c", "--map", "3-empty"],
        "without a valid LAT",
    ),
    "the study itself": (["import", "{study}", "-o", "{study}"], "as source and as result"),
    "several maps": (["export", "{study}", "-o", "{tmp}/m.mat"], "3 maps for a format that holds one"),
    "another ending": (["export", "{study}", "-o", "{tmp}/m.xyz", "--map", "1-paced"], "m.xyz"),
    "no folder": (["import", "{export}", "-o", "{tmp}/none/s.h5"], "cannot be written"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_paragraph_and_leaves_nothing(jaxtwin, export, study, tmp_path, name):
    words, said = BAD[name]
    outcome = jaxtwin(*(word.format(tmp=tmp_path, export=export, study=study) for word in words))
    assert outcome.code == 2
    assert said in outcome.error
    assert not list(tmp_path.iterdir())
