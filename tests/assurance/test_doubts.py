"""A fit that cannot be right says so, with a cause that was tested."""

import dataclasses

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.assurance import fit_doubts, likely_causes, site_problems, verdict
from jaxtwin.assurance.doubts import two_groups

GOOD = {"fit": {"points": 9, "rmse_ms": 2.0}, "held_out_points": {"points": 9, "rmse_ms": 2.5}}
RIVALS = {
    "isotropic_speed": {"fit": {"rmse_ms": 5.0}, "held_out_points": {"rmse_ms": 6.0}},
    "radial_basis": {"fit": {"rmse_ms": 0.5}, "held_out_points": {"rmse_ms": 2.4}},
}


@pytest.fixture(scope="module")
def sheet():
    return jt.sheet(20.0, 20.0, 2.0)


@pytest.fixture(scope="module")
def paced(sheet):
    """Two maps of a sheet, from two corners, and their pulses."""
    corners = [np.linalg.norm(sheet.points - corner, axis=1) for corner in ([0.0, 0.0], [20.0, 0.0])]
    nodes = len(sheet.points)
    data = jt.MappingData(
        np.tile(sheet.points, (2, 1)), np.concatenate(corners) / 0.7,
        map_index=np.repeat([0, 1], nodes), names=("A", "B"),
    )  # fmt: skip
    return data, [jt.pulse(far < 3.0, nodes) for far in corners]


def test_a_good_fit_is_not_in_doubt():
    """An interpolation is closer to the points that it was made from, whatever they are."""
    assert fit_doubts(GOOD, RIVALS, 1.1, 1.0) == []
    worse = GOOD | {"held_out_points": {"points": 9, "rmse_ms": 3.5}}
    assert fit_doubts(worse, RIVALS, 1.1, 2.0) == [], "within the noise that was given"
    assert verdict([], ["never asked"]) == []


@pytest.mark.parametrize(
    ("changed", "noise", "said"),
    [
        ({"fit": {"points": 9, "rmse_ms": 9.0}}, 1.0, "9.0 ms at the fitted points exceeds the 5.0 ms"),
        ({"held_out_points": {"points": 9, "rmse_ms": 3.5}}, 1.0, "held-out points exceeds the 2.4 ms"),
        ({"held_out_points": {"points": 9, "not_reached": 9}}, 1.0, "reaches none of the held-out points"),
        ({}, 4.0, "estimated noise is 4.0 times"),
    ],
)  # fmt: skip
def test_a_fit_worse_than_simple_methods_or_than_its_noise_is_in_doubt(changed, noise, said):
    (doubt,) = fit_doubts(GOOD | changed, RIVALS, noise, 1.0)
    assert said in doubt
    (warning,) = verdict([doubt], ["Swapped."])
    assert warning == f"This fit is in doubt: {doubt}. Swapped."


def test_sites_are_judged_by_the_pulse_that_a_map_shows(sheet, paced):
    data, beats = paced
    assert site_problems(sheet, data, dict(enumerate(beats))) == []
    (said,) = site_problems(sheet, data, dict(enumerate(beats[::-1])))
    assert "swapped sites" in said
    before = [other + jt.train(one, [300.0]) for one, other in zip(beats, beats[::-1], strict=True)]
    assert site_problems(sheet, data, dict(enumerate(before))) == []


def test_causes_are_tested(sheet, paced):
    """Swapped sites, one map that bears the error, two time references; and what is left without these."""
    data, beats = paced
    random, fitted = np.random.default_rng(0), np.ones(len(data.lat_ms), bool)
    noise = random.normal(0.0, 2.0, len(data.lat_ms))
    (rest,) = likely_causes(sheet, data, beats, noise, fitted)
    assert "agrees with the pacing sites" in rest
    (swapped,) = likely_causes(sheet, data, beats[::-1], noise, fitted)
    assert "swapped" in swapped
    (one,) = likely_causes(sheet, data, beats, np.where(data.map_index == 1, 5.0, 1.0) * noise, fitted)
    assert "that of map 'B'" in one
    late = noise + 40.0 * (np.arange(len(noise)) % 4 == 0)
    said = likely_causes(sheet, data, beats, late, fitted)
    assert len(said) == 2
    assert "map 'A' are two groups, 39 ms apart, with 26 %" in said[0]
    reversed_ = dataclasses.replace(data, lat_ms=-data.lat_ms)
    assert "sign reversed" in likely_causes(sheet, reversed_, beats, noise, fitted)[0]


@pytest.mark.parametrize("draw", ["normal", "uniform", "standard_t"])
def test_one_distribution_is_one_group(draw):
    random = np.random.default_rng(1)
    shape = {"normal": (0.0, 1.0), "uniform": (-1.0, 1.0), "standard_t": (3.0,)}[draw]
    for size in (10, 50, 500):
        assert two_groups(getattr(random, draw)(*shape, size)) == (0.0, 0.0)
    assert two_groups(np.zeros(40)) == (0.0, 0.0)
