"""`jaxdiff evaluate fairness`: how far synthetic images depend on an attribute, by classifiers and distances."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console import arguments
from jaxdiff._console.first import write_once
from jaxdiff._console.terminal import console, progress, working
from jaxdiff.data import Attribute, Source, find, load_arrays, open_data
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import predict_attributes
from jaxdiff.fairness.evaluation import LabelledImages, evaluate_fairness
from jaxdiff.fairness.feature_classifiers import associated_names, train_feature_classifiers
from jaxdiff.image_classifier import ClassifierTraining
from jaxdiff.quality import inception
from jaxdiff.quality.extractors import ClassifierExtractor

from . import external_classifier, findings, intersections, measures, report, self_check
from .options.fairness import Fairness
from .provenance import provenance
from .report import Judged
from .sources import require_one_size

KNOWN = 5000
"""Maximum number of training images that are searched for copies."""


def fairness(options: Fairness) -> Judged | None:
    """Evaluates the sets, prints the tables and writes the report; with --self-check evaluates control sets.

    Raises:
        SystemExit: with status 1, a self-check that fails.
    """
    options.join()
    if options.self_check:
        return check(options)
    start = time.monotonic()
    values, sources = _open(options)
    whole = open_data(options.real, split="test", **options.fitting, value_names=_names(options, options.real))
    associated = associated_names(whole, options.attribute, options.associated)
    crossed = intersections.crossed(whole, options.attribute, options.intersect)
    known = sources[options.real, "train"].attributes[0].values
    if options.target and (len(options.target) != len(known) or set(values) != set(known)):
        told = f"{len(options.target)} for {', '.join(values)}"
        raise InputError(f"--target takes a share for each of {', '.join(known)}, with all of them evaluated; got {told}")
    extractor = inception.load(options.inception) if options.inception else None
    external = None
    if options.classifier:
        external = external_classifier.load(
            options.classifier, values=options.classifier_values or values, mean=options.classifier_mean,
            scale=options.classifier_scale,
        )  # fmt: skip
    training = ClassifierTraining(steps=options.steps, batch=options.batch, flip=options.flip)
    sets, chosen = _load(options, values, sources)
    # the real test images first, as everywhere below
    own = {
        key: intersections.own_labels(partial(_opened, options, *key), crossed, indices)
        for key, indices in chosen.items()
        if key[1] != "train"
    }
    total = (len(options.synthetic) + 1) * (options.seeds + 1)
    with progress("evaluating", total) as advance:
        judgement = evaluate_fairness(
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
            progress=lambda note, done, _: advance(min(done, 1), note=note),
        )
    extras = _measured(options, values, sets, extractor or ClassifierExtractor(judgement.classifier), judgement)
    about = _features(options, values, associated, crossed, sets, own, judgement, training, extras)
    if external:
        with working(f"classifying with {options.classifier.name}"):
            for extra, images in zip(extras, _compared(options, sets), strict=True):
                extra |= external_classifier.label_accuracy(external, images, values)
        about["external_classifier"] = external.about
    context = {**provenance(options), **about, "seconds": round(time.monotonic() - start, 1)}
    judged = Judged(judgement, options.attribute, values, extras, context)
    report.show(judged, console)
    write_once(options.out, lambda: report.write(judged, options.out))
    console.print(f"wrote {options.out}/report.json, report.md and report.png", highlight=False)
    return judged


def check(options: Fairness) -> None:
    """Evaluates control sets, prints the findings on each and writes self-check.json.

    Raises:
        SystemExit: with status 1, if a fault is missed or a fair set is flagged.
    """
    start = time.monotonic()
    values, sources = _open(options)

    def images_of(split, count):
        return _some(sources[options.real, split], values, count, options.seed)[0]

    given = self_check.material(
        images_of, most=options.test_count, known=KNOWN, faces=options.real == "embedded", repeats=options.repeats
    )
    checked = self_check.check(
        given, values=values, repeats=options.repeats, limits=options.limits, seeds=options.seeds,
        training=ClassifierTraining(steps=options.steps, batch=options.batch, flip=options.flip),
        extractor=inception.load(options.inception) if options.inception else None, permutations=options.permutations,
        replicates=options.replicates, seed=options.seed,
    )  # fmt: skip
    self_check.show(checked, console)
    context = {**provenance(options), "seconds": round(time.monotonic() - start, 1)}
    write_once(options.out, lambda: self_check.write(checked, context, options.out))
    console.print(f"wrote {options.out}/self-check.json", highlight=False)
    if not checked.passed:
        raise SystemExit(1)


def _measured(options: Fairness, values, sets, extractor, judgement) -> list[dict]:
    """Quality, findings and cost of the real and of each synthetic set."""
    compared = _compared(options, sets)
    extras: list[dict] = [{}, *({"cost": told} if (told := measures.cost(spec)) else {} for spec in options.synthetic)]
    measured = None
    if options.quality:
        with working("measuring quality"):
            reference = sets[options.real, "reference"]
            measured = measures.featured(reference, compared, extractor, values=len(values), seed=options.seed)
            found = []
            if measured:
                known, drawn = measured
                found = measures.quality(known, reference.labels, drawn, extractor, values=len(values), seed=options.seed)
        for extra, told in zip(extras, found, strict=False):
            extra |= {"quality": told}
    with working("testing for problems"):
        train = sets[options.real, "known"].images if options.quality else None
        told = findings.collect(judgement, measured, train, values=values, limits=options.limits, seed=options.seed)
    for extra, each in zip(extras[1:], told, strict=True):
        extra |= each
    return extras


def _features(options: Fairness, values, associated, crossed, sets, own, judgement, training, extras) -> dict[str, Any]:
    """Adds the measurements of attribute classifiers to `extras`; returns their accuracy. Trains none if none is needed."""
    compared = _compared(options, sets)
    lacking = {each.name for each in crossed for labels in own.values() if each.name not in labels}
    judges, seen = (), [np.empty((len(images.labels), 0), np.int64) for images in compared]
    if features := [*associated, *sorted(lacking - set(associated))]:
        with working(f"training classifiers of {options.attribute}, {', '.join(features)}"):
            judges = train_feature_classifiers(
                options.real, [options.attribute, *features], **options.fitting, value_names=_names(options, options.real),
                seed=options.seed, training=training,
            )  # fmt: skip
        seen = [predict_attributes(judges, images.images) for images in compared]
    if associated:
        asked, resampling = 1 + len(associated), {"replicates": options.replicates, "seed": options.seed}
        for extra, images, predicted in zip(extras, compared, seen, strict=True):
            extra |= measures.utility(judges[:asked], predicted[:, :asked], images.labels, values, **resampling)
            # shares among some of the values alone are shares of nothing
            if set(values) == set(judges[0].attribute.values):
                extra["shares"] = measures.shares(judges[0], predicted[:, 0], values, options.target, **resampling)
    if crossed:
        attributes, verdicts = [Attribute(options.attribute, values), *crossed], (judgement.real, *judgement.synthetic)
        labels = [
            np.column_stack([images.labels, *intersections.completed(of_set, crossed, judges, predicted)])
            for images, of_set, predicted in zip(compared, own.values(), seen, strict=True)
        ]
        for extra, verdict, of, of_set, predicted in zip(extras, verdicts, labels, own.values(), seen, strict=True):
            kept = predicted[:, 0] == measures.codes(judges[0], values)[of[:, 0]] if associated else None
            told = intersections.measure(verdict, attributes, of, labels[0], kept=kept)
            extra["intersections"] = {**told, "judged": [each.name for each in crossed if each.name not in of_set]}
    return {"feature_accuracy": measures.accuracies(judges)} if judges else {}


def _compared(options: Fairness, sets) -> list[LabelledImages]:
    """Held-out real images, then the sets."""
    return [sets[options.real, "test"], *(sets[spec, "all"] for spec in options.synthetic)]


def _open(options: Fairness) -> tuple[tuple[str, ...], dict[tuple[str, str], Source]]:
    """The evaluated values, and the sources by (spec, split); nothing is decoded yet but the first image of each."""
    wanted = [(options.real, "train"), (options.real, "test"), *((spec, "all") for spec in options.synthetic)]
    sources = {key: source_of(options, *key) for key in wanted}
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
    require_one_size(sources.values())
    return values, sources


def source_of(options: Fairness, spec: str, split: str) -> Source:
    """The images of a set, opened as the options say."""
    return _opened(options, spec, split, [options.attribute])


def _opened(options: Fairness, spec: str, split: str, names: Sequence[str] | None) -> Source:
    """A set with other attributes than the one under judgement; None is all, with the names of values that the set has."""
    given = _names(options, spec) if names is not None else None
    kept = {name: values for name, values in given.items() if name in names} if given else None
    return open_data(spec, split=split, **options.fitting, attributes=names, value_names=kept)


def _names(options: Fairness, spec: str) -> dict[str, tuple[str, ...]] | None:
    """The names that --value-names gives a set's values; none where a set of samples or tfds names them itself."""
    path = Path(spec)
    tabular = path.suffix in (".npz", ".zip") or (path.is_dir() and not (path / "samples.json").is_file())
    return arguments.value_names(options.value_names) if tabular else None


def _load(
    options: Fairness, values: Sequence[str], sources: Mapping[tuple[str, str], Source]
) -> tuple[dict[tuple[str, str], LabelledImages], dict[tuple[str, str], np.ndarray]]:
    """The images of every source, with labels that count within `values`, and where they lie; no more than can be used."""
    kept = {key: _kept(source, values) for key, source in sources.items()}
    largest = max(min(len(kept[spec, "all"][0]), options.test_count) for spec in options.synthetic)
    train_count = options.train_count or max(1, largest // 2)
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
                # the reference is as large as the largest set: the classifiers' own training images are fewer
                of_parts = {"known": KNOWN, "reference": largest, "train": train_count}
                parts = {part: sets[key].take(np.arange(min(most, len(drawn.labels)))) for part, most in of_parts.items()}
                sets |= {(key[0], part): images for part, images in parts.items()}
            advance(note=source.name)
    return sets, taken


def _kept(source: Source, values: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which images of a source have a value under judgement, and the labels of all, counted within `values`."""
    attribute = source.attributes[0]
    recoded = np.array([values.index(name) if name in values else -1 for name in attribute.values])[source.labels[:, 0]]
    absent = [name for code, name in enumerate(values) if not (recoded == code).any()]
    if absent:
        raise InputError(f"{source.name} has no image whose {attribute.name} is {' or '.join(absent)}")
    return np.flatnonzero(recoded >= 0), recoded


def _some(source: Source, values: Sequence[str], count: int, seed: int) -> tuple[LabelledImages, np.ndarray]:
    """At most `count` images of a source, drawn by the seed, and where they lie; of a larger count the first are the same."""
    indices, recoded = _kept(source, values)
    chosen = indices[np.random.default_rng(seed).permutation(len(indices))[:count]]
    images, _ = load_arrays(View(source, indices=chosen))
    return LabelledImages(source.name, images, recoded[chosen]), chosen
