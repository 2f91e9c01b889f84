"""Cost of a training step on each of 1, 2, 4, ... devices, as estimated by XLA; nothing is run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Devices:
    """Compiles the training step of a preset for meshes of growing size, with simulated devices, and prints the operations,
    memory and collectives of each device.

    Examples:

      python -m bench devices

      python -m bench devices --preset tiny --batch-size 16 --counts 1 2 4 8
    """

    preset: Literal["tiny", "small", "faces64", "faces128"] = "faces64"
    """Preset of network and training."""
    batch_size: int = 256
    """Images per step, over all devices."""
    counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    """Numbers of devices."""
    fsdp: tuple[int, ...] = (1, 8)
    """Sizes of the mesh axis fsdp, at most the number of devices."""

    def __post_init__(self):
        for count in self.counts:
            if count < 1 or self.batch_size % count:
                raise InputError(f"--counts must divide --batch-size {self.batch_size}, got {count}")


def devices(options: Devices) -> None:
    """Compiles the steps, and prints the table."""
    from rich.table import Table

    from jaxdiff._console.dry_run import mib, simulate_devices

    simulate_devices(max(options.counts))
    import jax

    from jaxdiff.data import Attribute
    from jaxdiff.parallel import make_mesh
    from train.diffusion import resolve
    from train.dry_run import compiled_step
    from train.options import Options

    given = Options(Path("."), preset=options.preset, batch_size=options.batch_size)
    task = resolve(given, (Attribute("group", ("a", "b")),))
    meshes = dict.fromkeys((count, min(fsdp, count)) for fsdp in options.fsdp for count in options.counts)
    table = Table(title=f"training step of {options.preset}, {options.batch_size} images, jax {jax.__version__}")
    for heading in ("mesh", "GFLOP", "x devices", "state MiB", "temporaries MiB", "collectives (MiB)"):
        table.add_column(heading, justify="right")
    with progress("compiling", len(meshes)) as advance:
        for count, fsdp in meshes:
            text = f"data={count // fsdp},fsdp={fsdp}"
            _, report = compiled_step(given, task, 1, make_mesh(text, jax.devices()[:count]))
            kinds = ", ".join(f"{number} {kind} ({mib(size)})" for kind, (number, size) in report.by_kind().items())
            row = (
                text, f"{report.flops / 1e9:.3f}", f"{count * report.flops / 1e9:.1f}", mib(report.arguments + report.outputs),
                mib(report.temporaries), kinds or "none",
            )  # fmt: skip
            table.add_row(*row)
            advance(1, "  ".join(row))
            # seventeen programs of this size in one process run into the kernel's limit on memory maps
            jax.clear_caches()
    console.print(table)
