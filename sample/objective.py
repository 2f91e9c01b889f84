"""`jaxdiff sample search --objective`: chooses the transition point by evaluating sets drawn at several tau."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from .tune_options import Tune


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
    classifiers, spec = classifiers_for(options, chosen, finished)
    drawing = Draw(
        options.model, folder, Switching(tau=options.tau, start=options.start), chosen.name, chosen.names,
        count=options.count, seed=options.seed, **options.same(),
    )  # fmt: skip
    measured = measured_sets(dict(zip(options.tau, draw(drawing), strict=True)), classifiers, options, chosen, finished)
    measured.sort(key=lambda each: each.setting)
    best = choose_trade_off(measured, objective=options.objective, retain=options.retain)
    values = [getattr(each, OBJECTIVES[options.objective]) for each in measured]
    found = Transition(
        **time_fields(chosen.model.process, best.setting),
        mode=f"{options.objective}/retain {options.retain:g}",
        taus=tuple(each.setting for each in measured),
        curve=tuple(values),
        residual=getattr(best, OBJECTIVES[options.objective]) / values[-1] if values[-1] else 0.0,
        evaluations=chosen.solver.evaluations * len(measured),
        batch=options.count,
        context={
            **chosen.context(), "seed": options.seed, "reference": spec, "measured": [as_json(each) for each in measured],
        },
    )  # fmt: skip
    return found, measured


def as_json(measured: TradeOff) -> dict[str, Any]:
    """The measures of a set, None for one that is NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(measured).items()}


def classifiers_for(options: Search | Tune, chosen: Setting, finished: Finished) -> tuple[Sequence[AttributeClassifier], str]:
    """The classifiers of the attribute and of those associated, trained on real images, and the spec of these.

    Raises:
        InputError: there are several attributes, the model is not one of images, or no real images or attributes are found.
    """
    if len(chosen.columns) != 1:
        raise InputError(f"--objective takes a single --attribute, got {chosen.name or 'a model without labels'}")
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
    with reported("training attribute classifiers") as report:
        classifiers = train_feature_classifiers(
            real, [chosen.name, *associated], **fitting, seed=options.seed, finished=finished, progress=report
        )  # fmt: skip
    return classifiers, spec


def measured_sets(
    folders: Mapping[float | str, Path],
    classifiers: Sequence[AttributeClassifier],
    options: Search | Tune,
    chosen: Setting,
    finished: Finished,
) -> list[TradeOff]:
    """The measures of sets, by setting."""
    of = [(each.attribute.name, each.attribute.values, each.classifier.state, each.confusion.count) for each in classifiers]
    how = {"column": chosen.columns[0], "trained": checksum(of), "seed": options.seed, "finished": finished}
    parts = [_part(name, path, classifiers, **how) for name, path in folders.items()]
    with reported("evaluating sets", unit="sets") as report:
        return run_all(finished, parts, report)


def _part(
    setting: float | str,
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
    key = key_of("trade-off", setting, samples.mark, trained, seed)

    def measure() -> dict[str, float]:
        images, labels = load_arrays(samples)
        return asdict(measure_trade_off(setting, images, labels[:, column], classifiers, seed=seed))

    name = setting if isinstance(setting, str) else f"tau {setting:.3f}"
    return name, key, lambda: TradeOff(**once_json(finished, key, measure))


def _table(measured: Sequence[TradeOff], chosen: Setting) -> Table:
    return table_of(measured, f"trade-off over tau for {chosen.name!r}", "tau")


def table_of(measured: Sequence[TradeOff], title: str, first: str) -> Table:
    """A table of measures, a row for each setting; `first` heads the first column."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in (first, "dependence, %", "disparity", "label accuracy"):
        table.add_column(name, justify="right" if name != "setting" else "left", overflow="fold")
    for each in measured:
        disparity = "-" if math.isnan(each.disparity) else f"{each.disparity:.3f}"
        name = each.setting if isinstance(each.setting, str) else f"{each.setting:.3f}"
        table.add_row(name, f"{each.dependence:.1f}", disparity, f"{each.retention:.3f}")
    return table
