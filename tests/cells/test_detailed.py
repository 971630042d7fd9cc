"""Detailed cells against solutions of their published CellML files by CVODE, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin._results import InputError
from jaxtwin.cells import DRUGS, Drug, action_potentials, pace, with_drugs
from jaxtwin.signals import plane_wave_speed

# Myokit 1.39.2 with Sundials 6.4.1, tolerances 1e-8, of the files in github.com/Chaste/cellml@8c9c042: beat
# 100 at 1 Hz; rest and peak in the unit of u (mV, none for the minimal cell), APD50 and APD90 in ms
BEAT_100 = {
    "atrium": (jt.Courtemanche(), 20.0, 2.0, (-81.149, 23.331, 164.95, 291.66)),
    "minimal": (jt.BuenoOrovio(), 0.5, 1.0, (0.0, 1.464, 221.0, 268.7)),
}


@pytest.mark.parametrize("name", BEAT_100)
def test_the_hundredth_beat_is_that_of_the_published_file(name):
    model, strength, duration, wanted = BEAT_100[name]
    # twice the step of the command line, which changes durations by less than 0.1 ms
    paced = pace(model, (1000.0,), prepacing=99, strength=strength, duration_ms=duration, step_ms=0.04)
    found = action_potentials(paced)
    numbers = [float(each[0]) for each in (found.rest, found.peak, found.apd50_ms, found.apd90_ms)]
    np.testing.assert_allclose(numbers[0], wanted[0], atol=0.1)
    np.testing.assert_allclose(numbers[1], wanted[1], atol=0.5)
    np.testing.assert_allclose(numbers[2:], wanted[2:], atol=0.5)


def test_a_beat_converges_with_the_second_power_of_the_step():
    def apd(step):
        return float(action_potentials(pace(jt.TenTusscherPanfilov(), (400.0,), step_ms=step)).apd90_ms[0])

    coarse, middle, fine = (apd(step) for step in (0.08, 0.04, 0.02))
    assert np.log2((coarse - middle) / (middle - fine)) > 1.7


def test_the_derivative_of_apd_by_a_conductance_is_that_of_differences():
    def apd(factor):
        model = jt.Courtemanche().scaled(g_Kr=factor)
        return action_potentials(pace(model, (400.0,), step_ms=0.05)).apd90_ms[0]

    one = jnp.asarray(1.0)
    _, slope = jax.jvp(apd, (one,), (one,))
    by_hand = (apd(one + 1e-4) - apd(one - 1e-4)) / 2e-4
    assert float(slope) == pytest.approx(float(by_hand), rel=1e-5)


def test_the_front_of_aliev_and_panfilov_has_the_speed_of_its_cubic():
    cell = jt.AlievPanfilov()
    closed = float(cell.closed_form_speed(jnp.asarray(0.1)))
    assert plane_wave_speed(cell, 0.1) == pytest.approx(closed, rel=0.01)


def test_a_cell_below_its_threshold_has_no_duration():
    found = action_potentials(pace(jt.BuenoOrovio(), (300.0,), strength=0.05, step_ms=0.1))
    assert np.isnan(found.apd90_ms[0])
    assert float(found.peak[0]) < 0.3


def test_drugs_leave_what_their_hill_curves_say_and_act_together():
    assert Drug(1.0, {"Kr": (10.0, 1.0)}).left(10.0) == {"Kr": 0.5}
    cell = jt.TenTusscherPanfilov()
    both, missing = with_drugs(cell, {"dofetilide": 2.0, "verapamil": 81.0})
    assert isinstance(both, jt.TenTusscherPanfilov)
    share = DRUGS["dofetilide"].left(2.0)["Kr"] * DRUGS["verapamil"].left(81.0)["Kr"]
    assert float(both.g_Kr) == pytest.approx(cell.g_Kr * share)
    assert missing == ["NaL (dofetilide)", "NaL (verapamil)"]
    with pytest.raises(InputError, match="perhaps dofetilide"):
        with_drugs(cell, {"dofetilid": 2.0})
    with pytest.raises(InputError, match="0 nM or more"):
        with_drugs(cell, {"dofetilide": -2.0})


def test_an_unknown_parameter_gets_the_nearest_one():
    with pytest.raises(InputError, match="perhaps g_Kr"):
        jt.TenTusscherPanfilov().scaled(gKr=0.5)


def test_a_premature_beat_is_shorter_and_too_early_there_is_none():
    found = jt.restitution(
        jt.BuenoOrovio(), np.array([250.0, 340.0, 500.0, 1000.0]), beats=5, step_ms=0.1, after_ms=500.0
    )
    apd = np.asarray(found.apd90_ms)
    assert np.isnan(apd[0])
    assert (np.diff(apd[1:]) > 0.0).all()
    assert apd[-1] == pytest.approx(float(found.s1_apd90_ms), abs=1.0)
