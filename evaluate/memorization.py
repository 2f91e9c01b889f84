"""`jaxdiff evaluate memorization`: training images, or windows of series, that synthetic ones reproduce, and held-out ones."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, progress, working
from jaxdiff.data import Source, load_arrays, open_data
from jaxdiff.data.shown import is_series
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, checksum, key_of, once
from jaxdiff.model import Model, load
from jaxdiff.safety.duplicates import Duplicates, find_duplicates
from jaxdiff.safety.memorization import Closeness, closeness, images_at_risk, measure_memorization, near_distance
from jaxdiff.spaces import Pixels, Space
from jaxdiff.writing import whole

from . import memorization_report as report
from . import series_data
from .conditions import require_condition
from .membership import attack
from .memorization_report import EvaluatedSet, MemorizationReport
from .options.memorization import LEAST, Memorization
from .options.series import SeriesOrigin
from .provenance import provenance
from .sources import image_format_of, require_one_size


def memorization(options: Memorization) -> MemorizationReport:
    """Measures, writes the report and prints the tables."""
    options.join()
    with kept_parts(options.out, "memorization") as finished:
        return evaluate(options, finished)


def evaluate(options: Memorization, finished: Finished) -> MemorizationReport:
    """As `memorization`; keeps what is finished."""
    start = time.monotonic()
    model = load(options.model) if options.model else None
    opened = _open_series(options) if is_series(options.samples[0]) else _open(options, model)
    sources, train_source, other_source, space = opened
    largest = max(min(len(source), options.count) for source in sources.values())
    with working(f"reading {space.noun}"):
        train, labels = load_arrays(train_source)
        needed = max(largest, options.members) if model else largest
        others, other_labels = load_arrays(other_source, count=min(needed, len(other_source)), seed=options.seed)
        sets = {
            name: load_arrays(source, count=min(len(source), options.count), seed=options.seed)[0]
            for name, source in sources.items()
        }
    with working("finding duplicates"):
        compared, other_compared = space.compared(train), space.compared(others)
        duplicates = _duplicates(options, space, compared, other_compared, finished)
    arrays = {name: space.compared(each) for name, each in sets.items()}
    control, near = _closeness(options, space, compared, duplicates, other_compared, arrays, finished)
    risk = images_at_risk(list(near.values()))

    def written(attacks: list[Any]) -> MemorizationReport:
        """The report with these attacks."""
        result = MemorizationReport(
            sets=[EvaluatedSet(name, sets[name], each, measure_memorization(each, control)) for name, each in near.items()],
            control=EvaluatedSet(other_source.name, others[:largest], control.take(np.arange(min(largest, len(others)))), None),
            train=(train_source.name, train, duplicates),
            risk=risk,
            attacks=attacks,
            space=space,
            context={
                **({"model": model.fingerprint, "model_training": model.training} if model else {}),
                **provenance(options),
                "seconds": round(time.monotonic() - start, 1),
            },
        )

        def write():
            report.write(result, options.out)
            write_at_risk(options.out / "at_risk.npz", space, train_source, train, labels, risk)

        write_once(options.out, write)
        return result

    result = written([])
    if model:
        kept = np.flatnonzero(control.distance > 0)  # at distance 0 they are training images
        members = np.random.default_rng(options.seed).permutation(len(train))[: min(options.members, len(kept))]
        kept = kept[: len(members)]
        # written before it, so that a fault of the attack loses nothing
        result = written(
            attack(
                options,
                model,
                (train_source, train[members], labels[members]),
                (other_source, others[kept], other_labels[kept]),
                finished,
            )
        )
    report.show(result, console)
    one = space.noun.removesuffix("s")
    note = f"; at_risk.npz, {len(risk)} training {space.noun}"
    note = note if len(risk) else f"; no training {one} is at risk, so no at_risk.npz"
    console.print(f"wrote {options.out}/memorization.json, memorization.md and closest.png{note}", highlight=False)
    return result


def _duplicates(options: Memorization, space: Space, train: np.ndarray, others: np.ndarray, finished: Finished) -> Duplicates:
    flips = options.flips and space.mirrored

    def compute():
        limit = 0.0 if space.overlapping and options.duplicates is None else options.duplicates
        if limit is None:
            limit = near_distance(train, others, flips=flips)
        found = find_duplicates(train, distance=limit, flips=flips)
        return {name: np.asarray(value) for name, value in asdict(found).items()}

    given = {"duplicates": options.duplicates, "flips": flips}
    found = once(finished, key_of("duplicates", given, train, others), compute)
    return Duplicates(found["groups"], int(found["exact"]), float(found["distance"]))


def _closeness(
    options: Memorization,
    space: Space,
    train: np.ndarray,
    duplicates: Duplicates,
    others: np.ndarray,
    sets: Mapping[str, np.ndarray],
    finished: Finished,
) -> tuple[Closeness, dict[str, Closeness]]:
    """The distances of the held-out images, and of each set, to the training images; arrays as of `Space.compared`."""
    how = {"neighbours": options.neighbours, "alpha": options.alpha, "flips": options.flips and space.mirrored}
    images, given = [others, *sets.values()], checksum((train, duplicates.groups, how))
    keys = [key_of("closeness", given, each) for each in images]
    done = sum(len(each) for each, key in zip(images, keys, strict=True) if key in finished)
    with progress("finding nearest neighbours", sum(map(len, images)), done=done, unit=space.noun) as advance:
        control, *near = (
            Closeness(
                **once(finished, key, lambda each=each: asdict(closeness(each, train, duplicates, **how, advance=advance)))
            )
            for each, key in zip(images, keys, strict=True)
        )
    return control, dict(zip(sets, near, strict=True))


Opened = tuple[dict[str, Source], Source, Source, Space]
"""The sets by name, the training data and the held-out data, and the space of all of them."""


def _open(options: Memorization, model: Model | None) -> Opened:
    """Sets of images and real images; decodes only the first image of each."""
    if options.split_by is not None:
        raise InputError(f"--split-by is for sets of time series, and {options.samples[0]} is read as images")
    fitting = image_format_of(options, model) if model else options.image_format
    own = model is not None and options.condition == "own"
    names = [attribute.name for attribute in model.conditions.attributes] if own else []
    data, value_names = options.opened(options.train or "embedded"), options.reading["value_names"]
    known, others = (
        data.take_with(names, split=split, value_names=value_names, **fitting) for split in (options.split, options.held_out)
    )
    if model:
        require_condition(model, known, own=own)
    if len(known) < options.neighbours:
        raise InputError(f"--neighbours {options.neighbours} needs as many training images; {known.name} has {len(known)}")
    if model and len(others) < LEAST:
        raise InputError(f"the membership attack needs at least {LEAST} held-out images; {others.name} has {len(others)}")
    sources = {
        name: open_data(spec, split="all", **fitting, attributes=(), links=options.follow_links)
        for name, spec in _names(options).items()
    }
    for source in (known, others, *sources.values()):
        show_data(source)
    require_one_size([known, others, *sources.values()])
    return sources, known, others, Pixels(*known.image(0).shape)


def _open_series(options: Memorization) -> Opened:
    """Sets of windows of series, and the windows of both splits of the data of their training."""
    defaults = type(options).__dataclass_fields__
    for name in ("size", "channels", "value_names", "layout", "range", "model"):
        if getattr(options, name) != defaults[name].default:
            raise InputError(f"--{name.replace('_', '-')} is for images, and {options.samples[0]} is a set of time series")
    origin, sources = series_data.origin_of(
        options.samples,
        SeriesOrigin(real=options.train, split=options.split_by),
        {"data": "--train", "split": "--split-by"},
    )
    first = sources[options.samples[0]]
    real = dict(zip(("train", "test"), series_data.real_windows(origin, first.columns, first.shape[0]), strict=True))
    for option, split in (("split", options.split), ("held-out", options.held_out)):
        if split not in real:
            raise InputError(f"--{option} of time series must be train or test, got {split}")
    known, others = real[options.split], real[options.held_out]
    space = series_data.space_of(real["train"])
    for spec, source in sources.items():
        series_data.require_same(source, space, spec, origin)
        source.require_complete()
    if len(known) < options.neighbours:
        raise InputError(f"--neighbours {options.neighbours} needs as many training windows; {known.name} has {len(known)}")
    for source in (known, others, *sources.values()):
        show_data(source)
    return {name: sources[spec] for name, spec in _names(options).items()}, known, others, space


def _names(options: Memorization) -> dict[str, str]:
    """The sets by the names that the report gives them."""
    ambiguous = len({Path(spec).name for spec in options.samples}) < len(options.samples)
    return {spec if ambiguous else Path(spec).name: spec for spec in options.samples}


def write_at_risk(
    path: Path,
    space: Space,
    source: Source,
    train: Shaped[np.ndarray, "n ..."],
    labels: Int[np.ndarray, "n a"],
    risk: Int[np.ndarray, " k"],
) -> None:
    """Writes training images as a data set (`jaxdiff.data.readers.npz`, or of windows `jaxdiff.data.series.stored`), with their
    `index` in the training split; no file, and none from before, where there are none."""
    if not len(risk):
        path.unlink(missing_ok=True)
        return
    arrays: dict[str, Any] = {space.array: train[risk], **space.described, "split": np.full(len(risk), "train"), "index": risk}
    if source.attributes:
        arrays |= {"labels": labels[risk], "attributes": [attribute.name for attribute in source.attributes]}
        arrays |= {f"values_{attribute.name}": list(attribute.values) for attribute in source.attributes}
    with whole(path) as partial, open(partial, "wb") as opened:
        np.savez(opened, **arrays)
