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
# # A real map
#
# From an exported activation map to a fitted twin, judged on held-out points and on a held-out patch.
# The map is the second example of [openep-py](https://github.com/openep/openep-py) (GPL-3.0, not part of
# this package): `eam_map/openep_mesh_2_dense.vtk` below the folder `JAXTWIN_DATA`, by default
# `../shared/data`. Where it is absent a synthetic map replaces it. The problem is small on purpose: 60 modes
# and 8 iterations take about a minute on one core; more of both fit better.

# %%
import os
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.assurance import hold_out, isotropic_speed, radial_basis
from jaxtwin.fem import Space

warnings.simplefilter("error")

# %% [markdown]
# ## A mesh to compute on
#
# Mapping systems export surfaces for display: stray components, triangles of zero area, edges of 0.03 mm next
# to edges of 6 mm. `read_heart` repairs them, reports what it changes, and carries the map along.


# %%
def measured(path):
    """Mesh and LAT at its nodes, ms, from the exported surface."""
    heart = jt.read_heart(path)
    print(*heart.notes, *heart.warnings, sep="\n")
    return heart.mesh, jt.MappingData(heart.mesh.points, heart.point_data["LAT"])


def synthetic():
    """Mesh and a map of 900 points with 2 ms of noise: a beat on a finer mesh whose right half is slow."""
    fine = jt.atrial_shell(1.0)
    cells, random = jt.MitchellSchaeffer(), np.random.default_rng(0)
    tensor = jt.diffusion_tensor(fine.fibres, np.where(fine.centroids[:, 0] < 0.0, 0.12, 0.6))
    start = jt.pulse(jt.in_sphere(fine, fine.points[fine.points[:, 2].argmax()], 3.0), len(fine.points))
    tissue = jt.Tissue(Space(fine, mass_scaling=0.005), cells, tensor, start)
    (lat,) = jt.simulate(tissue, jt.Times(170.0, 0.1), recorders=(jt.ActivationTimes(),)).records
    where = random.choice(len(fine.points), 900, replace=False)
    lat = np.asarray(lat)[where] + 2.0 * random.standard_normal(900)
    return jt.reorder(jt.atrial_shell(2.0)).mesh, jt.MappingData(fine.points[where], lat)


path = Path(os.environ.get("JAXTWIN_DATA", "../shared/data")) / "eam_map" / "openep_mesh_2_dense.vtk"
if path.is_file():
    mesh, data = measured(path)
else:
    print(f"{path} is absent: using a synthetic map.")
    mesh, data = synthetic()
print(f"{len(mesh.points)} nodes, {int(data.valid.sum())} points, {np.ptp(data.lat_ms[data.valid]):.0f} ms")

# %% [markdown]
# ## Training and held-out points
#
# 300 points to fit, spread evenly, 300 random points held out, and a patch of a tenth of the surface in which no
# point is fitted. The vendor has interpolated the exported map, so single held-out points flatter interpolators:
# the patch is the harder test.

# %%
sets = hold_out(mesh, data, fit=300, held_out=300, patch_fraction=0.1)
train = data.subset(sets.fit)


def errors(predicted):
    """Root-mean-square error in ms at the held-out points and in the patch."""
    gap = predicted - data.lat_ms
    return tuple(float(np.sqrt(np.mean(gap[mask] ** 2))) for mask in (sets.points, sets.patch))


# %% [markdown]
# ## Two baselines without a model

# %%
speed = isotropic_speed(mesh, train)
one_speed = errors(speed(data.positions))
interpolated = errors(radial_basis(train.positions, train.lat_ms, data.positions))

# %% [markdown]
# ## The twin
#
# Log diffusivity is a Matern field around the conduction velocity of the first baseline. In sinus rhythm there
# is no pacing site: the earliest part of the map, at its own times, is the stimulus. The noise scale is estimated
# too; it starts at 5 ms, which covers what so few modes cannot follow.

# %%
cells = jt.MitchellSchaeffer()
modes = jt.matern_modes(mesh, correlation_length=20.0, count=60)
tissue_map = jt.LogDiffusivity(
    jt.field(modes, sd=1.0), reference=float(cells.diffusivity(speed.speed)), floor=0.02, ceiling=1.5
)  # mm2/ms
source = jt.earliest_sources(mesh, train, speed=speed.speed)
first, last = (f(train.lat_ms) for f in (np.min, np.max))
times = jt.Times(float(np.ceil(last)) + 15.0, 0.125, start=float(np.floor(first)) - 5.0)
twin = jt.Twin(mesh, cells=cells, tissue_map=tissue_map, beats=(source,), times=times)


def report(iteration, now):
    print(f"iteration {iteration}: loss {now.loss:.1f}, {now.captured} points reached, {now.rmse_ms:.2f} ms")


found = jt.fit(twin, train.with_sigma(5.0), iterations=8, report=report)

# %% [markdown]
# ## Errors on held-out points

# %%
place = jt.project(mesh, data)[1]
fitted = errors(np.asarray(place(twin.predict(found.theta))))
print(f"{'held-out error, ms':24}{'points':>8}{'patch':>8}")
for name, row in (("one speed", one_speed), ("radial basis functions", interpolated), ("twin", fitted)):
    print(f"{name:24}{row[0]:8.2f}{row[1]:8.2f}")
diffusivity = np.asarray(tissue_map.diffusivity(found.theta["tissue"]))
print("speed, 5th to 95th percentile:", np.percentile(np.asarray(cells.speed(diffusivity)), [5, 95]).round(2), "mm/ms")

if folder := os.environ.get("JAXTWIN_FIGURES"):
    from jaxtwin.view import conductivity_map, save_figure

    save_figure(conductivity_map(mesh, diffusivity), Path(folder) / "real_map.png")

# %% [markdown]
# ## What must hold

# %%
assert np.isfinite(fitted).all()
assert found.captured == len(train.lat_ms)
assert fitted[0] < 0.8 * one_speed[0]
