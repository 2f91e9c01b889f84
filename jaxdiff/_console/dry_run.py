"""`--dry-run`: what a program would take, from its compiled form, on the devices that there are or on as many as one likes."""

from rich import box
from rich.table import Table

from jaxdiff._console.device import forget_flags
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError


def pretend(devices: int) -> None:
    """Has JAX take this machine's processor for so many devices, to compile for. Call it before JAX is used.

    Raises:
        InputError: fewer than one.
    """
    if devices < 1:
        raise InputError(f"--devices must be at least 1, got {devices}")
    import jax

    forget_flags()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    # what is partitioned and exchanged stays the same, only the machine code, which never runs, is made in half the time
    jax.config.update("jax_disable_most_optimizations", True)


def show(report, what: str, calls: int, dtype: str = "float32") -> None:
    """Prints a report of one call of `what`, and the time that `calls` of them would take at the rate of this machine's
    first device in matrix products of `dtype`, which is measured. Exchanges between devices and reading are left out of it.

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
    table.add_row("time", f"{duration(seconds)} for {calls:,} at that rate on every device")
    console.print(table)


def mib(size: float) -> str:
    """Bytes as MiB."""
    return f"{size / 2**20:,.1f} MiB"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever reads best."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.3g} s"
