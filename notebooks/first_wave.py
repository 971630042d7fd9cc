# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first wave
#
# A wave on a cable and on a sheet. Its speed and the derivative of its arrival time are known in closed form,
# so the program can print its own error. It runs in about ten seconds on one core, as a script
# (`python notebooks/first_wave.py`) or as a notebook. Set `JAXTWIN_FIGURES` to a folder to save the figure
# there.

# %%
import os
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.fem import Space

warnings.simplefilter("error")
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A cable
#
# The tissue is a mesh, a cell model, a diffusivity in mm2/ms in each cell of the mesh, and a stimulus. A solve
# stores what its recorders ask for: here the time at which u rises through 0.5 at each node.

# %%
cells = jt.MitchellSchaeffer()
cable = jt.cable(length=20.0, edge=0.05)
space = Space(cable)
start = jt.pulse(cable.points[:, 0] <= 0.5, len(cable.points))
stepper = jt.RungeKuttaChebyshev(stages=8)


def delay(log_diffusivity):
    """Time from 8 mm to 18 mm along the cable, ms."""
    tensor = jt.diffusion_tensor(cable.fibres, jnp.exp(log_diffusivity))
    tissue = jt.Tissue(space, cells, tensor, start)
    (lat,) = jt.simulate(tissue, jt.Times(75.0, 0.05), stepper=stepper, recorders=(jt.ActivationTimes(),)).records
    return jnp.interp(18.0, cable.points[:, 0], lat) - jnp.interp(8.0, cable.points[:, 0], lat)


# %% [markdown]
# The value and its exact derivative by the adjoint. Speed grows with the square root of D, so the derivative
# of the delay with respect to log D is minus half of the delay. The closed form keeps the gate at rest; in the
# simulation it closes a little within the front, which explains nearly all of the difference in speed.

# %%
D = 0.1
wait, slope = jax.jit(jax.value_and_grad(delay))(jnp.log(D))
speed, expected = 10.0 / float(wait), float(cells.speed(D))
print(f"cable:   {speed:.4f} mm/ms, closed form {expected:.4f}, off by {100 * (speed / expected - 1):+.2f} %")
print(f"slope:   {float(slope):.4f} ms, expected {-0.5 * float(wait):.4f}")

# %% [markdown]
# ## A sheet with fibres
#
# Fibres along x, D four times as large along them as across, and a plane wave in each direction. Linear elements
# change the speed of a wave, in second order of edge length over front width. Across the fibres the front is half
# as wide, so the error is four times as large.

# %%
sheet = jt.sheet(16.0, 16.0, 0.2)
D, ratio = 0.4, 4.0
tensor = jt.diffusion_tensor(sheet.fibres, D, ratio)
x, y = sheet.points.T


def arrival_times(mask):
    """LAT of the sheet excited where the mask is true, ms."""
    tissue = jt.Tissue(Space(sheet), cells, tensor, jt.pulse(mask, len(x)))
    return np.asarray(jt.simulate(tissue, jt.Times(60.0, 0.05), recorders=(jt.ActivationTimes(),)).records[0])


from_left, from_below = arrival_times(x <= 0.5), arrival_times(y <= 0.5)
along = 8.0 / (from_left[np.isclose(x, 14.0)].mean() - from_left[np.isclose(x, 6.0)].mean())
across = 8.0 / (from_below[np.isclose(y, 14.0)].mean() - from_below[np.isclose(y, 6.0)].mean())
for name, got, d in (("along", along, D), ("across", across, D / ratio)):
    closed = float(cells.speed(d))
    print(f"{name + ':':8} {got:.4f} mm/ms, closed form {closed:.4f}, off by {100 * (got / closed - 1):+.2f} %")

# %% [markdown]
# A point stimulus makes an elliptic front instead, which is slower than a plane one: a curved front loses
# current to the sides.

# %%
lat = arrival_times(jt.in_sphere(sheet, (8.0, 8.0), 1.5))
near = lambda px, py: np.hypot(x - px, y - py).argmin()
curved = 4.0 / (lat[near(14.0, 8.0)] - lat[near(10.0, 8.0)])
print(f"curved:  {curved:.4f} mm/ms along the fibres, 2 to 6 mm from the centre")

if folder := os.environ.get("JAXTWIN_FIGURES"):
    from jaxtwin.view import activation_map, save_figure

    save_figure(activation_map(sheet, lat), Path(folder) / "first_wave.png")

# %% [markdown]
# ## What must hold

# %%
assert np.isfinite(lat).all()
assert abs(speed / expected - 1) < 0.01
assert abs(float(slope) / (-0.5 * float(wait)) - 1) < 0.01
assert abs(along / float(cells.speed(D)) - 1) < 0.01
assert abs(across / float(cells.speed(D / ratio)) - 1) < 0.02
assert curved < along
