"""Activations from waveforms whose activations are known."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.mapping.annotate import annotate, annotated, middle, steepest
from jaxtwin.mapping.study import Map, Points, Signals

TIME = np.arange(400.0)
ALL = np.ones(400, bool)


def unipolar(at, size=3.0, width=2.5):
    """An RS complex: positive as the front comes, negative once it has passed, steepest at `at`."""
    x = (TIME - at) / width
    return -size * x * np.exp(0.5 - 0.5 * x**2)


def bipolar(at, size=1.0, width=4.0):
    return size * np.exp(-(((TIME - at) / width) ** 2)) * np.cos((TIME - at) / 2.0)


@pytest.mark.parametrize("at", [120.0, 120.3, 199.5])
def test_a_clean_unipolar_is_annotated_between_samples(at):
    found, sigma = steepest(unipolar(at), 1.0, ALL)
    assert found == pytest.approx(at, abs=0.05)
    assert sigma == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("at", [120.0, 140.5])
def test_a_clean_bipolar_is_annotated_in_its_middle(at):
    found, sigma = middle(bipolar(at), 1.0, ALL)
    assert found == pytest.approx(at, abs=0.5)
    assert sigma < 1.0


@pytest.mark.parametrize("noise", [0.1, 0.2])
@pytest.mark.parametrize(
    ("way", "wave"), [(steepest, unipolar), (middle, bipolar)], ids=["unipolar", "bipolar"]
)
def test_the_deviation_means_what_it_says(way, wave, noise):
    """Errors over their deviation have a standard deviation near one."""
    random = np.random.default_rng(0)
    scores, errors = [], []
    for _ in range(300):
        at = random.uniform(100.0, 300.0)
        found, sigma = way(wave(at) + random.normal(0.0, noise, len(TIME)), 1.0, ALL)
        scores.append((found - at) / sigma)
        errors.append(found - at)
    assert 0.4 < np.std(scores) < 1.2
    assert np.abs(np.mean(errors)) < 0.1


def test_a_second_deflection_widens_the_deviation():
    """One nearly as steep 40 ms away: half of that."""
    _, alone = steepest(unipolar(120.0), 1.0, ALL)
    _, double = steepest(unipolar(120.0) + unipolar(160.0, size=2.8), 1.0, ALL)
    assert alone < 1.0
    assert double == pytest.approx(20.0, rel=0.05)


def test_the_window_is_kept():
    """A larger deflection outside of it, as the far field of the ventricle in the atrium, is not looked
    at."""
    wave = unipolar(120.0) + unipolar(250.0, size=30.0)
    found, _ = steepest(wave, 1.0, (TIME > 60) & (TIME < 180))
    assert found == pytest.approx(120.0, abs=0.1)


@pytest.mark.parametrize("way", [steepest, middle])
def test_noise_alone_is_not_annotated(way):
    random = np.random.default_rng(1)
    found = [way(random.normal(0.0, 0.05, len(TIME)), 1.0, ALL)[0] for _ in range(50)]
    assert np.isnan(found).mean() > 0.8
    assert np.isnan(way(np.zeros(400), 1.0, ALL)[0])


def a_map(**columns):
    waves = np.stack([unipolar(150.0), unipolar(170.0), 0.0 * TIME])
    reference = np.tile(bipolar(140.0), (3, 1))
    values = np.stack([waves, reference], axis=2)
    known = {
        "woi_ms": np.tile([-50.0, 80.0], (3, 1)),
        "unipolar_channel": ["M1"] * 3,
        "reference_ms": [140.0] * 3,
    }
    points = Points(np.arange(9.0).reshape(3, 3), **(known | columns))
    signals = Signals.of_array(range(3), ("M1", "R"), values, rate_hz=1000.0)
    return Map("m", None, points, (signals,))


def test_a_map_without_annotations_can_be_used():
    """LATs against the reference, with their deviations; where there is no activation, a reason."""
    found = annotated(a_map()).points
    np.testing.assert_allclose(found.lat_ms, [10.0, 30.0, np.nan], atol=0.1)
    assert found.reason == ("", "", "no activation found in its waveform")
    assert (found.sigma_ms[:2] >= 1.0).all()  # beats differ by more than an annotation errs
    assert (found.sigma_ms[:2] < 1.1).all()
    assert annotated(a_map()).notes == ("activations of 2 of 3 points taken from their waveforms",)


def test_a_reference_without_annotation_is_annotated_too():
    found = annotate(a_map(reference_ms=None, reference_channel=["R"] * 3))
    np.testing.assert_allclose(found.reference_ms, 140.0, atol=0.3)
    np.testing.assert_allclose(found.lat_ms, [10.0, 30.0, np.nan], atol=0.4)


def test_maps_without_waveforms_are_refused():
    with pytest.raises(jt.InputError, match="without waveforms"):
        annotate(Map("m", None, Points(np.zeros((1, 3)))))
    with pytest.raises(jt.InputError, match="method 'best'"):
        annotate(a_map(), "best")
