"""`jaxdiff evaluate fairness`: how far synthetic images depend on an attribute, by classifiers and distances."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from jaxdiff._console.classifiers import clip_classifier
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, progress, reported, working
from jaxdiff.data import Attribute, Source, find, load_arrays
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import predict_attributes
from jaxdiff.fairness.evaluation import MIN_IMAGES, LabelledImages, evaluate_fairness
from jaxdiff.fairness.feature_classifiers import associated_names, train_feature_classifiers
from jaxdiff.finished import Finished
from jaxdiff.image_classifier import LEAST_SIDE, ClassifierTraining
from jaxdiff.quality.extractors import ClassifierExtractor, FinishedFeatures

from . import (
    agreement,
    classification,
    findings,
    intersections,
    leak,
    measures,
    quality_reference,
    report,
    report_gates,
    self_check,
)
from .data_sets import DataSets
from .options.fairness import Fairness
from .provenance import provenance
from .report import FairnessReport
from .self_check import SelfCheck
from .sources import require_one_size

KNOWN = 5000
"""Maximum number of training images in the search for copies."""


def fairness(options: Fairness) -> FairnessReport | None:
    """Evaluates the sets, prints the tables and writes the report; with --self-check evaluates control sets.

    Raises:
        SystemExit: with status 1, a self-check that fails.
    """
    options.join()
    with kept_parts(options.out, "self-check" if options.self_check else "report") as finished:
        if not options.self_check:
            return evaluate(options, finished)
        passed = check(options, finished).passed
    if not passed:
        raise SystemExit(1)
    return None


def evaluate(options: Fairness, finished: Finished) -> FairnessReport:
    """Evaluates the sets, prints the tables and writes the report; keeps what is finished."""
    start = time.monotonic()
    data = DataSets(options)
    values, sources = _open(options, data)
    real = data.source(options.real, "test")
    associated = associated_names(real, options.attribute, options.associated)
    intersected = intersections.intersected(real, options.attribute, options.intersect)
    known = sources[options.real, "train"].attributes[0].values
    if options.target and (len(options.target) != len(known) or set(values) != set(known)):
        given = f"{len(options.target)} for {', '.join(values)}"
        raise InputError(f"--target takes a share for each of {', '.join(known)}, with all of them evaluated; got {given}")
    extractor, reference = quality_reference.opened(options)
    external = classification.opened(options.request, options.attribute, values) if options.request else None
    model = clip_classifier.load(options.clip, "--clip") if options.clip else None
    prompts = {spec: agreement.prompts_of(spec) for spec in options.synthetic} if model else {}
    training = ClassifierTraining(steps=options.steps, batch=options.batch, flip=options.flip)
    sets, chosen = _load(options, values, sources)
    # the real test images first, as everywhere below
    own = {
        key: intersections.own_labels(partial(data.source, *key), options.attribute, intersected, indices)
        for key, indices in chosen.items()
        if key[1] != "train"
    }
    quality_reference.require_size(reference, extractor, sets[options.real, "test"].images)
    extras: list[dict] = [{}, *({"cost": cost} if (cost := measures.cost(spec)) else {} for spec in options.synthetic)]
    _add(extras[1:], [measures.setting(spec) | report_gates.counted(spec) for spec in options.synthetic])
    about: dict[str, Any] = {}
    # run before any training, so that a fault of the file costs nothing
    if external:
        about["external_classifier"] = external.about
        resampling = {"target": options.target, "replicates": options.replicates, "seed": options.seed}
        _add(extras, classification.measured(external, _compared(options, sets), values, finished, **resampling))
    if model:
        about["clip"] = clip_classifier.about(model, options.clip)
        drawn = [(sets[spec, "all"], [prompts[spec][index] for index in chosen[spec, "all"]]) for spec in options.synthetic]
        found = agreement.of_sets(model, drawn, finished, replicates=options.replicates, seed=options.seed)
        _add(extras[1:], [{"agreement": each} for each in found])
    with reported("evaluating") as report_progress:
        evaluation = evaluate_fairness(
            sets[options.real, "train"],
            sets[options.real, "test"],
            [sets[spec, "all"] for spec in options.synthetic],
            values=len(values),
            seeds=options.seeds,
            seed=options.seed,
            train_count=options.train_count,
            training=training,
            replicates=options.replicates,
            permutations=options.permutations,
            finished=finished,
            progress=report_progress,
        )

    def written(*missing: str) -> FairnessReport:
        """The report of what is measured so far."""
        context = {**provenance(options), **about, "seconds": round(time.monotonic() - start, 1)}
        context |= {"missing": list(missing)} if missing else {}
        result = FairnessReport(evaluation, options.attribute, values, [dict(extra) for extra in extras], context)
        write_once(options.out, lambda: report.write(result, options.out))
        return result

    # written after every part, so that a fault in a later one loses nothing
    later = ["label accuracy and intersections"] * bool(options.associated or intersected)
    written("quality and findings", *later)
    extractor = FinishedFeatures(extractor or ClassifierExtractor(evaluation.classifier), finished)
    _measure(options, values, sets, extractor, reference, evaluation, extras, finished)
    if later:
        written(*later)
        region = sources[options.real, "train"].defining_region(options.attribute)
        given = (associated, intersected, sets, own, region)
        about |= _features(options, data, values, *given, evaluation, training, extras, finished)
    result = written()
    report.show(result, console)
    console.print(f"wrote {options.out}/report.json, report.md and report.png", highlight=False)
    return result


def check(options: Fairness, finished: Finished) -> SelfCheck:
    """Evaluates control sets, prints the findings on each and writes self-check.json; keeps what is finished."""
    start = time.monotonic()
    values, sources = _open(options, DataSets(options))

    def images_of(split, count):
        return _some(sources[options.real, split], values, count, options.seed)[0]

    given = self_check.real_splits(
        images_of, most=options.test_count, known=KNOWN, embedded=options.real == "embedded", repeats=options.repeats
    )
    checked = self_check.check(
        given, values=values, repeats=options.repeats, limits=options.limits, seeds=options.seeds,
        training=ClassifierTraining(steps=options.steps, batch=options.batch, flip=options.flip),
        extractor=quality_reference.opened(options)[0], permutations=options.permutations,
        replicates=options.replicates, seed=options.seed, finished=finished,
    )  # fmt: skip
    context = {**provenance(options), "seconds": round(time.monotonic() - start, 1)}
    write_once(options.out, lambda: self_check.write(checked, context, options.out))
    self_check.show(checked, console)
    console.print(f"wrote {options.out}/self-check.json", highlight=False)
    return checked


def _add(extras: Sequence[dict], found: Sequence[Mapping[str, Any]]) -> None:
    """Adds the results of one measurement to those of each set."""
    for extra, each in zip(extras, found, strict=True):
        extra |= each


def _measure(options: Fairness, values, sets, extractor, reference, evaluation, extras, finished) -> None:
    """Adds the quality of the real images and of each synthetic set to `extras`, and the findings on each synthetic set."""
    compared = _compared(options, sets)
    measured = None
    if options.quality:
        with working("measuring quality"):
            real = sets[options.real, "reference"]
            measured = measures.featured(real, compared, extractor, values=len(values), seed=options.seed)
        if measured:
            known, drawn = measured
            with working("measuring quality"):
                found = measures.quality(
                    known, real.labels, drawn, extractor, values=len(values), seed=options.seed, finished=finished
                )
            _add(extras, [{"quality": quality} for quality in found])
            if reference:
                with working(f"comparing with {reference.path.name}"):
                    found = quality_reference.compared(reference, drawn, extractor, most=options.test_count, seed=options.seed)
                _add(extras, [{"reference": each} for each in found])
        elif reference:
            console.print(f"too few images to compare with {reference.path.name}: {measures.MIN_IMAGES} are needed of each set")
    with working("testing for problems"):
        train = sets[options.real, "known"].images if options.quality else None
        collected = findings.collect(evaluation, measured, train, values=values, limits=options.limits, seed=options.seed)
    _add(extras[1:], collected)


def _features(
    options: Fairness,
    data: DataSets,
    values,
    associated,
    intersected,
    sets,
    own,
    region,
    evaluation,
    training,
    extras,
    finished,
) -> dict[str, Any]:
    """Adds the measurements by attribute classifiers to `extras` and returns what is known of these; trains them only if
    needed."""
    compared, results = _compared(options, sets), (evaluation.real, *evaluation.synthetic)
    lacking = {each.name for each in intersected for labels in own.values() if each.name not in labels}
    about: dict[str, Any] = {}
    classifiers, predictions = (), [np.empty((len(images.labels), 0), np.int64) for images in compared]
    features = [*associated, *sorted(lacking - set(associated))]
    if options.associated or features:
        with working(f"training classifiers of {', '.join([options.attribute, *features])}"):
            classifiers = train_feature_classifiers(
                data.opened(options.real), [options.attribute, *features], **options.image_format,
                value_names=data.value_names(options.real), seed=options.seed, training=training, finished=finished,
            )  # fmt: skip
        predictions = [predict_attributes(classifiers, images.images) for images in compared]
    if options.associated:
        count, resampling = 1 + len(associated), {"replicates": options.replicates, "seed": options.seed}
        for extra, result, images, predicted in zip(extras, results, compared, predictions, strict=True):
            shown = predicted[:, 0] == measures.codes(classifiers[0], values)[images.labels]
            extra |= measures.slack(result, shown, images.labels, **resampling)
            extra |= measures.utility(classifiers[:count], predicted[:, :count], images.labels, values, **resampling)
            # shares are defined only among all values
            if set(values) == set(classifiers[0].attribute.values):
                known, confusion = classifiers[0].attribute.values, classifiers[0].confusion
                extra["shares"] = measures.shares(known, confusion, predicted[:, 0], values, options.target, **resampling)
        blind = leak.fitted(options, data, classifiers[:count], values, finished)
        given = (options, blind, region, sets[options.real, "train"], compared, evaluation)
        _add(extras, leak.measured(*given, values=len(values), finished=finished))
        about["erasure"] = leak.about(blind)
    if intersected:
        attributes = [Attribute(options.attribute, values), *intersected]
        labels = [
            np.column_stack([images.labels, *intersections.complete_labels(of_set, intersected, classifiers, predicted)])
            for images, of_set, predicted in zip(compared, own.values(), predictions, strict=True)
        ]
        for extra, result, of, of_set, predicted in zip(extras, results, labels, own.values(), predictions, strict=True):
            kept = predicted[:, 0] == measures.codes(classifiers[0], values)[of[:, 0]] if options.associated else None
            found = intersections.measure(result, attributes, of, labels[0], kept=kept)
            extra["intersections"] = {**found, "predicted": [each.name for each in intersected if each.name not in of_set]}
    return about | ({"feature_accuracy": measures.accuracies(classifiers)} if classifiers else {})


def _compared(options: Fairness, sets) -> list[LabelledImages]:
    """Held-out real images, then the synthetic sets."""
    return [sets[options.real, "test"], *(sets[spec, "all"] for spec in options.synthetic)]


def _open(options: Fairness, data: DataSets) -> tuple[tuple[str, ...], dict[tuple[str, str], Source]]:
    """The evaluated values, and the sources by (spec, split); decodes only the first image of each."""
    wanted = [(options.real, "train"), (options.real, "test"), *((spec, "all") for spec in options.synthetic)]
    sources = {key: data.evaluated(*key) for key in wanted}
    for source in sources.values():
        show_data(source)
    known = {key: source.attributes[find(source.attributes, options.attribute)].values for key, source in sources.items()}
    values = options.values or known[options.real, "train"]
    if len(values) < 2 or len(set(values)) != len(values):
        raise InputError(f"--values takes two or more distinct values of {options.attribute!r}, got {', '.join(values)}")
    for key, names in known.items():
        unknown = set(values) - set(names) if options.values else set(values) ^ set(names)
        if unknown:
            raise InputError(
                f"attribute {options.attribute!r} of {sources[key].name} has the values {', '.join(names)}, "
                f"not {', '.join(values)}; --values chooses values, --value-names names integer labels"
            )
    require_one_size(sources.values(), least=LEAST_SIDE)
    return values, sources


def _load(
    options: Fairness, values: Sequence[str], sources: Mapping[tuple[str, str], Source]
) -> tuple[dict[tuple[str, str], LabelledImages], dict[tuple[str, str], np.ndarray]]:
    """The images that are used of every source, with labels as positions in `values`; and their positions in the source."""
    kept = {key: _kept(source, values) for key, source in sources.items()}
    of_set = {spec: min(len(kept[spec, "all"][0]), options.test_count) for spec in options.synthetic}
    largest = max(of_set.values())
    train_count = options.train_count or max(1, largest // 2)
    for key, source in sources.items():
        if key[1] != "train":
            _require_each(source, values, options.test_count, options.seed, f"--test-count is {options.test_count}")
    largest_set = max(of_set, key=lambda spec: of_set[spec])
    given = f"--train-count is {train_count}" if options.train_count else f"{largest_set} has {largest} images"
    _require_each(sources[options.real, "train"], values, train_count, options.seed, given)
    ambiguous = len({Path(spec).name for spec in options.synthetic}) < len(options.synthetic)
    sets, taken = {}, {}
    with progress("reading images", len(sources)) as advance:
        for key, source in sources.items():
            name = source.name if key[1] != "all" else key[0] if ambiguous else Path(key[0]).name
            count = options.test_count
            if key[1] == "train":
                count = max(train_count, largest, KNOWN) if options.quality else train_count
            drawn, taken[key] = _some(source, values, count, options.seed)
            sets[key] = LabelledImages(name, drawn.images, drawn.labels)
            if key[1] == "train":
                # the reference is as large as the largest set; the classifiers use fewer training images
                of_parts = {"known": KNOWN, "reference": largest, "train": train_count}
                parts = {part: sets[key].take(np.arange(min(most, len(drawn.labels)))) for part, most in of_parts.items()}
                sets |= {(key[0], part): images for part, images in parts.items()}
            advance(note=source.name)
    return sets, taken


def _kept(source: Source, values: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images with one of `values`, and the labels of all images as positions in `values`."""
    attribute = source.attributes[0]
    recoded = np.array([values.index(name) if name in values else -1 for name in attribute.values])[source.labels[:, 0]]
    absent = [name for code, name in enumerate(values) if not (recoded == code).any()]
    if absent:
        raise InputError(f"{source.name} has no image whose {attribute.name} is {' or '.join(absent)}")
    return np.flatnonzero(recoded >= 0), recoded


def _require_each(source: Source, values: Sequence[str], count: int, seed: int, why: str) -> None:
    """Raises `InputError` unless there are `MIN_IMAGES` of each value among the images that `_some` takes; `why` says why
    they are `count`."""
    indices, recoded = _kept(source, values)
    chosen = indices[_order(indices, seed)[:count]]
    counts, taken = (np.bincount(recoded[each], minlength=len(values)) for each in (indices, chosen))
    if taken.min() >= MIN_IMAGES:
        return
    needs = f"at least {MIN_IMAGES} images of each of {', '.join(values)} are needed"
    if counts.min() < MIN_IMAGES:
        raise InputError(f"{source.name} has {_listed(counts, values)}; {needs}")
    raise InputError(f"{why}, so {count} images of {source.name} are used, {_listed(taken, values)}; {needs}")


def _listed(counts: Integer[np.ndarray, " k"], values: Sequence[str]) -> str:
    return ", ".join(f"{count} {value}" for value, count in zip(values, counts, strict=True))


def _order(indices: Integer[np.ndarray, " n"], seed: int) -> Integer[np.ndarray, " n"]:
    """The positions of the images in the order in which they are taken."""
    return np.random.default_rng(seed).permutation(len(indices))


def _some(source: Source, values: Sequence[str], count: int, seed: int) -> tuple[LabelledImages, np.ndarray]:
    """A random subset of at most `count` images of a source, and their positions; a larger count adds images at the end."""
    indices, recoded = _kept(source, values)
    chosen = indices[_order(indices, seed)[:count]]
    images, _ = load_arrays(View(source, indices=chosen))
    return LabelledImages(source.name, images, recoded[chosen]), chosen
