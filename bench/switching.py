"""Cost of attribute switching compared with plain sampling."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.terminal import console, progress


@dataclass(frozen=True)
class Switching:
    """Times plain sampling and attribute switching in turn, on the shipped model, and prints the medians and the ratio
    of each pair.

    Examples:

      python -m bench switching

      python -m bench switching --batch-size 256 --steps 50 --repeats 20
    """

    model: Path = Path("checkpoints/embedded")
    """Trained model: the folder of a run, or its model.safetensors."""
    batch_size: int = 32
    """Images per batch."""
    steps: int = 25
    """Number of DDIM steps."""
    repeats: int = 15
    """Number of timed pairs, after a warm-up."""


def switching(options: Switching) -> None:
    """Times the samplers, and prints the table."""
    import jax
    import numpy as np
    from rich.table import Table

    from jaxdiff import guidance
    from jaxdiff.model import load
    from jaxdiff.solvers import DDIM, sample

    model = load(options.model)
    ends = model.conditions.encode(np.arange(options.batch_size) % 2)
    starts = model.conditions.encode(1 - np.arange(options.batch_size) % 2)
    methods = {"plain": (model.denoise, ends), "switching": (guidance.switching(model.denoise, 0.437), (starts, ends))}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    with progress("timing", options.repeats + 1) as advance:
        for repeat in range(options.repeats + 1):
            for name, (denoise, condition) in methods.items():
                begun = time.perf_counter()
                jax.block_until_ready(
                    sample(
                        denoise,
                        model.process,
                        shape=model.shape,
                        condition=condition,
                        solver=DDIM(options.steps),
                        key=jax.random.key(repeat),
                    )  # fmt: skip
                )
                if repeat:
                    seconds[name].append(time.perf_counter() - begun)
            advance()
    table = Table(
        title=f"{options.batch_size} images, DDIM {options.steps}, {jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    for heading in ("method", "median s", "min s", "max s", "images/s"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, times in seconds.items():
        middle = statistics.median(times)
        table.add_row(name, f"{middle:.3f}", f"{min(times):.3f}", f"{max(times):.3f}", f"{options.batch_size / middle:.1f}")
    console.print(table)
    ratios = sorted(b / a for a, b in zip(seconds["plain"], seconds["switching"], strict=True))
    low, high = np.percentile(ratios, [25, 75])
    console.print(
        f"switching / plain, ratio of pairs: median {statistics.median(ratios):.3f} "
        f"(quartiles {low:.3f} to {high:.3f}, n = {len(ratios)})"
    )
