"""Solvers converge: on a mixture to trajectories that SciPy integrates, on a Gaussian to its moments; each with its order."""

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.process import PROCESSES, Process, ve, vp_linear
from jaxdiff.solvers import DDIM, DDPM, SOLVERS, DPMSolver, EulerMaruyama, Heun, PredictorCorrector, UniPC
from jaxdiff.solvers import DPMSolverSDE as SDE
from jaxdiff.solvers.base import Node
from jaxdiff.solvers.driver import Grid, begin, integrate, sample_keys
from jaxdiff.solvers.grid import on_breakpoints
from jaxdiff.solvers.multistep import Last

pytestmark = pytest.mark.usefixtures("double_precision")


# Trajectories: a mixture of two classes, 32 points of its flow ------------------------------------------------------------

COUNT = 32
# By fours, so that a tau at a third of the way lies a third or two thirds into a step of every grid.
INTERVALS = (64, 256, 1024)
DETERMINISTIC = {solver.name: solver for solver in (DDIM, Heun, DPMSolver, UniPC)}


def mixture(process: Process) -> GaussianMixture:
    """Two classes of two components each, on the line."""
    means, stds = [[[-1.0], [0.8]], [[-0.4], [1.2]]], [[0.3, 0.5], [0.4, 0.25]]
    return GaussianMixture(jnp.asarray(means), jnp.asarray(stds), jnp.asarray([[0.0, -0.5], [0.3, 0.0]]), process)


def classes():
    """The class that each point starts under, and the one that it ends under."""
    starts = jnp.arange(COUNT) % 2
    return starts, 1 - starts


@jax.jit
def velocity(process, log_level, y, condition):
    """dy / d log S = y - m of y = x / alpha at the noise level S = sigma / alpha (Karras et al. 2022, eq. 1 and 3)."""
    t = process.time(-2 * log_level)
    return y - mixture(process)(y[:, None] * process.alpha(t), t, condition)[:, 0]


def flow_by_scipy(process: Process, x, t: float, t_end: float, condition):
    """The probability flow from `t` to `t_end`, by a Runge-Kutta method of order 8."""
    log_level = lambda t: -0.5 * float(process.log_snr(t))  # noqa: E731
    solved = solve_ivp(
        lambda at, y: np.asarray(velocity(process, at, y, condition)),
        (log_level(t), log_level(t_end)), np.asarray(x) / float(process.alpha(t)), method="DOP853", rtol=1e-11, atol=1e-12,
    )  # fmt: skip
    assert solved.success
    return solved.y[:, -1] * float(process.alpha(t_end))


@partial(jax.jit, static_argnames="solver")
def run(process, tau, grid, first_step, x, *, solver):
    """The switched sampler on a grid of any length, filled up to one shape: one program for all of them."""
    keys = sample_keys(jax.random.key(0), jnp.arange(COUNT))
    switched = guidance.switching(mixture(process), tau)
    return integrate(switched, process, solver, grid, begin(switched, solver, x), keys, classes(), first_step=first_step).x


class Case(NamedTuple):
    """A process, the states at the first node, the samples that a switch at tau leads to, and tau."""

    process: Process
    x: np.ndarray
    truth: np.ndarray
    tau: float


def case(name: str, switched: bool) -> Case:
    """The truth by SciPy; the last step to t = 0 is the posterior mean for every solver, and for the truth."""
    process = PROCESSES[name]()
    times = np.asarray(DPMSolver(4).times(process), np.float64)
    first, last = times[0], times[-2]
    low, high = float(process.log_snr(first)), float(process.log_snr(last))
    tau = float(np.float32(process.time(low + (high - low) / 3))) if switched else 0.0
    starts, ends = classes()
    x = np.asarray(process.prior(jax.random.key(3), (COUNT,), None, first))
    if switched:
        reached = flow_by_scipy(process, flow_by_scipy(process, x, first, tau, starts), tau, last, ends)
    else:
        reached = flow_by_scipy(process, x, first, last, starts)
    truth = mixture(process)(jnp.asarray(reached)[:, None], last, ends if switched else starts)
    return Case(process, x[:, None], np.asarray(truth), tau)


def slope(sizes, errors) -> float:
    """The power with which the errors fall."""
    return -float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def errors(name: str, case: Case, node_at_tau: bool) -> list[float]:
    """The root mean square error on each grid."""
    made, total = DETERMINISTIC[name], INTERVALS[-1] + 1
    found = []
    for intervals in INTERVALS:
        times = jnp.broadcast_to(made(intervals + 1, spacing="log_snr").times(case.process)[:, None], (intervals + 2, COUNT))
        taken, restarts = on_breakpoints(times, (jnp.float32(case.tau),) if node_at_tau else ())
        missing = total - (intervals + 1)
        grid = Grid(
            jnp.concatenate([jnp.broadcast_to(taken[:1], (missing, COUNT)), taken]),
            jnp.concatenate([jnp.zeros((missing, COUNT), bool), restarts]),
        )
        x = run(case.process, case.tau, grid, missing, jnp.asarray(case.x), solver=made(total, spacing="log_snr"))
        found.append(float(np.sqrt(np.mean((np.asarray(x) - case.truth) ** 2))))
    return found


@pytest.fixture(scope="module", params=["vp_linear", "ve", "flow"])
def plain(request, double_precision) -> Case:
    """Without a switch."""
    return case(request.param, switched=False)


@pytest.fixture(scope="module")
def switched(double_precision) -> Case:
    """With a switch of every class to the other."""
    return case("vp_linear", switched=True)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_error_falls_with_the_order_of_the_solver(name, plain):
    assert slope(INTERVALS, errors(name, plain, node_at_tau=True)) == pytest.approx(DETERMINISTIC[name].order, abs=0.15)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_switch_keeps_the_order_where_a_node_lies_on_it(name, switched):
    assert slope(INTERVALS, errors(name, switched, node_at_tau=True)) == pytest.approx(DETERMINISTIC[name].order, abs=0.15)


@pytest.mark.parametrize("name", ["heun", "dpm_solver", "unipc"])
def test_a_switch_between_nodes_leaves_the_first_order_alone(name, switched):
    with_node, without = (errors(name, switched, node_at_tau=there) for there in (True, False))
    assert slope(INTERVALS[1:], without[1:]) == pytest.approx(1, abs=0.15)
    assert with_node[-1] < without[-1] / 20


# Moments: the steps of a Gaussian are affine, so its mean and variance are carried exactly ----------------------------------

NODES = 256
MEAN, STD = 0.7, 0.6


def gaussian(process: Process, dimension: int) -> GaussianMixture:
    """N(MEAN, STD²) in every direction."""
    return GaussianMixture(jnp.full((1, 1, dimension), MEAN), jnp.full((1, 1), STD), jnp.zeros((1, 1)), process)


def marginal(process: Process, t) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the Gaussian at times."""
    alpha, sigma = np.asarray(process.alpha(t)), np.asarray(process.sigma(t))
    return alpha * MEAN, alpha**2 * STD**2 + sigma**2


def moments(solver, process: Process) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance at every node of a run that starts from the marginal of its first node, without sampling.

    A step is affine in the state, the noise and what the history carries of earlier states. Zero and unit vectors put
    through it give its matrices, all steps at once, since a batch may hold every node. Two coordinates separate the parts of a
    history that are states, which are propagated, from those that only depend on the grid.
    """
    times = np.asarray(solver.times(process))
    at = np.minimum(np.arange(NODES), solver.steps - 1)  # filled up to one shape with the last step again
    node = Node(jnp.asarray(times[at]), jnp.asarray(times[at + 1]), jnp.zeros(NODES, bool))
    denoise = partial(lambda denoiser, x, t: denoiser(x, t, jnp.zeros(NODES, int)), gaussian(process, 2))
    zero, one = jnp.zeros((NODES, 2)), jnp.ones((NODES, 2))
    history, tree = jax.tree.flatten(solver.history(zero))
    states = [index for index, leaf in enumerate(history) if leaf.shape == zero.shape]

    def step(x, noise, history):
        with jax.disable_jit(solver.name == "heun"):  # its branch at the end would be compiled anew at each call
            stepped = solver.step(process, denoise, x, node, lambda draw: [noise][draw], jax.tree.unflatten(tree, history))
        return stepped.x, jax.tree.leaves(stepped.history)

    for _ in range(2 if history else 0):  # no solver looks back further than two steps
        after = step(zero, zero, history)[1]
        history = [
            zero if index in states else jnp.concatenate([first[:1], new[:-1].astype(first.dtype)])
            for index, (first, new) in enumerate(zip(history, after, strict=True))
        ]

    def column(x=zero, noise=zero, carried=None):
        given = [one if index == carried else leaf for index, leaf in enumerate(history)]
        x, after = step(x, noise, given)
        return np.stack([np.asarray(x)[:, 0], *(np.asarray(after[index])[:, 0] for index in states)], axis=-1)

    offset = column()
    matrix = np.stack([column(x=one), *(column(carried=index) for index in states)], axis=-1) - offset[..., None]
    spread = column(noise=one) - offset
    mean, covariance = np.zeros(1 + len(states)), np.zeros((1 + len(states),) * 2)
    mean[0], covariance[0, 0] = (values[0] for values in marginal(process, times))
    means, variances = [mean[0]], [covariance[0, 0]]
    for index in range(solver.steps):
        mean = matrix[index] @ mean + offset[index]
        covariance = matrix[index] @ covariance @ matrix[index].T + np.outer(spread[index], spread[index])
        means.append(mean[0])
        variances.append(covariance[0, 0])
    return np.asarray(means), np.asarray(variances)


CHURNED = {"churn": 6.0, "churn_min": 0.0, "churn_max": 1e3, "churn_noise": 1.0}
STOCHASTIC = {
    "ddim_half": partial(DDIM, eta=0.5),
    "ddim_one": partial(DDIM, eta=1.0),
    "ddpm_small": DDPM,
    "ddpm_large": partial(DDPM, variance="large"),
    "heun_churned": partial(Heun, **CHURNED),
    "dpm_solver_sde": SDE,
    "euler_maruyama": EulerMaruyama,
    "reverse_diffusion": partial(PredictorCorrector, correctors=0),
    "ancestral": partial(PredictorCorrector, correctors=0, predictor="ancestral"),
    "euler_maruyama_predictor": partial(PredictorCorrector, correctors=0, predictor="euler_maruyama"),
}


@pytest.mark.parametrize("name", STOCHASTIC)
def test_expectations_converge_with_the_order_of_the_solver(name):
    """The error of mean and standard deviation, at the node before t = 0 where it is worst."""
    steps, found, made = (64, 128, 256), [], vp_linear()
    for count in steps:
        solver = STOCHASTIC[name](count, spacing="log_snr")
        means, variances = moments(solver, made)
        mean, variance = marginal(made, solver.times(made))
        error = np.hypot(means - mean, np.sqrt(variances) - np.sqrt(variance)) / np.sqrt(variance)
        found.append(error[:-1].max())
    assert slope(steps, found) == pytest.approx(solver.order, abs=0.15)


def second_order_law(intervals: int) -> float:
    """The error of the first two moments of SDE-DPM-Solver++(2M) on a mixture, from sigma = 1.6 down to 0.8.

    The state and the one before it have a joint density, on a lattice; a step carries it on by a sum over the lattice, which
    is exact to rounding for Gaussian kernels wider than its spacing.
    """
    process, solver = ve(0.8, 1.6), SDE(intervals + 1)
    means, stds, weights = np.asarray([-1.0, 0.8]), np.asarray([0.3, 0.5]), np.asarray([0.6, 0.4])
    exact = GaussianMixture(*map(jnp.asarray, (means[None, :, None], stds[None], np.log(weights)[None])), process)
    denoise = lambda x, t: exact(x, t, jnp.zeros(len(x), int))  # noqa: E731
    points = np.linspace(-9, 9, 91)
    spacing, count, times = points[1] - points[0], len(points), np.asarray(solver.times(process), np.float64)[:-1]

    def density(values, mean, std):
        return np.exp(-0.5 * ((values - mean) / std) ** 2) / std / np.sqrt(2 * np.pi)

    def marginal(t):
        return density(points[:, None], means, np.hypot(stds, float(process.sigma(t)))) @ weights

    node = lambda index: Node(  # noqa: E731
        jnp.full(count**2, times[index]), jnp.full(count**2, times[index + 1]), jnp.zeros(count**2, bool)
    )
    before, state = (jnp.asarray(array.reshape(-1, 1)) for array in np.meshgrid(points, points, indexing="ij"))
    joint = np.broadcast_to(marginal(times[0]) / (count * spacing), (count, count))  # of whatever came before
    for index in range(intervals):
        last, length = max(index - 1, 0), 0.0
        if index:
            length = float(process.log_snr(times[index]) - process.log_snr(times[last])) / 2
        history = Last(denoise(before, jnp.asarray(times[last])), jnp.full((count**2, 1), length))
        still, moved = (
            np.asarray(solver.step(process, denoise, state, node(index), lambda _, z=z: jnp.full((count**2, 1), z), history).x)
            for z in (0.0, 1.0)
        )
        onward = density(points, still, (moved - still)[0, 0]).reshape(count, count, count)
        joint = np.einsum("ab,abc->bc", joint, onward, optimize=True) * spacing
    wrong = (joint.sum(0) * spacing - marginal(times[-1])) * spacing
    return float(np.hypot(wrong @ points, wrong @ points**2))


def test_the_multistep_sde_solver_is_of_second_order_on_a_mixture_too():
    """Where the posterior mean isn't linear, its noise enters the slope; a Gaussian would not show it."""
    assert slope((8, 16), [second_order_law(8), second_order_law(16)]) == pytest.approx(SDE.order, abs=0.15)


PLAIN = {**SOLVERS, "predictor_corrector": partial(PredictorCorrector, correctors=0)}


SCHEDULES = {"vp_cosine", "ve", "flow"}
"""A process of each kind: every solver is tried on these in `make test`."""


def recovering(name: str, process: str):
    """A case; solvers know a process by its scale and noise alone, so that two of them are tried on all in `make test`."""
    quick = process in SCHEDULES or name in ("ddim", "dpm_solver_sde")
    return pytest.param(name, process, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "process"), [recovering(*pair) for pair in product(PLAIN, PROCESSES)])
def test_every_solver_recovers_a_gaussian_on_every_process(name, process):
    solver, made = PLAIN[name](NODES, spacing="log_snr"), PROCESSES[process]()
    solver.check(made)
    means, variances = moments(solver, made)
    tolerance = 0.015 if solver.order == 1 else 0.0005
    assert means[-1] == pytest.approx(MEAN, abs=tolerance)
    assert np.sqrt(variances[-1]) == pytest.approx(STD, abs=tolerance)


@partial(jax.jit, static_argnames="solver")
def corrected(process, times, x, noises, *, solver):
    """A run with given noise, (S, 2, B, D), of a solver without a history."""
    count, dimension = x.shape
    denoise = partial(lambda denoiser, x, t: denoiser(x, t, jnp.zeros(count, int)), gaussian(process, dimension))

    def body(x, inputs):
        t, t_next, noise = inputs
        node = Node(jnp.full(count, t), jnp.full(count, t_next), jnp.zeros(count, bool))
        return solver.step(process, denoise, x, node, noise.__getitem__, ()).x, None

    return jax.lax.scan(body, x, (times[:-1], times[1:], noises))[0]


@pytest.mark.parametrize("process", PROCESSES)
def test_the_corrector_recovers_a_gaussian_on_every_process(process, rng):
    """By 64 draws in 64 dimensions, as its step has random norms: the mean is known to 0.01, the deviation to 1.1 %.

    The size of the Langevin steps itself widens the law by half of snr² = 1.3 %.
    """
    solver, made = PredictorCorrector(64, spacing="log_snr"), PROCESSES[process]()
    times = solver.times(made)
    mean, variance = marginal(made, times)
    x = mean[0] + np.sqrt(variance[0]) * rng.standard_normal((64, 64))
    x = np.asarray(corrected(made, times, jnp.asarray(x), jnp.asarray(rng.standard_normal((64, 2, 64, 64))), solver=solver))
    assert x.mean() == pytest.approx(MEAN, abs=4 * STD / 64)
    assert x.std() == pytest.approx(STD, rel=4 * 0.011 + 0.013)
