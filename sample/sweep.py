"""`jaxdiff sample sweep`: runs all searches for tau, and draws sets at many tau to compare the searches with."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from jaxdiff import parallel
from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.terminal import console
from jaxdiff.boundary import read_text
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.finished import Finished
from jaxdiff.phases import boundary_times

from .draw import draw
from .methods.switching import Switching, check_on_grid
from .options import Draw, Mode, Search, Sweep
from .search import check_metric, find_transition, needs_reference, search_features
from .search import write as write_search
from .setting import Setting, setting

AT_EVERY_BATCH: tuple[Mode, ...] = ("direct/feature", "prefix/own/beta_eps/batch")  # the default, and the authors'


def planned(options: Sweep) -> dict[Path, tuple[Mode, Search]]:
    """Every search of the sweep by its file, the smallest batches of each mode first.

    Empty with --start none: a search compares both directions of a switch between values.
    """
    if options.start == "none":
        return {}
    names = ("attribute", "values", "reference", "value_names", "layout", "range", "follow_links", "phases", "seed")
    same = {name: getattr(options, name) for name in names}
    same |= options.same()
    plan = {}
    for mode in options.modes:
        kind, *parts = mode.split("/")
        chosen = {"metric": parts[0]} if kind == "direct" else dict(zip(("path", "weight", "norm"), parts, strict=True))
        for batch in sorted(options.batches) if mode in AT_EVERY_BATCH else [max(options.batches)]:
            file = options.out / "search" / f"batch-{batch}-{mode.replace('/', '-')}.json"
            plan[file] = mode, Search(options.model, mode=kind, batch=batch, **chosen, **same)
    return plan


def context(options: Search, chosen: Setting) -> dict[str, Any]:
    """The context that the result of a search is valid for, including the real images it used, if any."""
    needed = needs_reference(options)
    reference = {"reference": options.reference or chosen.model.training.get("data")} if needed else {}
    return {**chosen.context(), "seed": options.seed, **reference}


def kept(file: Path, mode: Mode, options: Search, chosen: Setting) -> Transition | None:
    """The result of an earlier run, or None. Raises `InputError` if it was found in another context."""
    text = parallel.run_on_first(lambda: read_text(file) if file.exists() else None)
    if text is None:
        return None
    try:
        found = Transition.from_json(text)
        found.require(context(options, chosen))
    except InputError as error:
        raise InputError(f"{file} belongs to another sweep ({error}); choose another --out, or delete it") from error
    if (found.mode, found.batch) != (mode, options.batch):
        raise InputError(f"{file} holds a search with mode {found.mode} and batch {found.batch}; delete it")
    return found


def searched(options: Sweep, chosen: Setting, finished: Finished) -> list[Transition]:
    """The results of all searches; only those without a file are run. `finished` keeps what is trained for them."""
    plan = planned(options)
    found = {file: kept(file, mode, search, chosen) for file, (mode, search) in plan.items()}
    features: dict[Mode, Callable | None] = {}
    for number, (file, (mode, search)) in enumerate(plan.items(), start=1):
        if found[file] is not None:
            continue
        console.print(f"search {number} of {len(plan)}: {mode}, batch {search.batch}", highlight=False)
        if mode not in features:
            features[mode] = search_features(search, chosen, finished)
        begun = time.monotonic()
        result = find_transition(search, chosen, features[mode])
        seconds = round(time.monotonic() - begun, 1)
        found[file] = replace(result, context={**context(search, chosen), "seconds": seconds})
        each = found[file]
        write_search(file, each, [(each.mode, each.taus, each.curve, each.tau)], chosen, options.phases)
    return list(found.values())


def sweep(options: Sweep) -> list[Path]:
    """Searches, prints the table, writes the curves and draws the sets; returns the sets' folders."""
    chosen = setting(options.model, options.attribute, options.values, options, start=options.start)
    for _, search in planned(options).values():
        check_metric(search, chosen)
    same = {name: getattr(options, name) for name in ("attribute", "values", "count", "batch_size", "seed")}
    switching = Switching(tau=options.tau, start=options.start)
    drawing = Draw(options.model, options.out, switching, **same, **options.same())
    with kept_parts(options.out, "search") as finished:
        check_on_grid(options.tau, chosen)
        if found := searched(options, chosen, finished):
            show(found, options, chosen)
        return draw(drawing, held=True)


def show(found: Sequence[Transition], options: Sweep, chosen: Setting) -> None:
    """Prints the results of the searches, and writes their curves."""
    title = f"searches for tau, {chosen.name!r}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("mode", "batch", "tau", "residual", "evaluations", "seconds"):
        table.add_column(name, justify="left" if name == "mode" else "right", overflow="fold")
    for each in found:
        numbers = each.batch, f"{each.tau:.3f}", f"{each.residual:.3f}", each.evaluations, each.context.get("seconds", "-")
        table.add_row(each.mode, *map(str, numbers))
    title = f"search for tau, {chosen.name} ({' / '.join(chosen.names)})"
    times, out = boundary_times(chosen.model.process, options.phases), options.out / "criterion.png"
    write_once(out, lambda: plots.criterion(out, found, title, times))
    console.print(table)
    console.print(f"written: {out}")
