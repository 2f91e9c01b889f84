"""The default batch size of `jaxdiff sample draw`."""

from dataclasses import replace

import jax

from jaxdiff import parallel
from jaxdiff._console.flops import traced_flops
from jaxdiff.data import samples
from jaxdiff.program_report import ProgramReport, program_report

from .drawing import Drawing

ON_CPU = 64  # images; a larger batch is no faster on CPU
SHARE = 0.8  # of the free memory: XLA's estimate leaves out what its libraries allocate


def images_at_once(drawing: Drawing, count: int) -> int:
    """The batch size over all devices: on each the largest power of two that fits in its free memory.

    A batch has at most one shard per process, and at most `count` images, rounded up. It is 64 on CPU, whose free memory is not
    reported. Every process calls it.

    Arguments:
        drawing: what is drawn; its program is compiled, and cached on disk.
        count: number of images to draw.
    """
    devices = drawing.chosen.mesh.size
    each_free = parallel.gather_results(free_memory)
    free = None if None in each_free else min(each_free)
    most = ON_CPU if free is None else samples.SHARD * jax.process_count()
    each = 1
    while each * devices < count and 2 * each * devices <= most:
        each *= 2
    while free is not None and each > 1 and report(drawing, each * devices).memory > SHARE * free:
        each //= 2
    return each * devices


def free_memory() -> int | None:
    """Free bytes of this process's device with the least free memory; None if devices do not report it."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if not all("bytes_limit" in each for each in stats):
        return None
    return min(each["bytes_limit"] - each.get("bytes_in_use", 0) for each in stats)


def report(drawing: Drawing, batch: int) -> ProgramReport:
    """The report of the program that draws a batch, with the operations of all steps of matrix products and convolutions."""
    with jax.set_mesh(drawing.chosen.mesh):
        program = drawing.trace(batch)
        compiled = program_report(program.lower().compile())
    # XLA counts the body of a loop once
    return replace(compiled, flops=traced_flops(program.jaxpr.jaxpr) / drawing.chosen.mesh.size)
