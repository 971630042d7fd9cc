"""stabilised explicit steps against semi-implicit ones, at equal error of the activation times"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .speed import Problem, atrium_problem, box_problem, fastest, one_core, sheet_problem

SHORTER = (0.2, 0.1, 0.05, 0.025)  # ms, the steps to try
TOLERANCE, MOST = 1e-5, 100  # of conjugate gradients: relative to the right-hand side; iterations


def semi_implicit(problem: Problem, dt: float) -> Callable[..., Any]:
    """Activation times by the scheme that most codes take, as a function of the field and the space.

    Diffusion by Crank-Nicolson, reaction by Adams-Bashforth of second order, the same gate, lumped mass;
    conjugate gradients with a diagonal preconditioner, from u continued linearly. Reverse mode goes through
    the solves by the implicit function theorem.
    """
    import jax
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.fem import diffusion_operator
    from jaxtwin.monodomain.recorder import Step

    recorder, steps = jt.ActivationTimes(), round(problem.times.stop / dt)

    def activation(log_d, space):
        tissue = problem.tissue(log_d, space)
        whole = diffusion_operator(space, tissue.diffusivity)
        half = whole.with_edges(0.5 * dt * whole.of_edges)
        diagonal = space.mass * (1.0 + jnp.concatenate([w.sum(axis=0) for w in half.weights]))

        def step(carry, index):
            u, before, gate, rate_before, memory = carry
            start, stop = (k.astype(u.dtype) * dt for k in (index, index + 1))
            rate = tissue.ionic.reaction(u, gate)
            push = 1.5 * rate - 0.5 * rate_before + tissue.stimulus.mean(start, stop)
            after, _ = jax.scipy.sparse.linalg.cg(
                lambda v: space.mass * (v - half(v)), space.mass * (u + half(u) + dt * push),
                x0=2.0 * u - before, tol=TOLERANCE, maxiter=MOST, M=lambda r: r / diagonal,
            )  # fmt: skip
            gate = tissue.ionic.relax(gate, u, after, dt)
            slope = (after - u) / dt
            memory = recorder.update(memory, Step(start, dt, u, after, slope, slope, None, gate, 0.5, 0.1))
            return (after, u, gate, rate, memory), None

        rest, open_gate = (jnp.full_like(space.mass, value) for value in tissue.ionic.resting())
        begin = rest, rest, open_gate, tissue.ionic.reaction(rest, open_gate), recorder.init(rest)
        carry, _ = jax.lax.scan(step, begin, jnp.arange(steps))
        return recorder.read(carry[-1], None, dt)

    return activation


def compared(make: Callable[[float], Problem], dt: float, gradient: bool) -> dict[str, Any]:
    """A problem with both, the semi-implicit one at the longest step that is as accurate as the explicit one
    at `dt`. Lumped mass in both gives them one limit: errors are against the explicit one at `dt`/10.

    Steps are tried by halving; the ratios are scaled to equal error, with a cost that falls as the step
    grows and an error that grows with its square. That favours the semi-implicit scheme, whose longer steps
    need more iterations each.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    def rms(lat) -> float:
        return float(np.sqrt(np.nanmean((lat - reference) ** 2)))

    def forward(activation) -> dict[str, float]:
        solve = eqx.filter_jit(activation)
        lat, seconds = fastest(lambda: np.asarray(solve(problem.log_d, problem.space)), 1)
        return {"seconds": seconds, "error_ms": rms(lat)}

    def backward(activation) -> float:
        slope = eqx.filter_jit(jax.grad(lambda d, s: jnp.nanmean(activation(d, s))))
        return fastest(lambda: np.asarray(slope(problem.log_d, problem.space)), 1)[1]

    problem, fine = make(dt), make(0.1 * dt)
    problem.space, fine.space = (p.space.with_share(0.0) for p in (problem, fine))
    reference = fine.activation()()
    explicit = forward(problem.solve) | {"step_ms": dt, "stages": problem.stepper.stages}
    for shorter in SHORTER:
        implicit = forward(semi_implicit(problem, shorter)) | {"step_ms": shorter}
        print(f"semi-implicit: {implicit}, explicit: {explicit}", file=sys.stderr)
        if implicit["error_ms"] <= explicit["error_ms"]:
            break
    if gradient:
        explicit["gradient_s"] = backward(problem.solve)
        implicit["gradient_s"] = backward(semi_implicit(problem, implicit["step_ms"]))
    keys = ("seconds", "gradient_s") if gradient else ("seconds",)
    longer = (explicit["error_ms"] / implicit["error_ms"]) ** 0.5
    return {
        "nodes": problem.space.nodes, "explicit": explicit, "semi_implicit": implicit,
    } | {f"{key}_ratio": implicit[key] / explicit[key] / longer for key in keys}  # fmt: skip


def implicit() -> dict[str, Any]:
    """Problems P (10k nodes, with gradient, and 40k), A and H (100k nodes) on one core in float32."""
    one_core()
    runs = {
        "P, 10k": compared(lambda dt: sheet_problem(0.4, dt=dt)[1], 0.25, True),
        "P, 40k": compared(lambda dt: sheet_problem(0.2, dt=dt)[1], 0.25, False),
        "A": compared(lambda dt: atrium_problem(200.0, dt), 0.2, False),
        "H": compared(lambda dt: box_problem(100_000, 40.0, dt), 0.1, False),
    }
    return {
        "runs": runs,
        "least_ratio": min(run["seconds_ratio"] for run in runs.values()),
        "gradient_ratio": runs["P, 10k"]["gradient_s_ratio"],
    }
