"""`jaxdiff sample search --objective`: chooses the transition point by evaluating sets drawn at several tau."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table

from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, reported
from jaxdiff.data import DataSet, load_arrays
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition, choose_trade_off
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.feature_classifiers import associated_names, train_feature_classifiers
from jaxdiff.fairness.tradeoff import OBJECTIVES, TradeOff, measure_trade_off
from jaxdiff.fairness.transition import time_fields
from jaxdiff.finished import Finished, Part, checksum, key_of, once_json, run_all
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import require_pixels

from .draw import draw
from .methods.switching import Switching, check_on_grid
from .options import Draw, Search
from .search import reference_reading, show
from .setting import Setting, setting
from .transitions import default_path


def search_by_objective(options: Search) -> Transition:
    """Draws a set at each tau, evaluates it with attribute classifiers, and writes the best tau for the objective.

    The sets are stored next to the file, in a folder of the same name, and what is trained and measured is kept, so that an
    interrupted search resumes.
    """
    chosen = setting(options.model, options.attribute, options.values, options, start=options.start)
    out = options.out or default_path(options.model, chosen)
    with kept_parts(out) as finished:
        check_on_grid(options.tau, chosen)
        found, measured = find_by_objective(options, chosen, out.with_suffix(""), finished)
        show(options, chosen, out, found, [(found.mode, found.taus, found.curve, found.tau)])
    console.print(_table(measured, chosen))
    return found


def find_by_objective(options: Search, chosen: Setting, folder: Path, finished: Finished) -> tuple[Transition, list[TradeOff]]:
    """The tau with the least dependence or disparity among those with enough label accuracy, and what was measured at each tau;
    draws the sets to `folder`."""
    if len(chosen.columns) > 1:
        raise InputError(f"--objective takes a single --attribute, got {chosen.name}")
    training = chosen.model.training
    spec = options.reference or training.get("data")
    if spec is None:
        raise InputError(
            "--objective needs real images, and the model does not record its training data: name real images with --reference"
        )
    *size, channels = require_pixels(chosen.model.space.shown, "the model").shape
    reading = reference_reading(options, options.reference, training)
    real = DataSet(spec, **{name: reading[name] for name in ("layout", "range", "links")})
    fitting = {"size": tuple(size), "channels": channels, "value_names": reading["value_names"]}
    opened = real.take_with([chosen.name], split="train", **fitting)
    show_data(opened)
    associated = associated_names(opened, chosen.name, options.associated)
    if options.objective == "parity" and not associated:
        raise InputError(f"--objective parity needs data with attributes other than {chosen.name}; {spec} has none")
    drawing = Draw(
        options.model, folder, Switching(tau=options.tau, start=options.start), chosen.name, chosen.names,
        count=options.count, seed=options.seed, **options.same(),
    )  # fmt: skip
    names = [chosen.name, *associated]
    with reported("training attribute classifiers") as report:
        classifiers = train_feature_classifiers(
            real, names, **fitting, seed=options.seed, finished=finished, progress=report
        )  # fmt: skip
    folders = draw(drawing)
    of = [(each.attribute.name, each.attribute.values, each.classifier.state, each.confusion.count) for each in classifiers]
    how = {"column": chosen.columns[0], "trained": checksum(of), "seed": options.seed, "finished": finished}
    parts = [_part(tau, path, classifiers, **how) for tau, path in zip(options.tau, folders, strict=True)]
    with reported("evaluating sets", unit="sets") as report:
        measured = run_all(finished, parts, report)
    measured.sort(key=lambda each: each.tau)
    best = choose_trade_off(measured, objective=options.objective, retain=options.retain)
    values = [getattr(each, OBJECTIVES[options.objective]) for each in measured]
    found = Transition(
        **time_fields(chosen.model.process, best.tau),
        mode=f"{options.objective}/retain {options.retain:g}",
        taus=tuple(each.tau for each in measured),
        curve=tuple(values),
        residual=getattr(best, OBJECTIVES[options.objective]) / values[-1] if values[-1] else 0.0,
        evaluations=chosen.solver.evaluations * len(measured),
        batch=options.count,
        context={
            **chosen.context(), "seed": options.seed, "reference": spec,
            "measured": [{name: None if math.isnan(value) else value for name, value in asdict(e).items()} for e in measured],
        },
    )  # fmt: skip
    return found, measured


def _part(
    tau: float,
    folder: Path,
    classifiers: Sequence[AttributeClassifier],
    *,
    column: int,
    trained: str,
    seed: int,
    finished: Finished,
) -> Part[TradeOff]:
    """The measurement of a set; `trained` is the checksum of the classifiers."""
    samples = SampleSet.open(folder)
    key = key_of("trade-off", tau, samples.mark, trained, seed)

    def measure() -> dict[str, float]:
        images, labels = load_arrays(samples)
        return asdict(measure_trade_off(tau, images, labels[:, column], classifiers, seed=seed))

    return f"tau {tau:.3f}", key, lambda: TradeOff(**once_json(finished, key, measure))


def _table(measured: Sequence[TradeOff], chosen: Setting) -> Table:
    title = f"trade-off over tau for {chosen.name!r}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("tau", "dependence, %", "disparity", "label accuracy"):
        table.add_column(name, justify="right", overflow="fold")
    for each in measured:
        disparity = "-" if math.isnan(each.disparity) else f"{each.disparity:.3f}"
        table.add_row(f"{each.tau:.3f}", f"{each.dependence:.1f}", disparity, f"{each.retention:.3f}")
    return table
