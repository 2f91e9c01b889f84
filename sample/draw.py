"""`jaxdiff sample draw`: draws sets of images from a model."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdiff import parallel
from jaxdiff._console.first import write_once
from jaxdiff._console.output import claimed as claimed_output
from jaxdiff._console.pictures import grid, write
from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.sampleset import FILE, SampleSet
from jaxdiff.writing import require_room

from .batch import images_at_once
from .drawing import Drawing
from .gating import Gating, gating
from .options import Draw
from .setting import setting
from .shard import Shard, kept, remove_parts
from .shard_work import ShardWork
from .windows_table import NAME, check_table, write_windows

PREVIEW = 64
ACTIVITY = "being drawn into"


def draw(options: Draw, *, held: bool = False, loaded: Model | None = None) -> list[Path]:
    """Draws the sets; returns their folders.

    Arguments:
        options: the options of the program.
        held: whether the caller has claimed --out.
        loaded: the model, where it is loaded already.
    """
    method = options.method
    chosen = setting(
        options.model, options.attribute, options.values, options, method=method, start=method.start, loaded=loaded
    )
    if options.batch_size is not None:
        parallel.check_divides(chosen.mesh, options.batch_size, "--batch-size")
    if options.table is not None:
        check_table(options.table, chosen.model)
    gates = parallel.run_on_all(lambda: gating(options, chosen))
    # claimed before the transition points are searched, where they have to be
    with nullcontext() if held else claimed_output(options.out, activity=ACTIVITY):
        sets = method.sets(options, chosen)
        return [draw_set(options, folder, Drawing(chosen, each, options.seed), gates) for folder, each in sets]


def draw_set(options: Draw, folder: Path, drawing: Drawing, gates: Gating) -> Path:
    """Draws the missing shards of one set."""
    chosen, ends = drawing.chosen, drawing.ends(options.count)
    attributes, space = chosen.model.conditions.attributes, chosen.model.space
    about = {**drawing.settings(), **gates.settings()}
    description = (about, attributes, drawing.labels(ends), space, options.format, drawing.captions())
    unsafe = gates.unsafe_prompts(chosen, ends)
    with claimed(folder, *description, held=folder == options.out) as samples:
        seconds = _draw_missing(options, drawing, gates, samples, ends, unsafe)
        write_once(folder, partial(remove_parts, samples))
        write_once(folder, samples.finish)
        if len(seconds) > 1:
            # the first batch compiles
            write_once(folder, lambda: samples.record_seconds(float(np.median(seconds[1:]))))
        write_once(folder, lambda: _preview(samples))
        if (suffix := options.table) is not None:
            write_once(folder, lambda: write_windows(samples, suffix) and None)
        if guard := chosen.nest.in_slot("guard"):
            summary = parallel.run_on_first(lambda: guard_summary(samples.sample_notes(), gated=guard.modifier.gated))
            console.print(summary, highlight=False)
        if gates.gated:
            console.print(parallel.run_on_first(lambda: samples.gate_counts.described()), highlight=False)
    also = "" if options.table is None else f", {NAME}.{options.table}"
    console.print(f"written: {folder}, {options.count} {space.shown.array}, preview.png{also}")
    return folder


def _preview(samples: SampleSet) -> None:
    shown = np.stack([samples.image(i) for i in range(min(PREVIEW, len(samples)))])
    write(grid(samples.space.pictures(shown)), samples.path / "preview.png")


@contextmanager
def claimed(folder: Path, *description: Any, held: bool = False) -> Iterator[SampleSet]:
    """Opens or creates the set of this description in a folder, and locks the folder. Every process calls it.

    Arguments:
        folder: the folder of the set.
        description: arguments of `SampleSet.create`.
        held: whether the caller has locked it.

    Raises:
        InputError: in every process, if the folder holds another set, is locked by another run, or is not visible to all.
    """

    def opened():
        if not (folder / FILE).is_file():
            raise InputError(f"{folder} is not visible here: all machines need a folder on a shared file system")
        return SampleSet.create(folder, *description)

    with nullcontext() if held else claimed_output(folder, activity=ACTIVITY):
        parallel.run_on_first(lambda: SampleSet.create(folder, *description) and None)
        yield parallel.run_on_all(opened)


def _draw_missing(
    options: Draw, drawing: Drawing, gates: Gating, samples: SampleSet, ends: np.ndarray, unsafe: np.ndarray
) -> list[float]:
    """Draws the missing shards, assigned to the processes in turn; returns the seconds per image of each batch.

    Of a shard that takes long, what is drawn is kept in parts, and a run begins where these end. All processes draw the same
    number of batches in lockstep: one without a shard of its own repeats some samples.

    Arguments:
        options, drawing, gates, samples: what is drawn, and where.
        ends: the label of each image.
        unsafe: whether the prompt of each image is unsafe.
    """
    first, processes = jax.process_index(), jax.process_count()
    missing = [tuple(shard) for shard in parallel.run_on_first(samples.missing)]
    there = [shard for shard in samples.shards() if shard not in missing]
    parallel.gather_results(lambda: samples.check(there[first::processes]))
    if not missing:
        return []
    batch = options.batch_size or images_at_once(drawing, options.count)
    rows, seconds = batch // processes, []
    # everything that the processes must agree on comes from the first
    parts = dict(parallel.run_on_first(lambda: [(start, kept(samples, start, stop)) for start, stop in missing]))
    left = sum(stop - start - parts[start] for start, stop in missing)
    if samples.storage == "npz":
        shown = drawing.chosen.model.space.shown
        size = left * math.prod(shown.shape) * np.dtype(shown.dtype).itemsize
        parallel.run_on_first(lambda: require_room(samples.path, size, f"{left} samples"))
    with progress(f"drawing {samples.path.name}", options.count, done=options.count - left, unit="images") as advance:
        for turn in range(0, len(missing), processes):
            shards = missing[turn : turn + processes]
            start, stop = shards[first] if first < len(shards) else (shards[0][0],) * 2
            shard = Shard(samples, start, stop, parts[start]) if start < stop else None
            work = ShardWork(drawing, gates, shard, range(min(start + parts[start], stop), stop), unsafe)
            states = parallel.gather_results(lambda work=work: [work.skip(), len(work.pending)])
            advance(sum(done for done, _ in states))
            while any(pending for _, pending in states):
                begun = time.monotonic()
                indices, redraws = work.take(rows, start)
                redrawn = redraws if gates.redraws else None
                with jax.set_mesh(drawing.chosen.mesh):
                    drawn, notes = drawing.draw(indices, ends[indices], redrawn)
                states = parallel.gather_results(partial(_added, work, drawn, notes))
                advance(sum(done for done, _ in states))
                seconds.append((time.monotonic() - begun) / batch)
            parallel.gather_results(lambda shard=shard: shard and shard.write())
    return seconds


def _added(work: ShardWork, drawn: np.ndarray, notes: Mapping[str, np.ndarray]) -> list[int]:
    """The images that are finished by a batch, and those that are left."""
    return [work.add(drawn, notes), len(work.pending)]


def guard_summary(notes: dict[str, np.ndarray], *, gated: bool) -> str:
    """A line about how a guard acted on a set; a warning if it never acted, or if its threshold excluded nothing."""
    acted = notes["acted"] > 0
    share = f"the guard acted on {acted.sum()} of {len(acted)} images"
    if not acted.any():
        ways = "raise --strength, --deviation or --radius, lower --threshold, or widen --window"
        return f"Warning: {share}: it had no effect; {ways}, where the guard has them"
    first, last = np.nanmedian(notes["first_snr"]), np.nanmedian(notes["last_snr"])
    strongest = np.median(notes["strongest"][acted])
    line = f"{share}, from SNR {first:.3g} to {last:.3g}, with maximum weight {strongest:.3g} (medians)"
    if gated and (notes["acted"] == notes["looked"]).all():
        return f"Warning: {line}: its threshold excluded no image, not even a safe one"
    return line
