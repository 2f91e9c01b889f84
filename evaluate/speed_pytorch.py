"""PyTorch in `evaluate speed`: diffusers' UNet2DModel with the same weights, and its DDIMScheduler.

PyTorch and diffusers are imported inside functions: no other command needs them.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.guidance.safe import EARLY

from . import pytorch_methods
from .machine_load import cores
from .pytorch_methods import Solver, authors_search, denoise, switched
from .speed_framework import Framework, start
from .speed_workload import NETWORKS, PREDICTION, STRENGTH, TAU, UNSAFE, Workload
from .timing import Run

GPU_MODES = ("reduce_overhead", "max_autotune")
CHANNELS_LAST = ("channels_last", "compile_channels_last")
_COMPILED = {
    "compile": "default",
    "compile_channels_last": "default",
    "reduce_overhead": "reduce-overhead",
    "max_autotune": "max-autotune-no-cudagraphs",
}


def libraries() -> tuple[Any, Any]:
    """Imports torch and diffusers. Raises `InputError` if one is missing."""
    try:
        import diffusers
        import torch
        import torch._dynamo
    except ImportError as error:
        raise InputError(f"the baseline needs PyTorch and diffusers ({error}): pip install 'jaxdiff[bench]'") from None
    diffusers.logging.set_verbosity_error()
    # Dynamo warns about the code of diffusers
    warnings.filterwarnings("ignore", message="Dynamo detected a call", category=UserWarning)
    # several modes of one network are compiled in one process; at the limit torch.compile would fall back to eager
    torch._dynamo.config.recompile_limit = 256
    return torch, diffusers


def build(network: str, sizes: Mapping[str, int]) -> "PyTorch":
    """Builds PyTorch in its own process; for arguments see `Workload`."""
    start()
    # JAX computes only the coefficients of the process, and must not use the GPU
    jax.config.update("jax_platforms", "cpu")
    return PyTorch(Workload(NETWORKS[network], **sizes))


class PyTorch(Framework):
    """PyTorch, which does the tasks of the workload.

    Arguments:
        workload: the workload.

    Raises:
        InputError: PyTorch or diffusers is missing.
    """

    name = "PyTorch"

    def __init__(self, workload: Workload):
        super().__init__(workload)
        self.torch, self.diffusers = libraries()
        self.torch.set_num_threads(len(cores()))
        self._models: dict[tuple[str, str], Any] = {}

    def sees_gpu(self) -> bool:
        return self.torch.cuda.is_available()

    def threads(self) -> int | None:
        return self.torch.get_num_threads()

    def device_memory(self) -> tuple[Callable[[], Any], Callable[[], int | None]]:
        return self.torch.cuda.reset_peak_memory_stats, self.torch.cuda.max_memory_allocated

    def versions(self) -> dict[str, str]:
        """The libraries' versions by their names."""
        return {library.__name__: library.__version__ for library in (self.torch, self.diffusers)}

    def allow_tf32(self, allowed: bool) -> None:
        """Whether float32 products and convolutions may use TF32."""
        backends = self.torch.backends
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = allowed

    def load_weights(self, settings: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
        """Takes the settings and weights from `exported` of jaxdiff."""
        self.settings = {name: value for name, value in settings.items() if not name.startswith("_")}
        self.state = {name: self.torch.from_numpy(array) for name, array in state.items()}

    def network(self) -> Any:
        """diffusers' network with these weights."""
        model = self.diffusers.UNet2DModel(**self.settings)
        model.load_state_dict(self.state)
        return model.to(self.device)

    @cached_property
    def pass_flops(self) -> int:
        return self._flops(lambda output: None)

    @cached_property
    def train_flops(self) -> int:
        return self._flops(lambda output: output.sum().backward())

    def _flops(self, then: Callable[[Any], None]) -> int:
        model, images, labels = self.network(), self._noise(1, "eager", 0), self._labels(np.zeros(1, np.int64))
        return self._count(lambda: then(model(images, self.torch.zeros(1, device=self.device), class_labels=labels).sample))

    def _count(self, run: Callable[[], Any]) -> int:
        """The matrix operations of what is run."""
        from torch.utils import flop_counter

        # PyTorch does not count the operations of attention on a CPU
        attention = self.torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        backward = self.torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        own = {
            attention: lambda *shapes, **_: flop_counter.sdpa_flop_count(*shapes[:3]),
            backward: lambda *shapes, **_: flop_counter.sdpa_backward_flop_count(*shapes[:4]),
        }
        counter = flop_counter.FlopCounterMode(display=False, custom_mapping=own)
        with counter:
            run()
        return counter.get_total_flops()

    def _in_mode(self, model: Any, mode: str) -> Any:
        return self._compiled(model.to(memory_format=self._layout(mode)), mode)

    def _compiled(self, function: Any, mode: str) -> Any:
        """A network or a function, compiled in the modes that compile."""
        return self.torch.compile(function, mode=_COMPILED[mode], dynamic=False) if mode in _COMPILED else function

    def _layout(self, mode: str) -> Any:
        """The memory format of weights and images in this mode."""
        return self.torch.channels_last if mode in CHANNELS_LAST else self.torch.contiguous_format

    def _sampler(self, dtype: str, mode: str) -> Any:
        """The network for sampling, in this dtype; shared by all tasks."""
        if (dtype, mode) not in self._models:
            self._models[dtype, mode] = self._in_mode(self.network().to(getattr(self.torch, dtype)).eval(), mode)
        return self._models[dtype, mode]

    def _solver(self, steps: int, count: int) -> Solver:
        betas = -np.expm1(-np.diff(np.asarray(self.workload.process.coefficients, np.float64)))
        kind = {"eps": "epsilon", "v": "v_prediction"}[PREDICTION]
        scheduler = self.diffusers.DDIMScheduler(trained_betas=betas, prediction_type=kind, timestep_spacing="trailing")
        scheduler.set_timesteps(steps)
        times = scheduler.timesteps.float()[:, None].repeat(1, count).to(self.device)
        return Solver(scheduler, times, scheduler.alphas_cumprod.to(self.device))

    def _labels(self, labels: np.ndarray) -> Any:
        return self.torch.from_numpy(labels).long().to(self.device)

    def _given(self, images: np.ndarray, mode: str) -> Any:
        """Images (B, H, W, C) in the memory format of this mode."""
        given = self.torch.from_numpy(images.copy()).permute(0, 3, 1, 2).to(self.device)
        return given.contiguous(memory_format=self._layout(mode))

    def _noise(self, count: int, mode: str, seed: int) -> Any:
        height, width, channels = self.workload.shape
        generator = self.torch.Generator(self.device).manual_seed(seed)
        x = self.torch.randn((count, channels, height, width), generator=generator, device=self.device)
        return x.to(memory_format=self._layout(mode))

    def _synchronise(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        workload, precision = self.workload, getattr(self.torch, dtype)
        model, solver = self._sampler(dtype, mode), self._solver(workload.steps, workload.batch)
        ends, adjust = self._labels(workload.labels(workload.batch)), None
        labels = switched(1 - ends, ends, TAU, workload.process.timesteps) if method == "switching" else lambda timestep: ends
        if method == "safe":
            unsafe = self.torch.from_numpy(workload.images(UNSAFE)).permute(0, 3, 1, 2).flatten(1).to(self.device)
            adjust = pytorch_methods.safe(solver, unsafe, strength=STRENGTH, max_snr=EARLY[1])

        @self.torch.inference_mode()
        def run(index: int) -> None:
            denoise(solver, model, self._noise(workload.batch, mode, index), labels, dtype=precision, adjust=adjust)
            self._synchronise()

        return run

    def search(self, dtype: str, mode: str) -> Run:
        """The authors' procedure for tau."""
        search = self._search(dtype, mode)

        @self.torch.inference_mode()
        def run(index: int) -> float:
            return search(index).skipped_seconds

        return run

    def _search(self, dtype: str, mode: str) -> Callable[[int], pytorch_methods.SearchResult]:
        workload, precision, batch = self.workload, getattr(self.torch, dtype), self.workload.authors_batch
        model, solver = self._sampler(dtype, mode), self._solver(workload.process.timesteps, batch)
        both = tuple(self._labels(np.full(batch, label)) for label in (0, 1))
        return lambda index: authors_search(
            solver, model, self._noise(batch, mode, index), both, dtype=precision, steps=workload.authors_steps
        )

    def job(self, dtype: str, mode: str) -> Run:
        """The whole job, with tau by the authors' procedure."""
        from safetensors.torch import load_file, save_file

        workload, precision, file = self.workload, getattr(self.torch, dtype), self.folder / "weights.safetensors"
        model, search, solver = (
            self._sampler(dtype, mode),
            self._search(dtype, mode),
            self._solver(workload.steps, workload.batch),
        )
        # contiguous copies, since the file has no memory format
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
        ends = self._labels(workload.labels(workload.batch))

        @self.torch.inference_mode()
        def run(index: int) -> float:
            model.load_state_dict(load_file(file, device=self.device))
            found = search(index)
            labels = switched(1 - ends, ends, found.tau / workload.process.timesteps, workload.process.timesteps)
            for low in workload.batches():
                denoise(solver, model, self._noise(workload.batch, mode, low), labels, dtype=precision).cpu()
            return found.skipped_seconds

        return run

    def training(self, dtype: str, mode: str) -> Run:
        """Training steps; in bfloat16 by autocast."""
        torch, workload, device = self.torch, self.workload, self.device
        count = workload.train_batch
        abar = self._solver(workload.steps, 1).abar
        images, labels = self._given(workload.images(count), mode), self._labels(workload.labels(count))
        null = workload.config.values[0]

        def loss(model: Any) -> Any:
            timesteps = torch.randint(len(abar), (count,), device=device)
            share, noise = abar[timesteps][:, None, None, None], torch.randn_like(images)
            x = share.sqrt() * images + (1 - share).sqrt() * noise
            given_labels = torch.where(torch.rand(count, device=device) < 0.1, null, labels)
            with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
                output = model(x, timesteps.float(), class_labels=given_labels).sample
            return torch.nn.functional.mse_loss(output.float(), noise)

        return self._steps_of(mode, loss)

    def _steps_of(self, mode: str, loss: Callable[[Any], Any]) -> Run:
        """Training steps of the network: backward, clipping, AdamW, moving average.

        Arguments:
            mode: the mode of the network.
            loss: of a batch that it draws, as a function of the network.
        """
        torch = self.torch
        base = self.network().train()
        model, weights = self._in_mode(base, mode), list(base.parameters())
        averages = [weight.detach().clone() for weight in weights]
        optimizer = torch.optim.AdamW(weights, lr=2e-4, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

        def step() -> None:
            loss(model).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 0.001)

        def run(index: int) -> None:
            torch.manual_seed(index)
            for _ in range(self.workload.train_steps):
                step()
            self._synchronise()

        return run

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        self.allow_tf32(False)
        # timestep i is our time (i + 1) / T
        times = self.torch.from_numpy(t * self.workload.process.timesteps - 1).to(self.device)
        with self.torch.inference_mode():
            output = self.network().eval()(self._given(x, "eager"), times, class_labels=self._labels(labels)).sample
        return output.permute(0, 2, 3, 1).cpu().numpy()

    def run_end(self, start: np.ndarray) -> np.ndarray:
        """The last states of a run from these first states, in float32 without TF32."""
        self.allow_tf32(False)
        solver, labels = self._solver(self.workload.steps, len(start)), self._labels(self.workload.labels(len(start)))
        with self.torch.inference_mode():
            model, x = self.network().eval(), self._given(start, "eager")
            x = denoise(solver, model, x, lambda timestep: labels, dtype=self.torch.float32)
        return x.permute(0, 2, 3, 1).cpu().numpy()

    def products(self, dtype: str, size: int, repeats: int) -> Run:
        make = {"device": self.device, "dtype": getattr(self.torch, dtype)}
        a, b = (self.torch.randn((size, size), **make) for _ in range(2))

        @self.torch.inference_mode()
        def run(index: int) -> None:
            for _ in range(repeats):
                a @ b
            self._synchronise()

        return run
