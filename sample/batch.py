"""How many images are drawn at once where the user does not say."""

import pickle

import jax

from jaxdiff import parallel
from jaxdiff.data import samples
from jaxdiff.program_report import ProgramReport, program_report

from .drawing import Drawing

ON_PROCESSORS = 64  # images, which keep processors as busy as more would
SHARE = 0.8  # of the free memory: XLA's account leaves out what its libraries take


def images_at_once(drawing: Drawing, count: int) -> int:
    """The images of a batch, on all devices together: on each a power of two, as large as its free memory lets it be.

    A batch has no more images than a shard for each process, or than there are to be drawn, rounded up. On processors, whose
    memory is not known, it has 64. Every process calls it.

    Arguments:
        drawing: what is drawn; its program is compiled, and kept on disk for the drawing.
        count: images to be drawn.
    """
    devices = drawing.chosen.mesh.size
    each_free = [pickle.loads(each) for each in parallel.exchange(pickle.dumps(free_memory()))]
    free = None if None in each_free else min(each_free)
    most = ON_PROCESSORS if free is None else samples.SHARD * jax.process_count()
    each = 1
    while each * devices < count and 2 * each * devices <= most:
        each *= 2
    while free is not None and each > 1 and report(drawing, each * devices).memory > SHARE * free:
        each //= 2
    return each * devices


def free_memory() -> int | None:
    """Bytes that are free on that device of this process which has the fewest; None where devices do not say."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if not all("bytes_limit" in each for each in stats):
        return None
    return min(each["bytes_limit"] - each.get("bytes_in_use", 0) for each in stats)


def report(drawing: Drawing, batch: int) -> ProgramReport:
    """The report of the program that draws a batch; the operations of its loop are those of one step."""
    with jax.set_mesh(drawing.chosen.mesh):
        return program_report(drawing.lower(batch).compile())
