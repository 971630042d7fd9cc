"""LATs in another unit, marks for "not activated", points that contradict: recognised, and nothing else."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.mapping.plausibility import apparent_speed, contradictions, not_activated

PLACE = jt.atrial_shell(3.0).points
TOP = PLACE[PLACE[:, 2].argmax()]
FAR = np.linalg.norm(PLACE - TOP, axis=1)
LAT = FAR / 0.7
SCAR = np.linalg.norm(PLACE - PLACE[PLACE[:, 0].argmax()], axis=1) < 15.0


@pytest.mark.parametrize("value", [-1.0, -20.0, 0.0, 300.0, 1e4])
@pytest.mark.parametrize("where", [SCAR, np.arange(len(PLACE)) % 10 == 0, FAR > 25.0], ids=str)
def test_a_repeated_end_of_the_range_apart_from_the_lats_around_is_a_mark(value, where):
    lat = np.where(where, value, LAT + 2.0)
    np.testing.assert_array_equal(not_activated(PLACE, lat), where)
    data = jt.MappingData(PLACE, lat)
    np.testing.assert_array_equal(data.valid, ~where)
    assert np.isnan(data.lat_ms[where]).all()
    assert not data.silent.any()
    assert f"{where.sum()} of {len(PLACE)} points not used: a LAT of exactly {value:g} ms" in data.notes[0]


def test_marks_at_both_ends():
    both = np.where(SCAR, -1.0, np.where(np.arange(len(PLACE)) % 9 == 0, 1e4, LAT + 2.0))
    np.testing.assert_array_equal(not_activated(PLACE, both), (both == -1.0) | (both == 1e4))


@pytest.mark.parametrize(
    "lat",
    [
        LAT,
        np.round(LAT),
        np.round(LAT) - np.round(LAT).min() - 1.0,
        np.round(LAT, -1),
        np.maximum(FAR - 12.0, 0.0) / 0.7,
        np.maximum(FAR - 12.0, 0.0) / 0.7 - 50.0,
        np.clip(LAT, 10.0, 50.0),
        LAT + 60.0 * SCAR,
        np.full(len(LAT), -1.0),
    ],
    ids=["plain", "whole", "whole from -1", "isochrones", "stimulated", "clock", "clipped", "block", "alone"],
)
def test_true_lats_are_no_marks(lat):
    assert not not_activated(PLACE, lat).any()


@pytest.mark.parametrize("noise", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("speed", [0.2, 0.7, 1.5])
def test_the_apparent_speed_is_right_within_a_factor_of_two(speed, noise):
    lat = FAR / speed + np.random.default_rng(0).normal(0.0, noise, len(FAR))
    lat[::17] = 1e300
    assert speed / 2 < apparent_speed(PLACE, lat) < 2 * speed


def test_maps_that_have_no_speed():
    assert np.isnan(apparent_speed(PLACE[:9], LAT[:9]))
    assert np.isnan(apparent_speed(np.zeros((20, 3)), LAT[:20]))
    assert np.isnan(apparent_speed(PLACE, np.full(len(PLACE), np.nan)))
    assert apparent_speed(PLACE, np.ones(len(PLACE))) == np.inf


@pytest.mark.parametrize(
    ("place", "lat", "cause"),
    [
        (1.0, 1e-3, "seconds"),
        (1.0, 1e3, "microseconds"),
        (1e3, 1.0, "micrometres"),
        (1e-3, 1.0, "positions in metres"),
    ],
)
def test_other_units_are_refused_wherever_lats_enter(place, lat, cause):
    for make in (jt.MappingData, jt.MappingData.from_mesh_array):
        with pytest.raises(jt.InputError, match=cause):
            make(PLACE * place, LAT * lat)


@pytest.mark.parametrize(
    ("place", "lat", "cause"),
    [(0.1, 1.0, "in cm"), (1.0, 0.1, "seconds"), (1.0, 20.0, ""), (1.0, 0.0, "are the same")],
)
def test_unlikely_speeds_are_noted(place, lat, cause):
    (note,) = jt.MappingData(PLACE * place, LAT * lat).notes
    assert "conduction speed" in note
    assert cause in note


def test_each_map_is_judged_by_itself():
    with pytest.raises(jt.InputError, match=r"map 'two' .*seconds"):
        jt.MappingData(
            np.concatenate([PLACE, PLACE]), np.concatenate([LAT, LAT / 1000]),
            map_index=np.repeat([0, 1], len(PLACE)), names=("one", "two"),
        )  # fmt: skip


def test_parts_of_a_map_are_not_judged_again():
    """Ten points of one front have one LAT; they came in with the others."""
    near = np.argsort(LAT)[100:112]
    data = jt.MappingData(PLACE, LAT)
    part = data.subset(np.isin(np.arange(len(LAT)), near))
    assert part.valid.all()
    assert part.notes == ()


def test_absurd_lats_are_left_out_and_counted_in_a_few_digits():
    lat = LAT.copy()
    lat[[3, 4]] = 1e300, -5000.0
    data = jt.MappingData(PLACE, lat)
    assert np.flatnonzero(~data.valid).tolist() == [3, 4]
    assert data.notes == (
        f"2 of {len(lat)} points not used: a LAT more than 2000 ms from the median of its map",
    )
    assert len(str(data.summary())) < 500


def test_the_clock_of_a_map_may_be_any():
    assert jt.MappingData(PLACE, LAT + 3.6e6).valid.all()


def test_contradictions_at_one_place_are_said_and_count_less():
    place, lat = PLACE.copy(), LAT.copy()
    place[:6], lat[:6] = place[0], [10.0, 90.0, 10.0, 90.0, 10.0, 90.0]
    place[7], lat[7] = place[8], lat[8] + 5.0
    sd, said = contradictions(place, lat)
    assert np.isfinite(sd).tolist() == [True] * 6 + [False] * (len(lat) - 6)
    data = jt.MappingData(place, lat, sigma_ms=np.where(np.arange(len(lat)) < 3, 2.0, np.nan))
    assert data.valid.all()
    np.testing.assert_allclose(data.sigma_ms[:6], np.std(lat[:6], ddof=1))
    assert np.isnan(data.sigma_ms[6:]).all()
    assert data.notes == (said,)
    assert said.startswith("6 points at 1 place(s) contradict each other, by up to 80 ms (6 points at (")


def test_deviations_and_voltages_in_another_unit_are_noted():
    size = len(LAT)
    assert jt.MappingData(PLACE, LAT, sigma_ms=np.full(size, 2.0), bipolar_mv=np.full(size, 1.5)).notes == ()
    notes = jt.MappingData(
        PLACE, LAT, sigma_ms=np.full(size, 0.002), bipolar_mv=np.full(size, 1500.0),
        unipolar_mv=np.where(np.arange(size) < 3, -1.0, 5.0),
    ).notes  # fmt: skip
    assert notes == (
        "standard deviations of 0.002 ms (median): a likely cause is seconds",
        "bipolar voltages of 1.5e+03 mV (median): a likely cause is microvolts",
        f"3 of {size} unipolar voltages below 0: peak-to-peak voltages are not",
    )


def test_a_silent_point_with_a_lat_is_said():
    silent = np.arange(len(LAT)) < 4
    data = jt.MappingData(PLACE, LAT, silent=silent)
    assert data.notes == ("4 silent points with a LAT, which is not used",)
    assert not data.valid[silent].any()
