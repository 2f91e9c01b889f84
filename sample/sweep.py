"""`python -m sample sweep`: the searches for tau side by side, and the sets over tau that tell which of them to trust."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rich import box
from rich.table import Table

from jaxdiff import parallel
from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.terminal import console
from jaxdiff.choices import BOUNDARIES
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.phases import boundary_times

from .common import Sampling, Setting, setting
from .draw import Draw, draw
from .search import Search, find_transition, learn, looks_at_real_images
from .search import write as write_search

Mode = Literal[
    "direct/feature", "direct/whitened", "direct/pixel", "prefix/shared/g2_score/sample", "prefix/own/beta_eps/batch"
]
MODES: tuple[Mode, ...] = get_args(Mode)
AT_EVERY_BATCH: tuple[Mode, ...] = ("direct/feature", "prefix/own/beta_eps/batch")  # the default, and the authors'


@dataclass(frozen=True)
class Sweep(Sampling):
    """Runs the searches for tau side by side, and draws a switched set at each of many tau, for `evaluate sweep` to judge.

    The default search (direct/feature) and the authors' (prefix/own/beta_eps/batch) run at every batch size, the others at
    the largest; with --start none there is nothing to search, and the sets alone are drawn. Writes a file for each search to
    OUT/search, their curves to OUT/criterion.png, and the sets to OUT/tau-*, as `sample search` and `sample draw` would. A
    sweep that was cut off goes on where it stopped. A direct search at batch 64 takes a minute or two of a CPU, and in
    proportion; one of the prefix searches, seconds.

    Examples:

      python -m sample sweep --model runs/faces --attribute group --steps 25 --out out/sweep

      python -m sample sweep --model runs/faces --attribute group --tau 0.2 0.4 0.6 0.8 --batches 1 64 --out out/small

      python -m sample sweep --model runs/faces --start none --out out/neutral

      python -m sample sweep --model runs/utkface --reference ~/utkface --value-names gender=male,female --modes direct/feature
          prefix/own/beta_eps/batch --out out/utkface
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """Folder of the sweep."""
    attribute: str | None = None
    """The sensitive attribute, or the combinations of several joined by +; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The values to switch between, two or more; by default all."""
    tau: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Transition points in [0, 1], two or more; 1 never switches."""
    count: int = 1024
    """Images of each set; as many of each group."""
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Noise samples of the searches."""
    modes: tuple[Mode, ...] = MODES
    """The searches, as METRIC of a direct one or PATH/WEIGHT/NORM of a prefix one."""
    reference: str | None = None
    """Real images for direct/whitened and direct/feature; by default the data that the model was trained on."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of the reference, e.g. gender=male,female."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet that the plots show."""
    batch_size: int | None = None
    """Images drawn at once, by default as `draw` chooses; the images do not depend on it."""
    seed: int = 0
    """Seed of the searches and of the sets."""

    def __post_init__(self):
        for name in ("batches", "modes"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise InputError(f"--{name} takes one or more, each once, got {' '.join(map(str, given)) or 'none'}")
        if min(self.batches) < 1:
            raise InputError(f"--batches must be at least 1, got {min(self.batches)}")
        if len({f"{tau:.3f}" for tau in self.tau}) < max(2, len(self.tau)):
            told = " ".join(map(str, self.tau))
            raise InputError(f"--tau takes two or more times that differ in the third decimal, got {told or 'none'}")
        if self.steps < 3:
            raise InputError(f"--steps must be at least 3 for a sweep, got {self.steps}")


def planned(options: Sweep) -> dict[Path, tuple[Mode, Search]]:
    """Every search of the sweep by the file that it is kept in, the smallest batches of each mode first.

    None with --start none: a search compares both directions of a switch of values.
    """
    if options.start == "none":
        return {}
    same = {name: getattr(options, name) for name in ("attribute", "values", "reference", "value_names", "phases", "seed")}
    same |= {field.name: getattr(options, field.name) for field in fields(Sampling)}
    plan = {}
    for mode in options.modes:
        kind, *parts = mode.split("/")
        chosen = {"metric": parts[0]} if kind == "direct" else dict(zip(("path", "weight", "norm"), parts, strict=True))
        for batch in sorted(options.batches) if mode in AT_EVERY_BATCH else [max(options.batches)]:
            file = options.out / "search" / f"batch-{batch}-{mode.replace('/', '-')}.json"
            plan[file] = mode, Search(options.model, mode=kind, batch=batch, **chosen, **same)
    return plan


def context(options: Search, chosen: Setting) -> dict[str, Any]:
    """What the result of a search is tied to; of one that looks at real images, these too."""
    learnt = looks_at_real_images(options)
    reference = {"reference": options.reference or chosen.model.training.get("data")} if learnt else {}
    return {**chosen.context(), "seed": options.seed, **reference}


def kept(file: Path, mode: Mode, options: Search, chosen: Setting) -> Transition | None:
    """The result of an earlier run; None where there is none. Raises `InputError` for one of another context."""
    text = parallel.once(lambda: file.read_text() if file.exists() else None)
    if text is None:
        return None
    try:
        found = Transition.from_json(text)
        found.require(context(options, chosen))
    except InputError as error:
        raise InputError(f"{file} is not of this sweep ({error}); take another --out, or delete it") from error
    if (found.mode, found.batch) != (mode, options.batch):
        raise InputError(f"{file} holds a search by {found.mode} at batch {found.batch}; delete it")
    return found


def searched(options: Sweep, chosen: Setting) -> list[Transition]:
    """The results of all searches; only those that have no file yet are run."""
    plan = planned(options)
    found = {file: kept(file, mode, search, chosen) for file, (mode, search) in plan.items()}
    learnt: dict[Mode, Callable | None] = {}
    for number, (file, (mode, search)) in enumerate(plan.items(), start=1):
        if found[file] is not None:
            continue
        console.print(f"search {number} of {len(plan)}: {mode}, batch {search.batch}", highlight=False)
        if mode not in learnt:
            learnt[mode] = learn(search, chosen)
        begun = time.monotonic()
        result = find_transition(search, chosen, learnt[mode])
        seconds = round(time.monotonic() - begun, 1)
        found[file] = replace(result, context={**context(search, chosen), "seconds": seconds})
        each = found[file]
        write_search(file, each, [(each.mode, each.taus, each.curve, each.tau)], chosen, options.phases)
    return list(found.values())


def sweep(options: Sweep) -> list[Path]:
    """Searches, prints the table, writes the curves and draws the sets; returns the sets' folders."""
    chosen = setting(options.model, options.attribute, options.values, options)
    same = {name: getattr(options, name) for name in ("attribute", "values", "tau", "count", "batch_size", "seed")}
    same |= {field.name: getattr(options, field.name) for field in fields(Sampling)}
    drawing = Draw(options.model, options.out, "switching", **same)
    if found := searched(options, chosen):
        tell(found, options, chosen)
    return draw(drawing)


def tell(found: Sequence[Transition], options: Sweep, chosen: Setting) -> None:
    """Prints what the searches found, and writes their curves."""
    title = f"searches for tau, {chosen.attribute.name!r}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("mode", "batch", "tau", "residual", "evaluations", "seconds"):
        table.add_column(name, justify="left" if name == "mode" else "right", overflow="fold")
    for each in found:
        numbers = each.batch, f"{each.tau:.3f}", f"{each.residual:.3f}", each.evaluations, each.context.get("seconds", "-")
        table.add_row(each.mode, *map(str, numbers))
    console.print(table)
    title = f"search for tau, {chosen.attribute.name} ({' / '.join(chosen.names)})"
    times, out = boundary_times(chosen.model.process, options.phases), options.out / "criterion.png"
    write_once(out, lambda: plots.criterion(out, found, title, times))
    console.print(f"written: {out}")
