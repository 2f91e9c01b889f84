"""Cost of sampling on each of 1, 2, 4, ... devices, as estimated by XLA; nothing is run."""

from dataclasses import dataclass

from jaxdiff._console.dry_run import mib, simulate_devices
from jaxdiff._console.terminal import console, working


@dataclass(frozen=True)
class Sampler:
    """Compiles the sampler for 1, 2, 4, ... simulated devices, and prints the operations per step, memory and collectives of
    each device, as estimated by XLA. Nothing is run.

    Examples:

      python -m bench sampler

      python -m bench sampler --preset tiny --max-devices 16 --fsdp
    """

    preset: str = "faces64"
    """Preset of the network."""
    batch_size: int = 256
    """Images per batch, over all devices."""
    max_devices: int = 256
    """Maximum number of devices."""
    fsdp: bool = False
    """Shard the parameters over the devices too."""


def sampler(options: Sampler) -> None:
    """Compiles the samplers, and prints the table."""
    simulate_devices(options.max_devices)
    from functools import partial

    import jax
    import numpy as np
    from rich.table import Table

    from jaxdiff import parallel, process
    from jaxdiff.denoiser import NetworkDenoiser
    from jaxdiff.models.network import unet
    from jaxdiff.presets import preset
    from jaxdiff.program_report import program_report
    from jaxdiff.solvers import DDIM
    from jaxdiff.solvers.driver import traced
    from jaxdiff.spaces import Pixels

    chosen = preset(options.preset)
    forward = process.from_config({"name": chosen.process})
    network, space = jax.eval_shape(partial(unet, chosen.network), jax.random.key(0)), Pixels(*chosen.network.shape)
    table = Table(title=f"{options.preset}, batch {options.batch_size}, on each device", title_justify="left")
    for name in ("devices", "GFLOP per step", "times devices", "arguments", "temporaries", "collectives in the loop"):
        table.add_column(name, justify="right")
    alone, count = None, 1
    while count <= options.max_devices:
        mesh = parallel.make_mesh(f"fsdp={count}" if options.fsdp else "", jax.devices()[:count])
        weights = parallel.abstract_parameters(mesh, network)
        denoise = space.policy.network(NetworkDenoiser(weights, forward, chosen.prediction))
        with jax.set_mesh(mesh), working(f"compiling for {count}"):
            indices = parallel.shard_rows(mesh, np.arange(options.batch_size, dtype=np.int32))
            program = traced(denoise, forward, shape=space.shape, solver=DDIM(10), key=jax.random.key(0), indices=indices)
            report = program_report(program.lower().compile())
        alone = alone or report.flops
        looped = [each.kind for each in report.collectives if each.looped]
        collectives = ", ".join(f"{looped.count(kind)} {kind}" for kind in sorted(set(looped))) or "none"
        table.add_row(
            str(count), f"{report.flops / 1e9:,.4g}", f"{count * report.flops / alone:.4f}", mib(report.arguments),
            mib(report.temporaries), collectives,
        )  # fmt: skip
        count *= 2
    console.print(table)
