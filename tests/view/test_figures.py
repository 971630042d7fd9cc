"""Figures: what they say, and what their pixels show."""

import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from view_shapes import plane, sphere

from jaxtwin import view
from jaxtwin._results import InputError
from jaxtwin.view import canvas, maps


def texts(figure):
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(mpl.text.Text)]
    return " | ".join(text for text in found if text)


def pictures(figure):
    return [image.get_array() for axes in figure.axes for image in axes.images if image.get_array().ndim == 3]


def dots_of(figure):
    return [
        len(axes.collections[0].get_offsets()) for axes in figure.axes if axes.images and axes.collections
    ]


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """A fifteenth of the pixels: what is tested does not depend on their number."""
    monkeypatch.setattr(canvas, "DPI", 40)


@pytest.fixture(scope="module")
def ball():
    return sphere()


def test_every_figure_has_title_unit_and_footer(ball):
    rng = np.random.default_rng(0)
    nodes, cells = len(ball.points), len(ball.cells)
    times = rng.uniform(20, 90, 50)
    made = {
        "LAT (ms)": view.activation_map(ball, ball.points[:, 2] + 10),
        "Conductivity (S/m)": view.conductivity_map(ball, rng.uniform(0.1, 0.4, cells)),
        "Diffusivity (mm²/ms)": view.conductivity_map(ball, np.full(nodes, 0.1), unit="mm2/ms"),
        "Speed (m/s)": view.speed_map(ball, rng.uniform(0.3, 0.9, cells)),
        "Scar fraction (0 to 1)": view.scar_map(ball, rng.uniform(size=nodes)),
        "Share of the prior variance": view.information_map(ball, rng.uniform(size=cells)),
        "Residual (ms)": view.residual_map(ball, ball.points[:50], times - 50),
        "measured LAT (ms)": view.fit_summary(times, times + 1),
        "RMSE (ms)": view.convergence({"loss": [3.0, 2.0, 1.0], "rmse_ms": [9.0, 5.0, 4.0]}),
        "APD90 of the premature beat (ms)": view.restitution_curve({"cell": (times, times)}),
        "voltage (mV)": view.trace(np.arange(50.0), times, ["here"]),
    }
    for label, figure in made.items():
        assert isinstance(figure, Figure)
        said = texts(figure)
        assert label in said
        assert canvas.FOOTER in said
        if figure.axes[0].images:
            assert "mm" in said.split(label)[0]  # the scale bar
            assert len(pictures(figure)) == 4


def test_matplotlib_is_left_alone(ball):
    before = dict(mpl.rcParams)
    view.activation_map(ball, ball.points[:, 2])
    assert dict(mpl.rcParams) == before


def test_isochrones_of_a_plane_wave_run_from_red_to_purple():
    mesh = plane()
    figure = view.activation_map(mesh, mesh.points[:, 0] / 0.5)  # 0 to 40 ms
    said = texts(figure)
    assert "isochrones every 5 ms" in said
    picture = pictures(figure)[0]
    row = picture[picture.shape[0] // 2]
    row = row[row[:, 3] == 1.0][:, :3]
    middles = row[(np.arange(8) * 2 + 1) * len(row) // 16]  # of the eight bands
    red, purple = middles[0], middles[-1]
    assert red[0] > 2 * red[2]
    assert purple[2] > 1.5 * purple[0]
    bands = maps.ACTIVATION((np.arange(8) * 255 / 7).astype(int))[:, :3]
    np.testing.assert_allclose(middles, bands, atol=0.02)
    bright = row.sum(axis=1)
    dark = bright < 0.85 * np.minimum(np.roll(bright, 3), np.roll(bright, -3))
    assert np.count_nonzero(np.diff(dark.astype(int)) == 1) == 7


@pytest.mark.parametrize(
    ("span", "step", "expected"), [(100, 10, 10), (300, 10, 20), (40, 10, 5), (3, 10, 0.2)]
)
def test_the_step_gives_8_to_20_bands(span, step, expected):
    levels = maps._isochrones(np.array([7.0, 7.0 + span]), step)
    assert levels[1] - levels[0] == pytest.approx(expected)
    assert levels[0] <= 7.0 < 7.0 + span <= levels[-1]
    np.testing.assert_allclose(levels / expected, np.round(levels / expected), atol=1e-9)


def test_one_time_everywhere_still_draws():
    view.activation_map(plane(), np.full(231, 12.0))


def test_hidden_points_are_not_drawn(ball):
    points = np.array([[6.0, -8.0, 0.0], [6.0, 8.0, 0.0]])  # front left and back left
    figure = view.activation_map(ball, ball.points[:, 2], points=points, views="patient")
    assert dots_of(figure) == [1, 2, 1, 0]
    figure = view.residual_map(ball, points, np.array([1.0, -1.0]), views="patient")
    assert dots_of(figure) == [1, 2, 1, 0]


def test_measured_points_take_the_colour_of_their_value():
    mesh = plane()
    lat = mesh.points[:, 0] / 0.5
    figure = view.activation_map(
        mesh, lat, points=np.array([[1.0, 5.0], [1.0, 6.0]]), values=np.array([0.0, 40.0])
    )
    faces = figure.axes[0].collections[0].get_facecolors()
    np.testing.assert_allclose(faces, maps.ACTIVATION([0, 255]), atol=0.01)


def test_surfaces_are_not_blank_and_missing_values_are_grey():
    mesh = plane()
    values = np.where(mesh.points[:, 0] < 10, np.nan, 0.3)
    picture = pictures(view.conductivity_map(mesh, values))[0]
    rows, columns = picture.shape[:2]
    left, right = picture[rows // 2, columns // 4], picture[rows // 2, 3 * columns // 4]
    assert np.ptp(left[:3]) < 1e-6
    assert np.ptp(right[:3]) > 0.1
    assert picture[0, 0, 3] == 0.0


def test_conductivity_is_in_siemens_per_metre():
    figure = view.conductivity_map(plane(), np.geomspace(0.1, 1.0, 231))
    bar = next(axes for axes in figure.axes if "S/m" in axes.get_ylabel())
    np.testing.assert_allclose(bar.get_ylim(), [0.14, 1.4])  # 140 /mm times 0.01 uF/mm2
    assert bar.get_yscale() == "log"


def test_residual_figure_prints_its_numbers_and_is_symmetric():
    residual = np.array([3.0, -4.0, np.nan, 0.0])
    figure = view.residual_map(plane(), np.full((4, 2), 5.0), residual)
    said = texts(figure)
    assert "3 points\nRMSE 2.9 ms\nmedian +0.0 ms" in said
    bar = next(axes for axes in figure.axes if axes.get_ylabel().startswith("Residual"))
    assert bar.get_ylim()[0] == -bar.get_ylim()[1]


def test_fit_summary_separates_held_out_points():
    measured = np.array([10.0, 20.0, 30.0, 40.0, np.nan])
    sets = np.array([0, 0, 1, 2, 2])
    parts = {name: sets == k for k, name in enumerate(("fitted points", "held-out points", "patch"))}
    figure = view.fit_summary(measured, measured + np.array([3, -3, 4, 5, 0]), parts=parts)
    said = texts(figure)
    assert "fitted points: n = 2, RMSE 3.0 ms" in said
    assert "held-out points: n = 1, RMSE 4.0 ms" in said
    assert "patch: n = 1, RMSE 5.0 ms" in said
    assert "fitted points: n = 4, RMSE 3.8 ms" in texts(view.fit_summary(measured, measured + 3.8))


def test_jax_arrays_are_welcome():
    mesh = plane()
    view.activation_map(mesh, jnp.asarray(mesh.points[:, 0]))
    view.trace(jnp.arange(5.0), jnp.zeros((2, 5)), ["a", "b"])


def test_saving_is_whole_or_nothing(tmp_path, monkeypatch):
    monkeypatch.undo()  # of the resolution too
    figure = view.trace(np.arange(5.0), np.zeros(5))
    view.save_figure(figure, tmp_path / "a.png")
    picture = mpl.image.imread(tmp_path / "a.png")
    assert picture.shape[1] == round(figure.get_figwidth() * 150)
    assert (picture[..., :3] < 0.5).any()

    def fails(self, stream, **_):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError, match="disk full"):
        view.save_figure(figure, tmp_path / "b.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_refusals():
    mesh = plane()
    nodes = len(mesh.points)
    with pytest.raises(InputError, match="one value for each of 231 nodes"):
        view.activation_map(mesh, np.zeros(5))
    with pytest.raises(InputError, match="nothing but NaN"):
        view.activation_map(mesh, np.full(nodes, np.nan))
    with pytest.raises(InputError, match="0 to 1"):
        view.scar_map(mesh, np.full(nodes, 50.0))
    with pytest.raises(InputError, match="mm2/ms"):
        view.conductivity_map(mesh, np.ones(nodes), unit="mS/cm")
    with pytest.raises(InputError, match="2 coordinates"):
        view.residual_map(mesh, np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(InputError, match="'loss'"):
        view.convergence({"rmse_ms": [1.0]})
    with pytest.raises(InputError, match="2 labels for 1 traces"):
        view.trace(np.arange(3.0), np.zeros(3), ["a", "b"])


def test_a_real_electroanatomical_map(data):
    from jaxtwin.anatomy.meshfile import read_mesh

    file = read_mesh(data / "eam_map" / "openep_mesh_2_dense.vtk")
    figure = view.activation_map(file.mesh, np.asarray(file.point_data["LAT"]))
    assert "isochrones every 10 ms" in texts(figure)
    assert all((picture[..., 3] > 0).mean() > 0.2 for picture in pictures(figure))
