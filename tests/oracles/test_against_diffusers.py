"""Whole runs compared with diffusers' schedulers, with the same model, initial state and noise.

The model is the exact posterior mean of a mixture: in float64 by NumPy for diffusers, as its kind of prediction, and in
float32 for jaxdiff. diffusers' tables of alphas_cumprod are float32, which leaves three digits of 1 - abar at the first
timesteps; they are given to it in float64 here.

Where the two differ by design:

- Timesteps. diffusers' timestep i is our time (i + 1) / T, and its t = -1 our t = 0. Its DPM-Solver and UniPC lay the spacings
  "leading" and "linspace" over one step more and leave the last node out; its DDIM steps from i to i - T // S, whichever
  timestep comes next, so that of its spacings only those with that stride are chains. jaxdiff steps from node to node.
- The last step. With `fixed_large`, diffusers draws noise in a last step from a timestep above 0; jaxdiff never does.
- Noise levels between timesteps. Its Heun interpolates sigma / alpha linearly, jaxdiff log alpha²: they agree on timesteps.
- Clipping is a guidance in jaxdiff, so it is off here, but where it is compared: eps follows from the clipped x_0
  (`use_clipped_model_output=True`); diffusers' default is `DDIM(clip=)`.
"""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    from diffusers import (
        DDIMScheduler,
        DDPMScheduler,
        DPMSolverMultistepScheduler,
        EDMDPMSolverMultistepScheduler,
        EDMEulerScheduler,
        EulerDiscreteScheduler,
        HeunDiscreteScheduler,
        UniPCMultistepScheduler,
    )
    from diffusers.schedulers import scheduling_ddpm
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from jaxdiff.denoiser import GaussianMixture
from jaxdiff.guidance import clipped
from jaxdiff.interop.scheduler import grids
from jaxdiff.interop.scheduler import read as read_scheduler
from jaxdiff.process import Process, ddpm, edm
from jaxdiff.solvers import DDIM, DDPM, SOLVERS, DPMSolver, DPMSolverSDE, Heun, UniPC
from jaxdiff.solvers.driver import Grid, begin, integrate, sample_keys
from jaxdiff.solvers.grid import nodes

pytestmark = [
    # diffusers hands PyTorch's tensors to NumPy in a way that both have left behind
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

COUNT, DIMENSION, LONGEST = 8, 4, 50
TABLES = {
    "linear": np.linspace(1e-4, 0.02, 1000),
    "scaled_linear": np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2,
    "cosine": np.minimum(
        0.999,
        1
        - np.cos((np.arange(1, 1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        / np.cos((np.arange(1000) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2,
    ),
}
_RNG = np.random.default_rng(5)
MEANS, STDS, WEIGHTS = _RNG.normal(0, 0.5, (3, DIMENSION)), np.asarray([0.3, 0.5, 0.4]), np.asarray([0.5, 0.2, 0.3])
START = _RNG.normal(size=(COUNT, DIMENSION)).astype(np.float32)
KEY = 11


def posterior_mean(x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
    """E[x_0 | x_t = x] of the mixture, float64."""
    spread = alpha**2 * STDS**2 + sigma**2
    centred = x[:, None] - alpha * MEANS
    log_density = np.log(WEIGHTS) - 0.5 * (centred**2).sum(-1) / spread - 0.5 * DIMENSION * np.log(spread)
    share = np.exp(log_density - log_density.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return np.einsum("bk,bkd->bd", share, MEANS + (alpha * STDS**2 / spread)[:, None] * centred)


def prediction(kind: str, x: np.ndarray, alpha: float, sigma: float):
    """What a perfect network of this kind gives, as diffusers takes it."""
    x0 = posterior_mean(np.asarray(x, np.float64), alpha, sigma)
    eps = (np.asarray(x, np.float64) - alpha * x0) / sigma
    return torch.from_numpy({"epsilon": eps, "v_prediction": alpha * eps - sigma * x0, "sample": x0}[kind])


@partial(jax.jit, static_argnames=("solver", "bound"))
def _run(process, times, first_step, x, *, solver, bound):
    exact = GaussianMixture(
        jnp.asarray(MEANS[None], jnp.float32), jnp.asarray(STDS[None], jnp.float32),
        jnp.asarray(np.log(WEIGHTS)[None], jnp.float32), process,
    )  # fmt: skip
    exact = exact if bound is None else clipped(exact, -bound, bound)
    grid = Grid(jnp.broadcast_to(times[:, None], (LONGEST + 1, COUNT)), jnp.zeros((LONGEST + 1, COUNT), bool))
    keys = sample_keys(jax.random.key(KEY), jnp.arange(COUNT))
    condition = jnp.zeros(COUNT, jnp.int32)
    return integrate(exact, process, solver, grid, begin(exact, solver, x), keys, condition, first_step=first_step).x


def by_jaxdiff(process: Process, solver, times, x, bound: float | None = None) -> np.ndarray:
    """A run over these times, filled up in front to one length, so that all runs of a solver are one program; the posterior
    mean clipped to within `bound`."""
    missing = LONGEST + 1 - len(times)
    filled = jnp.asarray(np.concatenate([np.full(missing, times[0]), times]), jnp.float32)
    return np.asarray(_run(process, filled, missing, jnp.asarray(x, jnp.float32), solver=solver, bound=bound))


def noise(count: int):
    """The noise of each step of a run of `count` steps of ours, as torch has it."""
    keys = sample_keys(jax.random.key(KEY), jnp.arange(COUNT))
    draw = lambda key, index: jax.random.normal(jax.random.fold_in(key, index + 1), (DIMENSION,))  # noqa: E731
    indices = jnp.arange(LONGEST - count, LONGEST)
    drawn = jax.vmap(lambda index: jax.vmap(lambda key: draw(key, index))(keys))(indices)
    return torch.from_numpy(np.array(drawn, np.float64))


def made(scheduler, schedule: str, **options):
    """A scheduler of a table, and the table."""
    betas = TABLES[schedule]
    scheduler = scheduler(trained_betas=betas.tolist(), **options)
    scheduler.alphas_cumprod = torch.from_numpy(np.cumprod(1 - betas))
    return scheduler


def by_diffusers(scheduler, count: int, kind: str, step) -> tuple[np.ndarray, np.ndarray]:
    """A run of a scheduler: the sample, and our times of its timesteps."""
    scheduler.set_timesteps(count)
    x, abar = torch.from_numpy(START.astype(np.float64)), scheduler.alphas_cumprod.numpy()
    for index, t in enumerate(scheduler.timesteps):
        output = prediction(kind, x.numpy(), abar[int(t)] ** 0.5, (1 - abar[int(t)]) ** 0.5)
        x = step(output, t, x, index)
    return x.numpy(), np.append((scheduler.timesteps.numpy() + 1) / 1000, 0.0)


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """To 1e-5, and about something."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    assert np.abs(theirs - START).max() > 0.3


# Spacings and tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_spacings_are_those_of_ddim_and_ddpm(spacing):
    for count in (1, 2, 7, 10, 30, 50, 250, 999, 1000):
        for scheduler in (DDIMScheduler, DDPMScheduler):
            theirs = scheduler(timestep_spacing=spacing)
            theirs.set_timesteps(count)
            expected = np.append((theirs.timesteps.numpy() + 1) / 1000, 0.0).astype(np.float32)
            np.testing.assert_array_equal(nodes(spacing, count, ddpm("linear")), expected)


STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True,
}  # fmt: skip
SAMPLERS = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "dpm_solver": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
    "heun": HeunDiscreteScheduler,
}


@pytest.mark.parametrize("given", [*({"timestep_spacing": name} for name in ("leading", "trailing", "linspace")), {}], ids=str)
@pytest.mark.parametrize("solver", [*SAMPLERS, "euler"])
def test_timesteps_of_one_file_are_those_of_each_of_diffusers_samplers(solver, given):
    """With the defaults of each class, and with the spacing named in the file."""
    euler = solver == "euler"
    given = {**STABLE_DIFFUSION, **given, **({"_class_name": "EulerDiscreteScheduler"} if euler else {})}
    process, _ = read_scheduler(given)
    grid = grids(given)["ddim" if euler else solver]
    for count in (10, 20, 50):
        theirs = (EulerDiscreteScheduler if euler else SAMPLERS[solver]).from_config(given)
        theirs.set_timesteps(count)
        expected = theirs.timesteps.numpy()
        if solver == "heun":
            expected = np.append(expected[0], expected[1::2])  # each but the first is there twice
        times = (DDIM if euler else SOLVERS[solver])(count, **grid).times(process)
        np.testing.assert_allclose(1000 * np.asarray(times[:-1]) - 1, expected, atol=1e-3)
        final = theirs.final_alpha_cumprod if solver == "ddim" else 1.0
        assert process.alpha(times[-1]) ** 2 == pytest.approx(float(final), rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("linear", {"beta_schedule": "linear"}),
        ("scaled_linear", {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
        ("cosine", {"beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_the_tables_are_those_of_ddpm(schedule, options):
    abar = DDPMScheduler(**options).alphas_cumprod.numpy()
    alpha = np.asarray(ddpm(schedule).alpha((np.arange(1000) + 1) / 1000))
    # float32 tables: rounding grows where 1 - beta is 1e-3
    np.testing.assert_allclose(alpha[:-1] ** 2, abar[:-1], rtol=1e-3)


@pytest.mark.parametrize("schedule", TABLES)
def test_zero_terminal_snr_is_the_rescaling_of_diffusers(schedule):
    """Its last alpha is 0, ours that of log SNR = -20."""
    betas = rescale_zero_terminal_snr(torch.from_numpy(TABLES[schedule]))
    theirs = np.sqrt(np.cumprod(1 - betas.numpy()))
    alpha = np.asarray(ddpm(schedule, zero_terminal_snr=True).alpha((np.arange(1000) + 1) / 1000))
    np.testing.assert_allclose(alpha[:-1], theirs[:-1], rtol=2e-4)
    assert theirs[-1] < 1e-6 and alpha[-1] == pytest.approx(np.exp(-10), rel=1e-4)


# DDPM and DDIM --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variance", "spacing", "count"),
    [
        *(("small", spacing, count) for spacing in ("leading", "trailing", "linspace") for count in (7, 20, 50)),
        *(("large", spacing, count) for spacing in ("leading", "linspace") for count in (7, 50)),
    ],
)
def test_ddpm_is_the_ddpm_scheduler(variance, spacing, count, monkeypatch):
    """The large variance on those spacings alone that end on timestep 0."""
    scheduler = made(DDPMScheduler, "linear", variance_type=f"fixed_{variance}", clip_sample=False, timestep_spacing=spacing)
    drawn, solver = noise(count), DDPM(LONGEST, variance=variance)

    def step(output, t, x, index):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: drawn[index])
        return scheduler.step(output, t, x).prev_sample

    theirs, times = by_diffusers(scheduler, count, "epsilon", step)
    np.testing.assert_array_equal(times.astype(np.float32), nodes(spacing, count, ddpm("linear")))
    agree(by_jaxdiff(ddpm("linear"), solver, times, START), theirs)


@pytest.mark.parametrize(
    ("spacing", "count"), [("leading", 7), ("leading", 20), ("leading", 50), ("trailing", 10), ("trailing", 50)]
)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_is_the_ddim_scheduler(eta, spacing, count):
    """Where T // S is its stride; "leading" of 7 steps begins at timestep 852."""
    scheduler = made(DDIMScheduler, "cosine", prediction_type="v_prediction", clip_sample=False, timestep_spacing=spacing)
    drawn = noise(count)

    def step(output, t, x, index):
        return scheduler.step(output, t, x, eta=eta, variance_noise=drawn[index] if eta else None).prev_sample

    theirs, times = by_diffusers(scheduler, count, "v_prediction", step)
    np.testing.assert_array_equal(times.astype(np.float32), nodes(spacing, count, ddpm("cosine")))
    agree(by_jaxdiff(ddpm("cosine"), DDIM(LONGEST, eta=eta), times, START), theirs)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_both_forms_of_clipped_ddim_are_those_of_the_ddim_scheduler(kind, eta):
    """With the network's own eps beside the clipped x_0, diffusers' default, and with the eps of the clipped x_0, ours."""
    bound, count = 0.4, 20
    ends = []
    for recomputed in (False, True):
        scheduler = made(
            DDIMScheduler, "linear", prediction_type=kind, clip_sample=True, clip_sample_range=bound,
            timestep_spacing="leading",
        )  # fmt: skip
        drawn = noise(count)

        def step(output, t, x, index, scheduler=scheduler, recomputed=recomputed, drawn=drawn):
            own = {"eta": eta, "variance_noise": drawn[index] if eta else None, "use_clipped_model_output": recomputed}
            return scheduler.step(output, t, x, **own).prev_sample

        theirs, times = by_diffusers(scheduler, count, kind, step)
        solver = DDIM(LONGEST, eta=eta) if recomputed else DDIM(LONGEST, eta=eta, clip=(-bound, bound))
        agree(by_jaxdiff(ddpm("linear"), solver, times, START, bound if recomputed else None), theirs)
        ends.append(theirs)
    # a thousand tolerances apart
    assert np.abs(ends[0] - ends[1]).max() > 0.01


# DPM-Solver++ and UniPC -----------------------------------------------------------------------------------------------------

SPACED = [(spacing, count) for spacing in ("leading", "trailing", "linspace") for count in (5, 20, 50)]


@pytest.mark.parametrize(("spacing", "count"), SPACED)
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
def test_dpm_solver_is_the_multistep_scheduler(algorithm, spacing, count):
    scheduler = made(
        DPMSolverMultistepScheduler, "scaled_linear", algorithm_type=algorithm, solver_order=2, solver_type="midpoint",
        final_sigmas_type="zero", lower_order_final=True, timestep_spacing=spacing,
    )  # fmt: skip
    stochastic = algorithm.startswith("sde")
    drawn = noise(count)

    def step(output, t, x, index):
        return scheduler.step(output, t, x, variance_noise=drawn[index] if stochastic else None).prev_sample

    theirs, times = by_diffusers(scheduler, count, "epsilon", step)
    solver = (DPMSolverSDE if stochastic else DPMSolver)(LONGEST)
    agree(by_jaxdiff(ddpm("scaled_linear"), solver, times, START), theirs)


@pytest.mark.parametrize(("spacing", "count"), SPACED)
def test_unipc_is_the_unipc_scheduler(spacing, count):
    scheduler = made(
        UniPCMultistepScheduler, "scaled_linear", solver_order=2, solver_type="bh2", predict_x0=True,
        prediction_type="v_prediction", final_sigmas_type="zero", lower_order_final=True, timestep_spacing=spacing,
    )  # fmt: skip
    theirs, times = by_diffusers(
        scheduler, count, "v_prediction", lambda output, t, x, _: scheduler.step(output, t, x).prev_sample
    )
    agree(by_jaxdiff(ddpm("scaled_linear"), UniPC(LONGEST), times, START), theirs)


# Heun and EDM ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spacing", "count"), [("leading", 5), ("leading", 50), ("trailing", 20), ("linspace", 28)])
def test_heun_is_the_heun_scheduler(spacing, count):
    """In x / alpha, as diffusers has it; 28 steps of linspace lie on timesteps, 37 apart."""
    scheduler = made(HeunDiscreteScheduler, "linear", prediction_type="epsilon", timestep_spacing=spacing)
    scheduler.set_timesteps(count)
    abar = scheduler.alphas_cumprod.numpy()
    timesteps = scheduler.timesteps.numpy()
    assert len(timesteps) == Heun(count).evaluations
    x = torch.from_numpy(START / abar[int(timesteps[0])] ** 0.5)
    for t in scheduler.timesteps:
        assert float(t) == int(t)
        scaled = scheduler.scale_model_input(x, t).numpy()
        output = prediction("epsilon", scaled, abar[int(t)] ** 0.5, (1 - abar[int(t)]) ** 0.5)
        x = scheduler.step(output, t, x).prev_sample
    times = np.append((timesteps[::2] + 1) / 1000, 0.0)
    agree(by_jaxdiff(ddpm("linear"), Heun(LONGEST), times, START), x.numpy())


@pytest.mark.parametrize("count", [5, 18, 50])
@pytest.mark.parametrize(
    ("scheduler", "solver"),
    [(EDMEulerScheduler, DDIM), (EDMDPMSolverMultistepScheduler, DPMSolver)],
    ids=["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"],
)
def test_the_schedulers_of_edm_are_ddim_and_dpm_solver_on_the_edm_process(scheduler, solver, count):
    """On Karras's levels, with the network behind EDM's preconditioning; Euler's method in sigma is DDIM."""
    scheduler = scheduler()
    scheduler.set_timesteps(count)
    levels = scheduler.sigmas.numpy().astype(np.float64)
    x = torch.from_numpy(80.0 * START.astype(np.float64))
    for t, level in zip(scheduler.timesteps, levels, strict=False):
        scheduler.scale_model_input(x, t)
        skip, out = 0.25 / (level**2 + 0.25), 0.5 * level / (level**2 + 0.25) ** 0.5
        output = torch.from_numpy((posterior_mean(x.numpy(), 1.0, level) - skip * x.numpy()) / out)
        x = scheduler.step(output, t, x).prev_sample
    times = np.asarray(nodes("karras", count, edm()))
    np.testing.assert_allclose(edm().sigma(times), levels, rtol=5e-5)
    agree(by_jaxdiff(edm(), solver(LONGEST), times, 80.0 * START), x.numpy())
