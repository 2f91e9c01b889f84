"""The driver, the grids, and one step of every solver, against closed forms and invariants."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.choices import SPACINGS
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import PROCESSES, Process, ddpm, flow, vp_cosine, vp_linear
from jaxdiff.solvers import (
    DDIM,
    DDPM,
    SOLVERS,
    DPMSolver,
    DPMSolverSDE,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    Solver,
    UniPC,
    sample,
)
from jaxdiff.solvers.driver import begin, evaluations, integrate, sample_grid, sample_keys
from jaxdiff.solvers.grid import nodes, on_breakpoints

VARIANTS = {
    **SOLVERS,
    "ddim_one": partial(DDIM, eta=1.0),
    "heun_churned": partial(Heun, churn=20.0, churn_noise=1.0),
}
MULTISTEP = {"dpm_solver": DPMSolver, "dpm_solver_sde": DPMSolverSDE, "unipc": UniPC}


def gaussian(process: Process) -> GaussianMixture:
    """N((1, -0.5), 0.6²), of one class."""
    return GaussianMixture(jnp.asarray([[[1.0, -0.5]]]), jnp.full((1, 1), 0.6), jnp.zeros((1, 1)), process)


def pair(process: Process) -> GaussianMixture:
    """Two classes, of two components each."""
    means = jnp.asarray([[[1.0, 0.0], [0.2, 0.7]], [[-1.0, 0.0], [0.3, -0.8]]])
    return GaussianMixture(means, jnp.asarray([[0.5, 0.3], [0.4, 0.6]]), jnp.zeros((2, 2)), process)


def recorded(denoise):
    """A denoiser that notes the time and the class of the first sample at each evaluation, also in a compiled run."""
    seen: list[tuple[float, int]] = []

    def recording(x, t, condition):
        jax.debug.callback(lambda t, label: seen.append((float(t), int(label))), t[0], condition[0], ordered=True)
        return denoise(x, t, condition)

    return recording, seen


def drawn(denoise, process, solver, starts, ends, key, **arguments) -> np.ndarray:
    """Samples of the two classes, switched."""
    condition = (jnp.asarray(starts), jnp.asarray(ends))
    x = sample(denoise, process, shape=(2,), solver=solver, key=key, condition=condition, **arguments)
    jax.effects_barrier()
    return np.asarray(x)


# The driver -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddim", "heun_churned", "unipc", "predictor_corrector"])
def test_what_is_observed_belongs_together(name, key):
    """The posterior mean, and the state and the time that it is of: churn moves both before the first evaluation."""
    process, solver = vp_linear(), VARIANTS[name](6, spacing="log_snr")
    denoise, keys, condition = pair(process), sample_keys(key, jnp.arange(3)), jnp.asarray([0, 1, 0])

    def observe(worst, index, x, x0, t, t_next):
        return jnp.maximum(worst, jnp.abs(denoise(x, t, condition) - x0).max())

    grid = sample_grid(denoise, process, solver, 3)
    state = begin(denoise, solver, 3 * jax.random.normal(key, (3, 2)))
    worst = integrate(denoise, process, solver, grid, state, keys, condition, observe=observe, observed=jnp.zeros(()))
    assert float(worst) < 1e-5


def test_samples_of_a_gaussian_have_its_mean_and_covariance(key):
    process, n, std = vp_cosine(), 10_000, 0.6
    condition = jnp.zeros(n, jnp.int32)
    x = sample(gaussian(process), process, shape=(2,), solver=DDIM(200, eta=1.0), key=key, condition=condition)
    np.testing.assert_allclose(x.mean(0), (1.0, -0.5), atol=4 * std / n**0.5 + 0.005)
    np.testing.assert_allclose(np.cov(np.asarray(x).T), std**2 * np.eye(2), atol=4 * std**2 * (2 / n) ** 0.5 + 0.015)


def test_the_path_begins_with_the_noise_and_ends_with_the_sample(key):
    process = vp_cosine()
    arguments = {"shape": (2,), "solver": DDIM(5), "key": key, "condition": jnp.zeros(3, jnp.int32)}
    path = sample(gaussian(process), process, **arguments, path=True)
    assert path.shape == (6, 3, 2)
    np.testing.assert_array_equal(path[-1], sample(gaussian(process), process, **arguments))


# of each kind: one step, several, two evaluations with noise, a correction; the driver lays out the rows of all alike
ROWS = {"ddim", "dpm_solver_sde", "heun_churned", "predictor_corrector"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ROWS)) for name in VARIANTS])
def test_a_sample_depends_on_neither_its_neighbours_nor_their_number(name, key):
    """Each with a tau of its own, then with others beside it, then alone and unswitched; all at the reported cost."""
    # Euler-Maruyama refuses steps of log SNR above some 1.3
    # the corrector divides by the norm of a score that is a small difference where the noise is nearly gone
    spacing = "uniform" if name == "predictor_corrector" else "log_snr"
    process, solver = vp_linear(), VARIANTS[name](20 if name == "euler_maruyama" else 6, spacing=spacing)
    denoise, seen = recorded(pair(process))
    at = lambda taus, starts, ends: drawn(  # noqa: E731
        guidance.switching(denoise, jnp.asarray(taus)), process, solver, starts, ends, key
    )
    three = at([0.43, 0.31, 1.0], [0, 1, 0], [1, 0, 1])
    assert len(seen) == solver.evaluations == solver.evaluations_after(0)
    np.testing.assert_array_equal(at([0.77, 0.31, 0.5], [1, 1, 0], [0, 0, 0])[1], three[1])
    seen.clear()
    alone = sample(denoise, process, shape=(2,), solver=solver, key=key, condition=jnp.ones(1, int), indices=np.array([2]))
    np.testing.assert_allclose(alone[0], three[2], rtol=1e-5, atol=1e-5)
    jax.effects_barrier()
    assert len(seen) == solver.evaluations
    assert np.isfinite(three).all() and len(np.unique(three[:, 0])) == 3


@pytest.mark.parametrize(("name", "evaluations"), [("ddim", 9), ("heun", 17), ("unipc", 9), ("predictor_corrector", 18)])
def test_the_evaluations_that_are_left_fall_by_those_of_a_step(name, evaluations):
    solver = SOLVERS[name](9)
    assert solver.evaluations == evaluations
    for done in range(9):
        assert solver.evaluations_after(done) == SOLVERS[name](9 - done).evaluations
    assert PredictorCorrector(9, correctors=3).evaluations == 36


# Breakpoints ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MULTISTEP)
def test_a_multistep_solver_restarts_at_a_breakpoint(name, key):
    """From tau on the run is that of a solver without a history that starts there; without the restart it is another."""
    process, solver, tau, count = vp_linear(), MULTISTEP[name](8), 0.3, 2
    denoise = guidance.switching(pair(process), tau)
    condition = (jnp.zeros(count, jnp.int32), jnp.ones(count, jnp.int32))
    keys = sample_keys(key, jnp.arange(count))
    grid = sample_grid(denoise, process, solver, count)
    index = int(np.argmax(np.asarray(grid.restarts)[:, 0]))
    assert 2 < index < 7 and grid.times[index, 0] == np.float32(tau)
    run = jax.jit(
        lambda grid, state, first: integrate(
            denoise, process, solver, grid, state, keys, condition, first_step=first, path=True
        )
    )
    states = run(grid, begin(denoise, solver, jax.random.normal(key, (count, 2))), 0)
    at_tau = jax.tree.map(lambda leaf: leaf[index], states)
    afresh = run(grid, begin(denoise, solver, at_tau.x), index)
    continued = run(grid._replace(restarts=jnp.zeros_like(grid.restarts)), at_tau, index)
    np.testing.assert_array_equal(afresh.x[-1], states.x[-1])
    assert np.abs(np.asarray(continued.x - states.x)[-1]).max() > 1e-4


def test_both_slopes_of_heun_see_the_class_to_the_left_of_a_breakpoint(key):
    tau = float(np.float32(0.3))
    denoise, seen = recorded(lambda x, t, condition: 0.3 * x)
    drawn(guidance.switching(denoise, tau), vp_linear(), Heun(8, spacing="log_snr"), [0], [1], key)
    assert len(seen) == 15
    assert all(label == (0 if t > tau else 1) for t, label in seen)
    first = [t for t, _ in seen].index(tau)  # where the step from tau begins
    before, label = seen[first - 1]  # the second slope of the step that ends there
    assert label == 0 and before == pytest.approx(tau, rel=1e-6)
    times = [t for t, _ in seen]
    assert first % 2 == 0 and times[1::2] == pytest.approx(times[2::2], rel=1e-6)


@pytest.mark.parametrize("process", [ddpm("scaled_linear"), vp_linear(0.1, 6.0)], ids=lambda p: p.name)
def test_churn_leads_neither_back_across_a_breakpoint_nor_out_of_the_process(process, key):
    """With so much churn that the level before the step could rise by 41 %, over the node before."""
    solver = Heun(16, spacing="log_snr", churn=100.0, churn_min=0.0, churn_max=1e3)
    times = np.asarray(solver.times(process))
    tau = float(np.float32(0.49 * times[8] + 0.51 * times[9]))  # the node after it lies close behind
    denoise, seen = recorded(lambda x, t, condition: 0.3 * x)
    drawn(guidance.switching(denoise, tau), process, solver, [0], [1], key)
    begun = seen[::2]
    assert max(t for t, _ in seen) <= 1
    assert all(label == (0 if t > tau else 1) for t, label in seen)
    assert sum(label for _, label in begun) == 16 - 9  # each step from tau on is of the class after it
    assert any(t > node for (t, _), node in zip(begun[1:], times[1:-1], strict=True))


def test_a_breakpoint_takes_the_place_of_the_nearest_interior_node():
    times = jnp.broadcast_to(nodes("uniform", 10, vp_linear())[:, None], (11, 4))
    moved, held = (np.asarray(array) for array in on_breakpoints(times, (jnp.asarray([0.0, 1.0, 0.33, 0.97]),)))
    np.testing.assert_array_equal(moved[:, :2], times[:, :2])  # at the ends nothing moves
    assert moved[7, 2] == np.float32(0.33) and moved[1, 3] == np.float32(0.97)  # the first node cannot move, so the second does
    assert np.all(np.diff(moved, axis=0) < 0)
    assert (np.asarray(times)[:, 2:] != moved[:, 2:]).sum() == 2
    assert [tuple(place) for place in np.argwhere(held)] == [(1, 3), (7, 2)]


def test_two_breakpoints_take_two_nodes_in_order():
    # the second finds the node at 0.5 taken, and takes the one on the other side of the first
    times = jnp.broadcast_to(nodes("uniform", 4, vp_linear())[:, None], (5, 1))
    moved, held = (np.asarray(array)[:, 0] for array in on_breakpoints(times, (jnp.asarray(0.48), jnp.asarray(0.495))))
    assert set(moved[held]) == {np.float32(0.48), np.float32(0.495)}
    assert np.all(np.diff(moved) < 0)


# Grids ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_grid_falls_strictly_and_ends_at_the_data(spacing, process):
    made = PROCESSES[process]()
    if spacing not in ("uniform", "log_snr", "karras") and not process.startswith("ddpm"):
        with pytest.raises(InputError, match=f"`spacing` '{spacing}'.*{process}"):
            nodes(spacing, 10, made)
        return
    for steps in (1, 50):
        times = np.asarray(nodes(spacing, steps, made))
        assert times.shape == (steps + 1,) and times.dtype == np.float32
        assert times[-1] == 0 and times[0] <= 1 and np.all(np.diff(times) < 0)


@pytest.mark.parametrize("steps", [6, 25, 1000])
def test_the_uniform_grid_ends_exactly_at_the_data_also_when_compiled(steps):
    process = vp_cosine()
    for count in (1, 64):
        grid = jax.jit(lambda count=count: sample_grid(lambda x, t, c: x, process, DDIM(steps), count))()
        times = np.asarray(grid.times)
        np.testing.assert_allclose(times[:, 0], 1 - np.arange(steps + 1) / steps, atol=1e-7)
        assert np.all(times[0] == 1) and np.all(times[-1] == 0) and not np.any(grid.restarts)
        assert np.all(np.diff(times, axis=0) < 0)


@pytest.mark.parametrize("process", PROCESSES)
def test_log_snr_and_karras_nodes_are_uniform_in_their_own_scale(process):
    """Between the levels 80 and 0.002, or what the process has of them."""
    made = PROCESSES[process]()
    least, most = {"ve": (0.01, 50.0), "edm": (0.002, 80.0)}.get(process, (0.002, min(80.0, float(made.snr(1.0)) ** -0.5)))
    for spacing, scale in (("log_snr", np.log), ("karras", lambda level: level ** (1 / 7))):
        times = np.asarray(nodes(spacing, 50, made))
        level = np.exp(-0.5 * np.asarray(made.log_snr(times[:-1]), np.float64))
        np.testing.assert_allclose(scale(level), np.linspace(scale(most), scale(least), 50), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("spacing", "steps", "timesteps"),
    [
        ("leading", 4, [750, 500, 250, 0]),
        ("trailing", 4, [999, 749, 499, 249]),
        ("linspace", 4, [999, 666, 333, 0]),
        ("leading", 7, [852, 710, 568, 426, 284, 142, 0]),
        ("trailing", 7, [999, 856, 713, 570, 428, 285, 142]),
        ("linspace", 7, [999, 832, 666, 500, 333, 166, 0]),
        ("leading_inner", 4, [800, 600, 400, 200]),
        ("linspace_inner", 4, [999, 749, 500, 250]),
        ("linspace_exact", 7, [999, 832.5, 666, 499.5, 333, 166.5, 0]),
    ],
)
def test_the_spacings_of_ddpm_tables_are_those_of_their_papers(spacing, steps, timesteps):
    """Table 2 of Lin et al. 2024, of timesteps from 0 to T - 1; timestep i is the time (i + 1) / T. `inner` is one step more
    without the first timestep."""
    times = nodes(spacing, steps, ddpm("linear"))
    np.testing.assert_array_equal(times, np.float32([*((np.asarray(timesteps) + 1) / 1000), 0]))


def test_stable_diffusion_s_grid_is_shifted_and_ends_at_the_first_timestep():
    """50 steps visit the timesteps 981, 961 .. 1 and end at timestep 0, whose noise is sqrt(1 - abar_0)."""
    process, solver = ddpm("scaled_linear"), DDIM(50, spacing="leading", offset=1, end="timestep")
    times = solver.times(process)
    np.testing.assert_array_equal(times, np.float32([*(np.arange(981, 0, -20) + 1), 1]) / 1000)
    assert process.sigma(times[-1]) == pytest.approx(0.00085**0.5, rel=1e-5)
    x = run(solver, process, denoise=lambda x, t, c: jnp.ones_like(x))
    # along x0 = 1 the noise eps of the start stays
    eps = (run(DDIM(50), process, denoise=lambda x, t, c: x, path=True)[0] - process.alpha(times[0])) / process.sigma(times[0])
    np.testing.assert_allclose(x, process.alpha(times[-1]) + process.sigma(times[-1]) * eps, rtol=1e-4)


def test_a_solver_that_ends_at_a_timestep_evaluates_heuns_second_slope_in_the_last_step_too():
    process = ddpm("linear")
    counts = {end: evaluations(lambda x, t, c: x, process, Heun(5, end=end)) for end in ("data", "timestep")}
    assert counts == {"data": 9, "timestep": 10}


def test_as_many_steps_as_timesteps_are_all_timesteps():
    for spacing in ("leading", "trailing", "linspace"):
        np.testing.assert_array_equal(nodes(spacing, 50, ddpm("cosine", 50)), np.float32(np.arange(50, -1, -1) / 50))


# What is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_is_made_again_from_its_config(name):
    assert not {"offset", "end"} & SOLVERS[name](7).config().keys()
    for given in ({"spacing": "log_snr"}, {"spacing": "leading", "offset": 1, "end": "timestep"}):
        config = json.loads(json.dumps(SOLVERS[name](7, **given).config()))
        assert SOLVERS[config.pop("name")](**config) == SOLVERS[name](7, **given)
    assert issubclass(SOLVERS[name], Solver) and SOLVERS[name].name == name


def run(solver, process=None, denoise=lambda x, t, c: x, **arguments):
    """Two samples of two numbers, by default of a denoiser that does nothing."""
    arguments = {"indices": np.arange(2), **arguments}
    return sample(denoise, process or vp_cosine(), shape=(2,), solver=solver, key=jax.random.key(0), **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DDIM(0), "`steps`.*at least 1.*0"),
        (lambda: DDIM(10, eta=1.5), "`eta`.*1.5"),
        (lambda: DDIM(10, eta=-0.1), "`eta`.*-0.1"),
        (lambda: DDIM(10, spacing="cubic"), "`spacing`.*uniform, log_snr.*'cubic'"),
        (lambda: DDIM(10, end="noise"), "`end`.*data, timestep.*'noise'"),
        (lambda: DDIM(10, spacing="linspace", offset=1), "`offset`.*leading or leading_inner.*1"),
        (lambda: DDIM(10, spacing="leading", offset=-1), "`offset`.*at least 0.*-1"),
        (lambda: run(DDIM(1000, spacing="leading", offset=1), ddpm("linear")), "`offset` .=1.*1000 steps.*ddpm_linear"),
        (lambda: run(DDIM(10, end="timestep")), "`end` timestep.*DDPM tables.*vp_cosine"),
        (lambda: DDPM(10, variance="learned"), "`variance`.*small or large.*'learned'"),
        (lambda: Heun(10, churn=-1.0), "`churn`.*-1.0"),
        (lambda: Heun(10, churn_min=2.0, churn_max=1.0), "`churn_min`.*churn_max=1.0.*2.0"),
        (lambda: Heun(10, churn_noise=0.0), "`churn_noise`.*0.0"),
        (lambda: PredictorCorrector(10, predictor="heun"), "`predictor`.*reverse_diffusion, ancestral.*'heun'"),
        (lambda: PredictorCorrector(10, correctors=-1), "`correctors`.*-1"),
        (lambda: PredictorCorrector(10, snr=0.0), "`snr`.*0.0"),
        (lambda: run(DDIM(10, spacing="leading")), "'leading'.*vp_cosine"),
        (lambda: run(UniPC(2000, spacing="trailing"), ddpm("linear")), "`steps` .=2000.*1000 timesteps.*ddpm_linear"),
        (lambda: run(EulerMaruyama(100)), "euler_maruyama.*vp_cosine.*g² dt is .* must be at most 2"),
        (lambda: run(EulerMaruyama(100), flow()), "euler_maruyama.*flow.*g² dt"),
        (lambda: run(PredictorCorrector(100, predictor="euler_maruyama"), flow()), "predictor_corrector.*flow.*g² dt"),
        (
            lambda: on_breakpoints(nodes("uniform", 1, vp_cosine())[:, None], (jnp.asarray(0.5),)),
            "must be at least 2 for 1 breakpoints",
        ),
        (lambda: run(DDIM(2), indices=None), "leading axis"),
        (lambda: run(DDIM(2), condition=(jnp.zeros(2), jnp.zeros(3))), "leading axis.*2.*3"),
        (lambda: run(DDIM(2), condition=jnp.zeros(3)), "leading axis.*2.*3"),
        (lambda: run(DDIM(2), indices=np.arange(0)), "leading axis.*0"),
    ],
)
def test_impossible_runs_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
