"""The Niederer geometry with modified Mitchell-Schaeffer cells, on coarse meshes."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.verify import CONVERGED, richardson_limit, slab_closed_form, slab_wave
from jaxtwin.verify.slab import CUBE, POINTS, SIZE, cell_averaged


@pytest.fixture(scope="module")
def waves():
    """Lumped mass and half of the consistent one, edges of 0.5 mm."""
    return {share: slab_wave(0.5, 0.2, consistent_mass=share, stop=120.0) for share in (0.0, 0.5)}


def test_the_wave_starts_at_p1_and_ends_at_p8(waves):
    for wave in waves.values():
        assert wave.silent == 0
        assert wave.nodes == 41 * 15 * 7
        assert sorted(wave.lat) == sorted(POINTS) == sorted(CONVERGED)
        assert min(wave.lat, key=lambda p: wave.lat[p]) == "P1"
        assert max(wave.lat, key=lambda p: wave.lat[p]) == "P8"
        assert wave.lat["P1"] < 2.0, "the cube is excited by the stimulus itself"


def test_half_of_the_consistent_mass_is_closer_to_the_limit(waves):
    """Both are far from it on edges that are six times the width of the front across the fibres."""
    errors = {
        share: np.array([wave.lat[p] / CONVERGED[p] - 1.0 for p in POINTS if p != "P1"])
        for share, wave in waves.items()
    }
    assert np.abs(errors[0.5]).max() < 0.65 * np.abs(errors[0.0]).max()
    assert (errors[0.0] > 0).all(), "lumped mass makes every wave slow"


def test_speeds_are_below_the_plane_wave(waves):
    """A curved front is slower than a flat one, and lumped mass slower still."""
    closed = slab_closed_form()
    assert closed == pytest.approx({"along": 0.2949, "across": 0.1071}, abs=1e-4)
    assert 0.85 < waves[0.0].along / closed["along"] < waves[0.5].along / closed["along"] < 1.0
    assert 0.55 < waves[0.0].across / closed["across"] < waves[0.5].across / closed["across"] < 1.0


def test_the_step_hardly_shows(waves):
    """Of 94 ms; the error of the mesh is 40 times as large."""
    halved = slab_wave(0.5, 0.1, consistent_mass=0.5, stop=120.0)
    assert max(abs(halved.lat[p] - waves[0.5].lat[p]) for p in POINTS) < 0.3


@pytest.mark.parametrize("edge", [0.5, 0.25, 0.1])
def test_all_meshes_get_the_same_current(edge):
    """Strength times the volume of the cube, no matter where the nodes are."""
    mesh = jt.slab(3.0, 3.0, SIZE[2], edge)
    strength = cell_averaged(mesh, (mesh.centroids < CUBE).all(axis=1), 0.357)
    share = np.repeat(mesh.measures / 4.0, 4)
    mass = np.bincount(mesh.cells.ravel(), share, len(mesh.points))
    assert mass @ strength == pytest.approx(0.357 * CUBE**3, rel=1e-12)
    within = (mesh.points < CUBE - 0.01).all(axis=1)
    assert strength[within] == pytest.approx(0.357)
    assert not strength[(mesh.points > CUBE + 0.01).any(axis=1)].any()


def test_an_edge_that_misses_the_points_is_refused():
    with pytest.raises(jt.InputError, match=r"divides 0\.5 mm"):
        slab_wave(0.2)


def test_richardson_finds_limit_and_order():
    """Of 3 + 2 h^2, exactly; the order of other sequences, unless they turn, stand still or have a hole."""
    found = richardson_limit((3 + 2.0, 3 + 2 * 0.25, 3 + 2 * 0.0625))
    assert (found.value, found.order) == (pytest.approx(3.0), pytest.approx(2.0))
    assert richardson_limit((3 + 2.0, 3 + 2 * 0.5**1.7, 3 + 2 * 0.25**1.7)).order == pytest.approx(1.7)
    assert richardson_limit((1.0, 2.0, 4.0)).order == pytest.approx(-1.0)
    for values in ((1.0, 2.0, 1.5), (1.0, np.nan, 1.1), (1.0, 1.0, 1.0), (1.0, 1.0, 2.0)):
        assert np.isnan(richardson_limit(values).order)
