"""Cost of the safe denoiser compared with plain sampling, by the number of unsafe images."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class SafetyCost:
    """Times plain sampling and the safe denoiser in turn, on the shipped model, for several numbers of unsafe images, and
    prints the ratio of each pair, the time of a step in the window, and the temporary memory of the guarded sampler.

    Examples:

      python -m bench safety

      python -m bench safety --references 512 100000 --always --repeats 5
    """

    model: Path = Path("checkpoints/embedded")
    """Trained model: the folder of a run, or its model.safetensors."""
    references: tuple[int, ...] = (512, 4096, 32_768, 100_000)
    """Numbers of unsafe images. They are noise, since the cost depends only on their number."""
    always: bool = False
    """Act at every step instead of in the default window."""
    batch_size: int = 32
    """Images per batch."""
    steps: int = 25
    """Number of DDIM steps."""
    repeats: int = 9
    """Number of timed pairs, after a warm-up."""

    def __post_init__(self):
        for name in ("batch_size", "steps", "repeats"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if not self.references or min(self.references) < 1:
            raise InputError(f"--references must be at least 1, got {self.references}")


def safety_cost(options: SafetyCost) -> None:
    """Times the samplers, and prints the table."""
    import jax
    import numpy as np
    from rich.table import Table

    from jaxdiff import guidance
    from jaxdiff.guidance.safe import EARLY
    from jaxdiff.guidance.window import ALWAYS
    from jaxdiff.model import load
    from jaxdiff.references import references
    from jaxdiff.solvers import DDIM, sample
    from jaxdiff.solvers.driver import _sample, sample_grid

    model, solver = load(options.model), DDIM(options.steps)
    condition = model.conditions.encode(np.arange(options.batch_size) % 2)
    window = ALWAYS if options.always else EARLY

    def drawn(denoise, repeat):
        begun = time.perf_counter()
        x = sample(denoise, model.process, shape=model.shape, condition=condition, solver=solver, key=jax.random.key(repeat))
        jax.block_until_ready(x)
        return time.perf_counter() - begun

    def temporaries(denoise):
        """Bytes of the compiled sampler's temporaries, as estimated by XLA."""
        grid = sample_grid(denoise, model.process, solver, options.batch_size)
        lowered = _sample.lower(
            denoise, model.process, grid, condition, jax.random.key(0), np.arange(options.batch_size),
            shape=model.shape, solver=solver, path=False, return_memory=False,
        )  # fmt: skip
        return lowered.compile().memory_analysis().temp_size_in_bytes

    table = Table(
        title=f"{options.batch_size} images, DDIM {options.steps}, {jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    headings = (
        "unsafe images",
        "plain s",
        "guarded s",
        "ratio [quartiles]",
        "ms per guarded step",
        "images MiB",
        "temporaries MiB",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for count in options.references:
        images = np.random.default_rng(0).uniform(-1, 1, (count, *model.shape)).astype(np.float32)
        denoise = guidance.safe(model.denoise, model.process, references(images), strength=0.5, window=window)
        seconds: list[tuple[float, float]] = []
        with progress(f"timing {count}", options.repeats + 1) as advance:
            for repeat in range(options.repeats + 1):
                pair = drawn(model.denoise, repeat), drawn(denoise, repeat)
                seconds += [pair] if repeat else []
                advance()
        plain, guarded = (statistics.median(each) for each in zip(*seconds, strict=True))
        ratios = [after / before for before, after in seconds]
        low, high = np.percentile(ratios, [25, 75])
        times = np.asarray(sample_grid(denoise, model.process, solver, 1).times)[:-1, 0]
        acting = int(np.asarray(denoise.window.holds(times)).sum())
        table.add_row(
            f"{count:,}", f"{plain:.2f}", f"{guarded:.2f}", f"{statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]",
            f"{1000 * (guarded - plain) / acting:.1f}", f"{images.nbytes / 2**20:.0f}", f"{temporaries(denoise) / 2**20:.0f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"plain sampling needs {temporaries(model.denoise) / 2**20:.0f} MiB of temporaries")
