"""Both frameworks in `evaluate speed` with a network of time series, a diffusion bridge and its sampler.

PyTorch's network is written with its own layers (`speed_series_network`), as there is no library that has one.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.models.network import Network
from jaxdiff.process import Bridge
from jaxdiff.series_training import EARLIEST
from jaxdiff.solvers import HybridHeun, sample

from .speed_framework import start
from .speed_jaxdiff import Jaxdiff
from .speed_pytorch import PyTorch
from .speed_series_workload import SERIES, SIGMA_DATA, SeriesWorkload
from .timing import Run


def build_jaxdiff(network: str, sizes: Mapping[str, int], training: bool) -> "SeriesJaxdiff":
    """Builds jaxdiff in its own process, set up as by `train series` or as by the other programs."""
    start(training)
    return SeriesJaxdiff(SeriesWorkload(SERIES[network], **sizes))


def build_pytorch(network: str, sizes: Mapping[str, int]) -> "SeriesPyTorch":
    """Builds PyTorch in its own process, see `evaluate.speed_pytorch.build`."""
    start()
    jax.config.update("jax_platforms", "cpu")
    return SeriesPyTorch(SeriesWorkload(SERIES[network], **sizes))


class SeriesJaxdiff(Jaxdiff):
    """jaxdiff, which draws and trains with a bridge."""

    workload: SeriesWorkload

    def exported(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The weights, by the names of their file."""
        from jaxdiff.weight_file import named

        return {}, {name: np.asarray(leaf) for name, leaf in named(self.workload.network.weights).items()}

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        """Draws a batch of windows, each with an x_T of its own."""
        denoise = self.workload.denoiser(dtype)

        def run(index: int) -> None:
            jax.block_until_ready(self._drawn(denoise, self.workload.condition(1), index, indices=self._indices))

        return run

    @property
    def _indices(self) -> np.ndarray:
        return np.arange(self.workload.batch)

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """See `Framework.one_pass`."""
        with jax.default_matmul_precision("highest"):
            return np.asarray(jax.jit(Network.__call__)(self.workload.in_dtype("float32"), x, t, BridgeCondition()))

    def run_ends(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last states of a run without noise in its steps, in float32, products in full precision."""
        workload = self.workload
        with jax.default_matmul_precision("highest"):
            x = sample(
                workload.denoiser("float32"), workload.process, shape=workload.shape, key=jax.random.key(workload.seed),
                condition=BridgeCondition(jnp.asarray(workload.ends(count))), solver=HybridHeun(workload.steps, churn=0.0),
                path=True,
            )  # fmt: skip
        return np.asarray(x[0]), np.asarray(x[-1])


class SeriesPyTorch(PyTorch):
    """PyTorch, which does the same."""

    workload: SeriesWorkload

    def load_weights(self, settings: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
        """Takes the weights from `SeriesJaxdiff.exported`."""
        self.state = dict(state)

    def network(self) -> Any:
        """The network with these weights."""
        from .speed_series_network import SeriesTransformer, state_of

        torch = self.torch

        class Estimate(SeriesTransformer):
            """The sum of the three parts."""

            def forward(self, x, t):
                trend, season, residual = super().forward(x, t)
                return trend + season + residual

        model = Estimate(self.workload.config)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in state_of(model.config, self.state).items()})
        return model.to(self.device)

    def _flops(self, then: Callable[[Any], None]) -> int:
        torch, shape = self.torch, (1, *self.workload.shape)
        model, x, t = self.network(), torch.zeros(shape, device=self.device), torch.zeros(1, device=self.device)
        return self._count(lambda: then(model(x, t)))

    def _in_mode(self, model: Any, mode: str) -> Any:
        return self._compiled(model, mode)

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        """Draws a batch of windows, each with an x_T of its own."""
        torch, workload, precision = self.torch, self.workload, getattr(self.torch, dtype)
        model, steps, shape = self._sampler(dtype, mode), steps_of(workload, workload.solver), workload.shape

        @torch.inference_mode()
        def run(index: int) -> None:
            generator = torch.Generator(self.device).manual_seed(index)
            draw = lambda: torch.randn((workload.batch, *shape), generator=generator, device=self.device)  # noqa: E731
            self.run_steps(model, steps, steps[0].start * draw(), draw(), precision, draw)
            self._synchronise()

        return run

    def run_steps(self, model: Any, steps: list["Step"], y: Any, end: Any, precision: Any, draw: Callable[[], Any]) -> Any:
        """The hybrid sampler of Zhou et al. (2024), algorithm 1, in the state y = x_t - a x_T."""

        def estimate(y: Any, at: "_Node") -> Any:
            given = ((y + at.end * end) / at.scale).to(precision)
            return model(given, self.torch.full((len(y),), at.t, device=self.device, dtype=precision)).float()

        for step in steps:
            if step.noise is not None:
                y = step.kept * y + step.moved * estimate(y, step.first) + step.noise * draw()
            x0 = estimate(y, step.second)
            moved = step.flow_kept * y + step.flow_moved * x0
            y = moved if step.third is None else moved + step.corrected * (estimate(moved, step.third) - x0)
        return y

    def training(self, dtype: str, mode: str) -> Run:
        """Training steps; in bfloat16 by autocast."""
        torch, device, count = self.torch, self.device, self.workload.train_batch
        windows = torch.from_numpy(self.workload.images(count)).to(device)

        def loss(model: Any) -> Any:
            t = EARLIEST + (1 - EARLIEST) * torch.rand(count, device=device)
            noise, end = torch.randn_like(windows), torch.randn_like(windows)
            return self.losses(model, windows, t, noise, end, dtype).mean()

        return self._steps_of(mode, loss)

    def losses(self, model: Any, windows: Any, t: Any, noise: Any, end: Any, dtype: str) -> Any:
        """The training loss of TimeBridge for each window."""
        torch, length = self.torch, self.workload.shape[0]
        beta, half = self._beta
        integral, left = beta * t + half * t**2, (1 - t) * (beta + half * (1 + t))
        whole = math.sinh((beta + half) / 2)
        a, b = torch.sinh(integral / 2) / whole, torch.sinh(left / 2) / whole
        c2 = 2 * torch.sinh(integral / 2) * b
        scale = (a**2 + b**2 + c2).sqrt()
        weights = [(each / scale)[:, None, None] for each in (a, b, c2.sqrt())]
        x = weights[0] * end + weights[1] * windows + weights[2] * noise
        with torch.autocast(self.device, torch.bfloat16, enabled=dtype == "bfloat16"):
            output = model(x, t)
        error = output.float() - windows
        # frequencies above L / 2 mirror those below
        spectrum = torch.fft.rfft(error, dim=1, norm="forward")
        twice = torch.full((spectrum.shape[1], 1), 2.0, device=self.device)
        twice[0] = 1
        if length % 2 == 0:
            twice[-1] = 1
        frequencies = (twice * (spectrum.real.abs() + spectrum.imag.abs())).sum((1, 2))
        total = (error.abs().sum((1, 2)) + math.sqrt(length) / 5 * frequencies) / error[0].numel()
        data = SIGMA_DATA**2
        return total * ((a**2 + b**2) * data + c2) / (data * (a**2 * data + c2))

    @cached_property
    def _beta(self) -> tuple[float, float]:
        """Of beta(t) = first + 2 second t."""
        process = self.workload.process
        assert isinstance(process, Bridge)
        settings = process.settings()
        return settings["beta_min"], settings["beta_slope"] / 2

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """See `Framework.one_pass`."""
        self.allow_tf32(False)
        with self.torch.inference_mode():
            given = (self.torch.from_numpy(each.copy()).to(self.device) for each in (x, t))
            return self.network().eval()(*given).cpu().numpy()

    def run_end(self, start: np.ndarray) -> np.ndarray:
        """The last states of a run without noise in its steps, in float32 without TF32."""
        self.allow_tf32(False)
        torch, workload = self.torch, self.workload
        steps = steps_of(workload, HybridHeun(workload.steps, churn=0.0))
        with torch.inference_mode():
            y, end = (torch.from_numpy(each.copy()).to(self.device) for each in (start, workload.ends(len(start))))
            return self.run_steps(self.network().eval(), steps, y, end, torch.float32, lambda: y).cpu().numpy()


@dataclass(frozen=True)
class _Node:
    """Where the network is evaluated: the time, a, and the scale of its input."""

    t: float
    end: float
    scale: float


@dataclass(frozen=True)
class Step:
    """The coefficients of a step: of the stochastic part, which has none without churn, and of Heun's method.

    Arguments:
        start: c at its first node.
        first, kept, moved, noise: of the stochastic part, y <- kept y + moved D + noise z.
        second, flow_kept, flow_moved: of Euler's step, y <- flow_kept y + flow_moved D.
        third, corrected: of the correction, y + corrected (D' - D); no third node in the last step.
    """

    start: float
    first: _Node
    kept: float
    moved: float
    noise: float | None
    second: _Node
    flow_kept: float
    flow_moved: float
    third: _Node | None
    corrected: float


def steps_of(workload: SeriesWorkload, solver: HybridHeun) -> list[Step]:
    """The steps of a run."""
    process = workload.process
    assert isinstance(process, Bridge)
    with jax.enable_x64(True):
        times = np.asarray(solver.times(process), np.float64)

        def at(t: float) -> tuple[float, float, float]:
            return float(process.alpha(t)), float(process.sigma(t)), float(process.log_snr(t)) / 2

        def node(t: float) -> _Node:
            return _Node(t, float(process.end_weight(t)), float(process.scale(t)))

        steps = []
        for t, t_next in itertools.pairwise(times):
            (alpha, sigma, snr), between = at(t), t + solver.churn * (t_next - t)
            alpha_m, sigma_m, snr_m = at(between)
            alpha_n, sigma_n, snr_n = at(t_next)
            left = math.exp(2 * (snr - snr_m))  # SNR(t) / SNR(between)
            kept = sigma_m / sigma * math.sqrt(left)
            last = t_next <= 0
            steps.append(
                Step(
                    sigma, node(t), kept, alpha_m - kept * alpha,
                    sigma_m * math.sqrt(-math.expm1(2 * (snr - snr_m))) if solver.churn else None,
                    node(between), sigma_n / sigma_m, alpha_n - sigma_n / sigma_m * alpha_m,
                    None if last else node(t_next), 0.0 if last else 0.5 * alpha_n * math.expm1(snr_n - snr_m),
                )
            )  # fmt: skip
        return steps
