"""`--dry-run`: memory and compute of a compiled program, on the available devices or on any number of simulated ones."""

from rich import box
from rich.table import Table

from jaxdiff._console.device import forget_flags
from jaxdiff._console.terminal import console


def simulate_devices(devices: int) -> None:
    """Makes JAX simulate this many devices on the CPU, to compile for. Call it before JAX is used."""
    import jax

    forget_flags()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    # partitioning and collectives stay the same; only the machine code, which never runs, is generated in half the time
    jax.config.update("jax_disable_most_optimizations", True)


def show(report, what: str, calls: int, dtype: str = "float32") -> None:
    """Prints a report of one call of `what`, and the estimated time of `calls` calls at the measured rate of matrix products in
    `dtype` on this machine's first device. The estimate excludes communication and input.

    Arguments:
        report: a `jaxdiff.program_report.ProgramReport`; its `flops` must be of a whole call.
    """
    import jax
    import jax.numpy as jnp

    from jaxdiff.program_report import matrix_rate

    rate = matrix_rate(jnp.dtype(dtype))
    seconds = calls * report.flops / rate
    table = Table(title=f"{what}, on each of {jax.device_count()} devices", box=box.SIMPLE_HEAD, show_header=False)
    table.add_row("memory", mib(report.memory))
    for name in ("arguments", "outputs", "temporaries"):
        table.add_row(f"  {name}", mib(getattr(report, name)))
    table.add_row("operations", f"{report.flops / 1e9:,.3f} GFLOP")
    for kind, (count, size) in report.by_kind().items():
        looped = sum(each.looped for each in report.collectives if each.kind == kind)
        table.add_row(kind, f"{count} of {mib(size)} in all" + (f", {looped} of them within a loop" if looped else ""))
    if not report.collectives:
        table.add_row("collectives", "none")
    table.add_row("measured rate", f"{rate / 1e9:,.0f} GFLOP/s ({dtype} matrices on {jax.devices()[0].device_kind})")
    table.add_row("estimated time", f"{duration(seconds)} for {calls:,} at that rate on every device")
    console.print(table)


def mib(size: float | int) -> str:
    """Bytes as MiB."""
    return f"{size / 2**20:,.1f} MiB"


def duration(seconds: float) -> str:
    """A duration in seconds, minutes, hours or days, whichever is most readable."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.3g} s"
