"""PyTorch's contestants in `evaluate speed`: diffusers' UNet2DModel with the same weights, and its DDIMScheduler.

PyTorch and diffusers are imported inside the functions: no other command needs them.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from evaluate.speed_work import Work
from evaluate.timing import Contestant
from jaxdiff.errors import InputError
from jaxdiff.interop import unet2d

FRAMEWORK = "PyTorch"
MODES = {
    "eager": "as it comes",
    "channels_last": "weights and images in the memory format that tensor cores like",
    "compile": "channels_last and torch.compile",
    "reduce_overhead": "the same with CUDA graphs (mode reduce-overhead); GPU only",
    "max_autotune": "the same with kernels tried out (mode max-autotune-no-cudagraphs); GPU only, minutes to compile",
}
GPU_MODES = ("reduce_overhead", "max_autotune")
COMPILED = {"compile": "default", "reduce_overhead": "reduce-overhead", "max_autotune": "max-autotune-no-cudagraphs"}


def libraries() -> tuple[Any, Any]:
    """torch and diffusers. Raises `InputError` where one is absent."""
    try:
        import diffusers
        import torch
    except ImportError as error:
        raise InputError(f"the baseline needs PyTorch and diffusers ({error}): pip install 'jaxdiff[bench]'") from None
    diffusers.logging.set_verbosity_error()
    # Dynamo complains of diffusers' own code
    warnings.filterwarnings("ignore", message="Dynamo detected a call", category=UserWarning)
    # several modes of one network are compiled in one process; at the limit torch.compile would fall back to eager
    torch._dynamo.config.recompile_limit = 256
    return torch, diffusers


def versions() -> dict[str, str]:
    """Of both."""
    return {library.__name__: library.__version__ for library in libraries()}


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU."""
    return libraries()[0].cuda.is_available()


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products and convolutions may use TF32."""
    torch, _ = libraries()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def network(work: Work, device: str) -> Any:
    """diffusers' network with the weights of `work`."""
    torch, diffusers = libraries()
    settings, state = unet2d.exported(work.config, work.network)
    model = diffusers.UNet2DModel(**{name: value for name, value in settings.items() if not name.startswith("_")})
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return model.to(device)


def _scheduler(work: Work) -> Any:
    _, diffusers = libraries()
    betas = -np.expm1(-np.diff(np.asarray(work.process.coefficients, np.float64)))
    scheduler = diffusers.DDIMScheduler(trained_betas=betas, prediction_type="epsilon", timestep_spacing="trailing")
    scheduler.set_timesteps(work.steps)
    return scheduler


def _times(scheduler: Any, count: int, device: str) -> Any:
    """The timestep of each image at each step, (S, count), on the device before the loop."""
    return scheduler.timesteps.float()[:, None].repeat(1, count).to(device)


def _denoise(work: Work, model: Any, dtype: Any, x: Any, labels: Any, scheduler: Any, times: Any) -> Any:
    """DDIM from x on, as diffusers' pipelines write it."""
    torch, _ = libraries()
    for time, timestep in zip(times, scheduler.timesteps, strict=True):
        torch.compiler.cudagraph_mark_step_begin()
        output = model(x.to(dtype), time, class_labels=labels).sample.float()
        x = scheduler.step(output, timestep, x, use_clipped_model_output=True).prev_sample
    return x


def _synchronise(device: str) -> None:
    torch, _ = libraries()
    if device == "cuda":
        torch.cuda.synchronize()


def contestant(mode: str, prepare: Callable[[], Callable[[int], Any]], device: str, limit: float) -> Contestant:
    """A contestant of PyTorch, whose building, compiling and first run may take `limit` seconds."""
    torch, _ = libraries()
    if device != "cuda":
        return Contestant(FRAMEWORK, mode, prepare, limit)
    return Contestant(FRAMEWORK, mode, prepare, limit, torch.cuda.max_memory_allocated, torch.cuda.reset_peak_memory_stats)


def _in_mode(model: Any, mode: str) -> Any:
    torch, _ = libraries()
    if mode != "eager":
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model, mode=COMPILED[mode], dynamic=False) if mode in COMPILED else model


def sampling(work: Work, dtype: str, mode: str, device: str) -> Callable[[], Callable[[int], Any]]:
    """Draws a batch; in bfloat16 the weights are bfloat16 too."""
    torch, _ = libraries()

    def prepare() -> Callable[[int], Any]:
        precision = getattr(torch, dtype)
        model = _in_mode(network(work, device).to(precision).eval(), mode)
        scheduler = _scheduler(work)
        times = _times(scheduler, work.batch, device)
        labels = torch.from_numpy(work.labels(work.batch)).long().to(device)
        height, width, channels = work.shape
        layout = torch.contiguous_format if mode == "eager" else torch.channels_last

        @torch.inference_mode()
        def run(index: int) -> Any:
            generator = torch.Generator(device).manual_seed(index)
            x = torch.randn((work.batch, channels, height, width), generator=generator, device=device)
            x = _denoise(work, model, precision, x.to(memory_format=layout), labels, scheduler, times)
            _synchronise(device)
            return x

        return run

    return prepare


def training(work: Work, dtype: str, mode: str, device: str) -> Callable[[], Callable[[int], Any]]:
    """Training steps: noising, forward, backward, clipping, AdamW, moving average; in bfloat16 by autocast."""
    torch, _ = libraries()

    def prepare() -> Callable[[int], Any]:
        base = network(work, device).train()
        model = _in_mode(base, mode)
        weights = list(base.parameters())
        averages = [weight.detach().clone() for weight in weights]
        optimizer = torch.optim.AdamW(weights, lr=2e-4, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        abar = _scheduler(work).alphas_cumprod.to(device)
        images = torch.from_numpy(work.images(work.train_batch)).permute(0, 3, 1, 2).to(device)
        images = images.contiguous(memory_format=torch.contiguous_format if mode == "eager" else torch.channels_last)
        labels = torch.from_numpy(work.labels(work.train_batch)).long().to(device)
        null, count = work.config.values[0], work.train_batch

        def step() -> None:
            timesteps = torch.randint(len(abar), (count,), device=device)
            signal_share = abar[timesteps][:, None, None, None]
            noise = torch.randn_like(images)
            x = signal_share.sqrt() * images + (1 - signal_share).sqrt() * noise
            told = torch.where(torch.rand(count, device=device) < 0.1, null, labels)
            with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
                output = model(x, timesteps.float(), class_labels=told).sample
            torch.nn.functional.mse_loss(output.float(), noise).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 0.001)

        def run(index: int) -> Any:
            torch.manual_seed(index)
            for _ in range(work.train_steps):
                step()
            _synchronise(device)

        return run

    return prepare


def one_pass(work: Work, x: np.ndarray, t: np.ndarray, labels: np.ndarray, device: str) -> np.ndarray:
    """The network's output in float32, without TF32."""
    torch, _ = libraries()
    allow_tf32(False)
    with torch.inference_mode():
        given = torch.from_numpy(x).permute(0, 3, 1, 2).to(device)
        times = torch.from_numpy(t * work.process.timesteps - 1).to(device)
        output = network(work, device).eval()(given, times, class_labels=torch.from_numpy(labels).long().to(device)).sample
    return output.permute(0, 2, 3, 1).cpu().numpy()


def path_end(work: Work, start: np.ndarray, device: str) -> np.ndarray:
    """Where a whole run leads from these states, in float32, without TF32."""
    torch, _ = libraries()
    allow_tf32(False)
    scheduler = _scheduler(work)
    with torch.inference_mode():
        x = torch.from_numpy(start.copy()).permute(0, 3, 1, 2).to(device)
        labels = torch.from_numpy(work.labels(len(start))).long().to(device)
        model, times = network(work, device).eval(), _times(scheduler, len(start), device)
        x = _denoise(work, model, torch.float32, x, labels, scheduler, times)
    return x.permute(0, 2, 3, 1).cpu().numpy()


def matrix_rate(dtype: str, size: int, repeats: int, device: str) -> Callable[[], Callable[[int], Any]]:
    """Products of two square matrices, `repeats` in a row."""
    torch, _ = libraries()

    def prepare() -> Callable[[int], Any]:
        a, b = (torch.randn((size, size), device=device, dtype=getattr(torch, dtype)) for _ in range(2))

        @torch.inference_mode()
        def run(index: int) -> Any:
            for _ in range(repeats):
                a @ b
            _synchronise(device)

        return run

    return prepare
