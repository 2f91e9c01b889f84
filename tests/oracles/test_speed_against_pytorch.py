"""The baseline of `evaluate speed` does in PyTorch what jaxdiff does: the same outputs, from the same states."""

import json
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")

from evaluate import speed_series
from evaluate.__main__ import main
from evaluate.pytorch_methods import Solver, authors_search, denoise, safe, switched
from evaluate.speed_jaxdiff import Jaxdiff
from evaluate.speed_pytorch import PyTorch
from evaluate.speed_series import SeriesJaxdiff, SeriesPyTorch
from evaluate.speed_series_workload import SERIES, SeriesWorkload
from evaluate.speed_workload import NETWORKS, Workload
from jaxdiff import guidance
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.fairness import search_prefix
from jaxdiff.guidance.window import ALWAYS
from jaxdiff.process import ddpm, expand
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import sample_keys, starts
from tests.evaluate.test_speed import network_flops

SHAPE, BATCH, STEPS, TAU = (4, 4, 3), 6, 10, 0.6
SPREADS, SHIFTS = (0.3, 0.8), (-0.5, 0.4)
PROCESS = ddpm("cosine")


def exact(x, t, labels):
    """The posterior mean of two classes of Gaussian images, by jaxdiff's conventions."""
    alpha, sigma = expand(PROCESS.alpha(t), x), expand(PROCESS.sigma(t), x)
    spread, shift = (expand(jnp.asarray(each)[labels], x) for each in (SPREADS, SHIFTS))
    return shift + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (x - alpha * shift)


def model(x, timesteps, class_labels):
    """Its eps, by diffusers'."""
    abar = ABAR[timesteps.long()][:, None, None, None]
    spread, shift = (torch.tensor(each)[class_labels][:, None, None, None] for each in (SPREADS, SHIFTS))
    return SimpleNamespace(sample=(1 - abar).sqrt() * (x - abar.sqrt() * shift) / (abar * spread**2 + 1 - abar))


def solver(steps: int) -> Solver:
    from diffusers import DDIMScheduler

    betas = -np.expm1(-np.diff(np.asarray(PROCESS.coefficients, np.float64)))
    scheduler = DDIMScheduler(trained_betas=betas, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    return Solver(scheduler, scheduler.timesteps[:, None].repeat(1, BATCH), scheduler.alphas_cumprod)


ABAR = solver(STEPS).abar


def given(x) -> "torch.Tensor":
    """In double precision: single precision would lose x0 where alpha is 1e-4."""
    return torch.from_numpy(np.array(x, np.float64)).permute(0, 3, 1, 2)


def close(theirs, ours, tolerance=1e-5):
    error = np.linalg.norm(theirs.permute(0, 2, 3, 1).numpy() - ours) / np.linalg.norm(ours)
    assert error < tolerance, error


def drawn(denoiser, condition):
    """The first and the last states of jaxdiff's run."""
    x = sample(denoiser, PROCESS, shape=SHAPE, condition=condition, solver=DDIM(STEPS), key=jax.random.key(1), path=True)
    return np.asarray(x[0]), np.asarray(x[-1])


def test_attribute_switching():
    ends = np.arange(BATCH) % 2
    start, ours = drawn(guidance.switching(exact, TAU), (jnp.asarray(1 - ends), jnp.asarray(ends)))
    labels = switched(torch.from_numpy(1 - ends), torch.from_numpy(ends), TAU, PROCESS.timesteps)
    close(denoise(solver(STEPS), model, given(start), labels, dtype=torch.float64), ours)


def test_the_safe_denoiser():
    ends = np.arange(BATCH) % 2
    unsafe = np.random.default_rng(0).uniform(-1, 1, (5, *SHAPE)).astype(np.float32)
    clipped = guidance.clipped(exact)
    start, ours = drawn(guidance.safe(clipped, PROCESS, references(unsafe), strength=0.4, window=ALWAYS), jnp.asarray(ends))
    steps = solver(STEPS)
    adjust = safe(steps, given(unsafe).flatten(1), strength=0.4, max_snr=1e12)
    close(denoise(steps, model, given(start), lambda _: torch.from_numpy(ends), dtype=torch.float64, adjust=adjust), ours)


def test_the_authors_search():
    key, timesteps = jax.random.key(2), PROCESS.timesteps
    ours = search_prefix(
        exact, PROCESS, conditions=(0, 1), shape=SHAPE, solver=DDIM(timesteps), key=key, batch=BATCH,
        path="own", weight="beta_eps", norm="batch", drop_first=False,
    )  # fmt: skip
    x = given(starts(PROCESS, sample_keys(key, jnp.arange(BATCH)), SHAPE, None)[0])
    both = tuple(torch.full((BATCH,), label) for label in (0, 1))
    found = authors_search(solver(timesteps), model, x, both, dtype=torch.float64, steps=timesteps)
    # jaxdiff has tau = 1 as a candidate too
    assert found.taus.tolist() == [10 * i for i in range(99, -1, -1)] and found.skipped_seconds == 0
    np.testing.assert_allclose(found.curve[::-1], ours.curve[:-1], rtol=2e-3)
    assert found.tau / timesteps == pytest.approx(ours.tau, abs=1e-6) and 0 < ours.tau < 1


def test_the_authors_search_extrapolates_the_time_of_skipped_steps():
    both = tuple(torch.full((BATCH,), label) for label in (0, 1))
    x = torch.randn((BATCH, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    found = authors_search(solver(1000), model, x, both, dtype=torch.float64, steps=20)
    assert found.taus.tolist() == [990, 980] and found.skipped_seconds > 0


@pytest.fixture(scope="module")
def workload():
    return Workload(NETWORKS["rehearsal"], 3, 5, 2, 1, 2, 2, 20, 5, 0)


@pytest.fixture(scope="module")
def jaxdiff(workload, tmp_path_factory):
    framework = Jaxdiff(workload)
    framework.set_up("cpu", tmp_path_factory.mktemp("jaxdiff"))
    return framework


@pytest.fixture(scope="module")
def pytorch(workload, jaxdiff, tmp_path_factory):
    framework = PyTorch(workload)
    framework.set_up("cpu", tmp_path_factory.mktemp("pytorch"))
    framework.load_weights(*jaxdiff.exported())
    return framework


def test_one_pass_of_the_network(workload, jaxdiff, pytorch):
    x = np.random.default_rng(0).standard_normal((3, *workload.shape), np.float32)
    t, labels = np.array([0.01, 0.5, 1.0], np.float32), workload.labels(3)
    ours, theirs = jaxdiff.one_pass(x, t, labels), pytorch.one_pass(x, t, labels)
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(ours)


def test_pytorchs_operations_are_those_of_the_blocks(workload, pytorch):
    """Labels are looked up there, where jaxdiff multiplies; back, every product has two."""
    config = workload.config
    assert pytorch.pass_flops == network_flops(config) - 2 * (config.values[0] + 1) * 4 * config.base
    assert 2.9 < pytorch.train_flops / pytorch.pass_flops < 3.1


def test_a_whole_run(jaxdiff, pytorch):
    start, end = jaxdiff.run_ends(3)
    assert np.linalg.norm(end - pytorch.run_end(start)) < 1e-4 * np.linalg.norm(end)


def test_modes_that_need_a_gpu_alone_are_an_error_on_a_cpu(call_program, capsys):
    assert call_program(main, "evaluate", "speed", "--out", "speed", "--device", "cpu", "--modes", "max_autotune") == 2
    assert "--modes takes one that runs here, got max_autotune" in capsys.readouterr().err.replace("\n", " ")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Both frameworks with a network of time series, set up."""
    sizes = {
        "batch": 4096, "steps": 6, "train_batch": 512, "train_steps": 30, "search_batch": 2, "authors_batch": 2,
        "authors_steps": 20, "count": 4, "seed": 0,
    }  # fmt: skip
    given = SeriesWorkload(SERIES["series-rehearsal"], **sizes)
    ours, theirs = SeriesJaxdiff(given), SeriesPyTorch(given)
    for framework in (ours, theirs):
        framework.set_up("cpu", tmp_path_factory.mktemp("series"))
    theirs.load_weights(*ours.exported())
    return ours, theirs


def test_series_networks_and_their_runs_agree(series):
    ours, theirs = series
    x = np.random.default_rng(0).standard_normal((3, *ours.workload.shape), np.float32)
    t = np.array([0.01, 0.5, 1.0], np.float32)
    error = lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(a)  # noqa: E731
    assert error(ours.one_pass(x, t, t), theirs.one_pass(x, t, t)) < 1e-5
    start, end = ours.run_ends(64)
    assert error(end, theirs.run_end(start)) < 1e-3


def test_the_samplers_of_bridges_agree_in_mean_and_deviation(series):
    """Of a linear estimate: they draw different noise."""
    _, theirs = series
    workload = theirs.workload
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn((workload.batch, *workload.shape), generator=generator)  # noqa: E731
    end, steps = draw(), speed_series.steps_of(workload, workload.solver)
    y = theirs.run_steps(lambda x, t: 0.3 * x + 0.1, steps, steps[0].start * draw(), end, torch.float32, draw).numpy()

    def denoise(x, t, condition):
        return 0.3 * workload.process.network_input(x, t, condition) + 0.1

    condition = BridgeCondition(jnp.asarray(end.numpy()))
    x = sample(
        denoise, workload.process, shape=workload.shape, condition=condition, solver=workload.solver, key=jax.random.key(0)
    )
    ours, count = np.asarray(x, np.float64), y.size
    assert abs(ours.mean() - y.mean()) < 5 * ours.std() / np.sqrt(count / 2)
    assert abs(ours.std() / y.std() - 1) < 5 / np.sqrt(count)
    residual = [each - np.polyval(np.polyfit(end.numpy().ravel(), each.ravel(), 1), end.numpy()) for each in (ours, y)]
    assert abs(residual[0].std() / residual[1].std() - 1) < 5 / np.sqrt(count)


def test_the_training_losses_of_series_are_the_same(series):
    ours, theirs = series
    workload = ours.workload
    rng, shape = np.random.default_rng(3), (64, *workload.shape)
    x0, noise, end = rng.standard_normal((3, *shape)).astype(np.float32)
    t = np.linspace(1e-4, 1, 64, dtype=np.float32)
    drawn = {"x0": x0, "noise": noise, "t": t, "labels": np.zeros((64, 0), np.int32), "end": end}
    expected = jax.jit(workload.objective.losses_of)(workload.network, workload.process, drawn, None)
    with torch.no_grad():
        got = theirs.losses(theirs.network(), *map(torch.from_numpy, (x0, t, noise, end)), "float32")
    np.testing.assert_allclose(got, expected, rtol=2e-4)


@pytest.mark.slow
def test_the_program_compares_series(call_program, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # both frameworks have a thread for each core all the same
    sizes = "--steps 3 --batch-size 2 --train-batch-size 2 --train-steps 1 --rounds 2"
    arguments = f"--network series-rehearsal --busy {sizes} --out speed"
    assert call_program(main, "evaluate", "speed", *arguments.split()) == 0
    report = json.loads((tmp_path / "speed/speed.json").read_text(), parse_constant=pytest.fail)
    assert [each["task"] for each in report["comparisons"]] == ["sampling", "training"]
    rows = [row for each in report["comparisons"] for row in each["variants"]]
    assert [row["mode"] for row in rows] == ["jit", "eager", "compile"] * 2
    assert set(report["processor"]["threads"].values()) == {len(report["processor"]["cores"])}
    assert all(each["disturbances"] for each in report["comparisons"]) and not any("ratio" in row for row in rows)
    assert all(row["failure"] is None and row["peak_bytes"] > 0 for row in rows)


@pytest.mark.slow
def test_the_program_compares_text_to_image(call_program, tmp_path):
    """Both frameworks draw the same latents from one folder, and count the same products but for those after upsamplings."""
    arguments = "--network sd-rehearsal --steps 5 --batch-size 2 --rounds 2 --modes eager --busy --out speed"
    assert call_program(main, "evaluate", "speed", *arguments.split()) == 0
    report = json.loads((tmp_path / "speed/speed.json").read_text(), parse_constant=pytest.fail)
    assert report["agreement"]["pass"] < 1e-5 and report["agreement"]["run"] < 2e-5
    drawn, within = report["comparisons"]
    assert (drawn["task"], within["task"]) == ("sampling", "interval")
    assert [row["name"] for row in within["variants"]] == ["jaxdiff, plain", "jaxdiff, interval"]
    assert all(row["failure"] is None and row["peak_bytes"] > 0 for each in (drawn, within) for row in each["variants"])
    assert 0.8 < drawn["flops"]["jaxdiff"] / drawn["flops"]["PyTorch"] < 1


@pytest.mark.slow
def test_the_program_measures_every_task(call_program, tmp_path):
    sizes = "--steps 5 --batch-size 2 --train-batch-size 2 --train-steps 1 --search-batch-size 2 --authors-batch-size 2"
    arguments = (
        f"{sizes} --authors-steps 20 --count 3 --rounds 2 --network rehearsal --modes eager channels_last --busy --out speed"
    )
    assert call_program(main, "evaluate", "speed", *arguments.split()) == 0
    report = json.loads((tmp_path / "speed/speed.json").read_text(), parse_constant=pytest.fail)
    assert [each["task"] for each in report["comparisons"]] == ["sampling", "training", "switching", "safe", "search", "job"]
    rows = [row for each in report["comparisons"] for row in each["variants"]]
    assert [row["failure"] for row in rows] == [None] * len(rows)
    assert all(len(row["round_seconds"]) == 2 and min(row["round_seconds"]) > 0 for row in rows)
    assert report["agreement"]["pass"] < 1e-4 and report["agreement"]["run"] < 1e-3
    assert (tmp_path / "speed/speed.png").exists()
