"""What maps do not identify, and maps that are refused."""

from typing import Any


def null_space() -> dict[str, Any]:
    """D, tau_in and tau_out estimated from one beat: the warning, against the closed form of the speed."""
    import warnings

    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt

    mesh = jt.sheet(20.0, 20.0, 0.5, fibre_angle=0.4)
    nodes, sd = len(mesh.points), {"tau_in": 0.5, "tau_out": 0.5}
    twin = jt.Twin(
        mesh, cells=jt.MitchellSchaeffer(), cell_sd=sd, times=jt.Times(80.0, 0.2),
        tissue_map=jt.LogDiffusivity(
            jt.uniform(nodes), reference=0.25, floor=0.02, ceiling=1.5, ratio=3.0
        ),
        beats=(jt.pulse(jt.in_sphere(mesh, [0.0, 0.0], 2.0), nodes),),
    )  # fmt: skip
    random = np.random.default_rng(0)
    where = random.choice(nodes, 250, replace=False)
    lat = np.asarray(twin.predict(twin.mean(), 0))[where] + random.normal(0.0, 2.0, len(where))
    data = jt.MappingData(mesh.points[where], lat)
    known = [c for c in jt.identifiable(twin, data) if c.left < 0.1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jt.fit(twin, data, iterations=3)

    def log_speed(logs):
        tau_in, tau_out = 0.3 * jnp.exp(logs[1]), 6.0 * jnp.exp(logs[2])
        return jnp.log(jt.MitchellSchaeffer(tau_in=tau_in, tau_out=tau_out).speed(jnp.exp(logs[0])))

    closed = np.asarray(jax.grad(log_speed)(jnp.zeros(3)))
    share = known[0].share if known else np.full(3, 9.0)
    gap = share - closed / closed[np.abs(closed).argmax()]
    texts = [str(w.message) for w in caught]
    return {
        "identified": len(known), "warned": int(any("identify only 1 combination" in t for t in texts)),
        "combination": str(known[0]) if known else "", "largest_gap_to_closed_form": float(np.abs(gap).max()),
        "warning": texts,
    }  # fmt: skip


def refusals() -> dict[str, Any]:
    """Maps that cannot be fitted: re-entry on a sheet and round a valve, and maps without a LAT."""
    import numpy as np

    import jaxtwin as jt

    sheet, shell = jt.sheet(40.0, 40.0, 1.0), jt.atrial_shell(2.0)
    around = np.arctan2(*(sheet.points - 20.3).T), np.arctan2(shell.points[:, 1], shell.points[:, 0])
    reasons = []
    for mesh, angle in zip((sheet, shell), around, strict=True):
        nodes = len(mesh.points)
        twin = jt.Twin(
            mesh, cells=jt.MitchellSchaeffer(), times=jt.Times(230.0, 0.25),
            tissue_map=jt.LogDiffusivity(jt.uniform(nodes), reference=0.2, floor=0.02, ceiling=1.0),
            beats=(jt.pulse(jt.in_sphere(mesh, mesh.points[0], 4.0), nodes),),
        )  # fmt: skip
        noise = np.random.default_rng(0).normal(0.0, 4.0, nodes)
        for lat in (100.0 + 200.0 * angle / (2.0 * np.pi) + noise, np.full(nodes, np.nan)):
            try:
                jt.fit(twin, jt.MappingData(mesh.points, lat), iterations=1)
            except jt.InputError as error:
                reasons.append(str(error))
    return {"maps": 4, "refused": len(reasons), "reasons": reasons}
