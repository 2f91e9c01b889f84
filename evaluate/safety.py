"""`jaxdiff evaluate safety`: the rate of unsafe images, and the quality of guarded sets."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdiff import guidance
from jaxdiff import process as processes
from jaxdiff._console import pictures, plots
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, reported, working
from jaxdiff._console.unsafe import encoded
from jaxdiff.data import ArraySource, Attribute, DataSet, Source, find, load_arrays, open_data
from jaxdiff.data.selection import matches
from jaxdiff.data.spec import parse_selection
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier, Resampled
from jaxdiff.finished import Finished, checksum, key_of, once_json, run_all
from jaxdiff.image_classifier import LEAST_SIDE, ClassifierTraining
from jaxdiff.quality.copies import nearest
from jaxdiff.quality.extractors import ClassifierExtractor
from jaxdiff.quality.measure import measure_quality
from jaxdiff.safety.gate import gate_rates
from jaxdiff.safety.unsafe_rate import UnsafeRate, measure_unsafe_rate
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from jaxdiff.statistics import wilson_interval
from jaxdiff.writing import write_text

from . import measures, prompt_safety, report_gates
from .options.safety import Safety
from .provenance import provenance
from .sources import require_one_size
from .writing import finite, markdown, markdown_table, print_tables, write_json

SAFE = Attribute("safety", ("safe", "unsafe"))
NEIGHBOURS = 4096
"""Maximum number of safe, and of unsafe, training images in the nearest-neighbour search."""
SHOWN = 48
REJECTED = "rejected"

READING = """\
**How to read it.** `unsafe` is the share of unsafe images according to the attribute classifiers, corrected for their errors on
held-out real images (Rogan and Gladen 1978), with a 95 % bootstrap interval; 0.0 [0.0, 0.0] means that they find fewer than in
safe photographs. `uncorrected` is the share before the correction. `nearest` is the share of images whose nearest real training
image, among equally many safe and unsafe ones, is unsafe: compare it with the rows of held-out real images, since pixel
distances depend on more than safety. Quality is compared with the *safe* real images only, with equally many images per row: a
set without unsafe images may still have low quality. `Real, safe` is the quality of held-out safe photographs. The row
"rejected" is rejection sampling, the ideal: the first set without the images that another classifier calls unsafe, at the cost
of drawing more images. `gate` is the share of safe real images, noised to the guard's window, on which it would act: the mean
over the window, and the maximum."""


@dataclass(frozen=True)
class Real:
    """Real images, labelled safe or unsafe."""

    images: np.ndarray
    labels: np.ndarray
    attributes: tuple[Attribute, ...]

    @property
    def unsafe(self) -> np.ndarray:
        """Whether each image is unsafe, from the first column of the labels."""
        return self.labels[:, 0] == 1


def safety(options: Safety) -> dict[str, Any]:
    """Evaluates the sets, writes the report and prints the table."""
    options.join()
    with kept_parts(options.out, "safety") as finished:
        if options.by_prompts:
            return prompt_safety.evaluate(options, finished)
        return evaluate(options, finished)


def evaluate(options: Safety, finished: Finished) -> dict[str, Any]:
    """As `safety`; keeps what is finished."""
    start = time.monotonic()
    real = options.opened(options.real)
    train, test = (_real(options, real, split) for split in ("train", "test"))
    sources = {
        spec: open_data(spec, split="all", **options.image_format, attributes=(), links=options.follow_links)
        for spec in options.synthetic
    }
    for source in sources.values():
        show_data(source)
    require_one_size(
        [ArraySource(test.images, test.labels, test.attributes, name=options.real), *sources.values()], least=LEAST_SIDE
    )
    sets = {spec: _images(options, source) for spec, source in sources.items()}
    rows = {"Real, safe": test.images[~test.unsafe], "Real, unsafe": test.images[test.unsafe]}
    rows |= {_set_name(options.synthetic, spec): images for spec, images in sets.items()}
    for name, images in {**rows, "Real, safe, of split train": train.images[~train.unsafe]}.items():
        if len(images) < measures.MIN_IMAGES:
            raise InputError(f"{name}: {len(images)} images are too few to measure quality, which takes {measures.MIN_IMAGES}")
    classifiers, rejector, extractors = _train_classifiers(options, train, test, finished)
    first = _set_name(options.synthetic, options.synthetic[0])
    kept = rows[first][rejector.classifier.predict(rows[first]) == 0]
    if len(kept) >= measures.MIN_IMAGES:
        rows[f"{first}, {REJECTED}"] = kept
    else:
        console.print(f"{len(kept)} images of {first} pass as safe, too few for a row of rejection sampling", highlight=False)
    measured = _measure(options, rows, train, classifiers, extractors, finished)
    for name, spec in zip((_set_name(options.synthetic, spec) for spec in options.synthetic), options.synthetic, strict=True):
        measured[name] |= {
            "cost": measures.cost(spec),
            **report_gates.counted(spec),
            **_guard_summary(options, spec, test, finished),
        }
    report = {
        "unsafe": options.unsafe,
        "rows": measured,
        "classifiers": [{"safe": each.confusion.accuracy[0], "unsafe": each.confusion.accuracy[1]} for each in classifiers],
        "rejected_share": 1 - len(kept) / len(rows[first]),
        "share_unsafe_in_real": float(test.unsafe.mean()),
        "features": [extractor.describe() for extractor in extractors],
        **provenance(options),
        "seconds": round(time.monotonic() - start, 1),
    }
    shown = {name: images[:SHOWN] for name, images in rows.items()}
    framed = [pictures.framed(images, classifiers[0].classifier.predict(images) == 1) for images in shown.values()]
    write_once(options.out, lambda: _write(options, report, list(rows), framed))
    _show(report)
    console.print(f"wrote {options.out}/safety.json, safety.md, safety.png and classified.png", highlight=False)
    return report


def _real(options: Safety, real: DataSet, split: str) -> Real:
    """Real images, with the label safe or unsafe and then those of the other attributes."""
    wanted = parse_selection(options.unsafe)
    taken = {"split": split, **options.image_format, "value_names": options.reading["value_names"]}
    source = real.take_with([*wanted, *options.balance], **taken)
    show_data(source)
    unsafe = matches(source, wanted)
    if not 0 < unsafe.sum() < len(source):
        raise InputError(
            f"{source.name} has {unsafe.sum()} of {len(source)} images with {options.unsafe}; both kinds are needed"
        )
    others = options.balance or [each.name for each in source.attributes if each.name not in wanted]
    columns = [find(source.attributes, name) for name in others]
    count = options.train_count if split == "train" else options.test_count
    # a random subset in the proportions of the data
    chosen = np.random.default_rng(options.seed).permutation(len(source))[:count]
    images, labels = load_arrays(View(source, indices=chosen))
    kept = np.column_stack([unsafe[chosen].astype(np.int32), labels[:, columns]])
    return Real(images, kept, (SAFE, *(source.attributes[column] for column in columns)))


def _images(options: Safety, source: Source) -> np.ndarray:
    return load_arrays(source, count=min(options.test_count, len(source)), seed=options.seed)[0]


def _set_name(specs: Sequence[str], spec: str) -> str:
    """The name of a set in the report: the last part of its path, or the path if two sets share that."""
    names = [Path(each).name for each in specs]
    return Path(spec).name if names.count(Path(spec).name) == 1 else spec


def _train_classifiers(
    options: Safety, train: Real, test: Real, finished: Finished
) -> tuple[list[AttributeClassifier], AttributeClassifier, list[ClassifierExtractor]]:
    """The safety classifiers, the classifier for rejection sampling, and the feature extractors for quality."""
    training = ClassifierTraining(steps=options.steps, flip=options.flip)
    others = [attribute.name for attribute in train.attributes[1:]]
    # the classifier for rejection is trained on other images, so that it does not share the errors of the others
    middle = len(train.images) // 2
    first, second = (
        Resampled(train.images[half], train.labels[half], train.attributes) for half in (slice(middle), slice(middle, None))
    )

    def part(note, name, pairs, half, seed):
        held_out = test.images, test.labels[:, find(test.attributes, name)]
        return note, *half.part(name, *held_out, pairs=pairs, seed=seed, training=training, finished=finished)

    balanced = [(SAFE.name, other) for other in others]
    seeds = range(options.seed, options.seed + options.seeds)
    parts = [part(options.unsafe, SAFE.name, balanced, first, seed) for seed in seeds]
    parts.append(part(options.unsafe, SAFE.name, balanced, second, options.seed + options.seeds))
    parts += [part(other, other, [], first, options.seed) for other in others[:1]]
    with reported("training classifiers") as report:
        *classifiers, rejector = (found := run_all(finished, parts, report))[: options.seeds + 1]
    of_features = [classifiers[0], *found[options.seeds + 1 :]]
    return classifiers, rejector, [ClassifierExtractor(each.classifier) for each in of_features]


def _measure(
    options: Safety,
    rows: Mapping[str, np.ndarray],
    train: Real,
    classifiers: Sequence[AttributeClassifier],
    extractors: Sequence[ClassifierExtractor],
    finished: Finished,
) -> dict[str, dict[str, Any]]:
    """The measurements of each row."""
    least = min(int(train.unsafe.sum()), int((~train.unsafe).sum()), NEIGHBOURS)
    known = np.concatenate([train.images[train.unsafe][:least], train.images[~train.unsafe][:least]])
    reference = train.images[~train.unsafe]
    featured = lambda images: np.concatenate([extractor(images) for extractor in extractors], axis=1)  # noqa: E731
    # equally many images in each row, since the Fréchet distance decreases with their number
    equal = min(len(images) for name, images in rows.items() if name != "Real, unsafe")
    about = {"name": "classifiers", "checksum": checksum([each.describe()["checksum"] for each in extractors])}
    of_reference = featured(reference)

    def measure(images):
        predictions = np.stack([each.classifier.predict(images) for each in classifiers])
        rate = measure_unsafe_rate(
            predictions, [each.confusion for each in classifiers], replicates=options.replicates, seed=options.seed
        )
        distances, places = nearest(images, known)
        near = float((places < least).mean())
        found = measure_quality(of_reference, featured(images[:equal]), extractor=about, seed=options.seed).whole
        return {
            "count": len(images),
            "unsafe": _rate_json(rate),
            "nearest": {
                "unsafe": near,
                "interval": wilson_interval(np.asarray(near), np.asarray(len(images))).tolist(),
                "distance": float(np.median(nearest(images, known[:least])[0])),
            },
            "quality": measures.scores(found),
        }

    trained = [(each.classifier.state, each.confusion.count) for each in classifiers]
    given = checksum((trained, of_reference, known, equal, about, options.replicates, options.seed))
    keys = {name: key_of("row", given, images) for name, images in rows.items()}
    parts = [(name, keys[name], partial(once_json, finished, keys[name], partial(measure, rows[name]))) for name in rows]
    with reported("evaluating", unit="sets") as report:
        return dict(zip(rows, run_all(finished, parts, report), strict=True))


def _rate_json(rate: UnsafeRate) -> dict[str, Any]:
    return {**asdict(rate), "interval": rate.interval.tolist()}


def _guard_summary(options: Safety, spec: str, test: Real, finished: Finished) -> dict[str, Any]:
    """The guard of a set of samples, how often it acted, and how often its gate opens for held-out safe images."""
    if not (Path(spec) / "samples.json").is_file():
        return {}
    samples = SampleSet.open(spec)
    about, notes = samples.provenance, samples.sample_notes()
    if "guard" not in about:
        return {}
    # the parameter that varies along a trade-off curve of one guard and weight
    parameter = about["radius"] if about["guard"] == "repellency" and about["radius"] else about["strength"]
    summary = {"guard": about["guard"], "weight": about.get("weight"), "strength": about["strength"], "parameter": parameter}
    if notes:
        summary["acted"] = float((notes["acted"] > 0).mean())
    if about["guard"] == "safe" and about["weight"] in ("constant", "density"):
        with working(f"measuring the gate of {Path(spec).name}"):
            summary["gate"] = _false_positives(about, test.images[~test.unsafe], options, finished)
    return {"guard": summary}


def _false_positives(about: Mapping[str, Any], images: np.ndarray, options: Safety, finished: Finished) -> dict[str, float]:
    """How often a gate opens for safe images noised to times in its window."""
    process, space = processes.from_config(about["process"]), Pixels(*images.shape[1:])
    low_high = about.get("unsafe_range")
    unsafe = encoded(
        about["unsafe"], about["unsafe_split"], space, about["unsafe_count"], tuple(about["unsafe_value_names"]),
        layout=about.get("unsafe_layout"), range=low_high and tuple(low_high), links=options.follow_links,
    )  # fmt: skip
    temperature = about["temperature"]
    kernel = (
        {"temperature": temperature if temperature in (None, "root", "dimension") else float(temperature)}
        if about["bandwidth"] is None
        else {"kernel": "laplace", "bandwidth": about["bandwidth"]}
    )
    window = {} if about["window"] is None else {"window": tuple(map(float, about["window"]))}
    gate = guidance.safe(
        lambda x, t, condition: x, process, unsafe, strength=1.0, weight=about["weight"], threshold=about["threshold"],
        deviation=float(about["deviation"]), **kernel, **window,
    )  # fmt: skip
    inside = np.linspace(float(gate.window.start), max(float(gate.window.stop), 0.02), 7)[:-1]

    def measure():
        rates = gate_rates(gate, space.encode(images), inside, key=jax.random.key(options.seed))
        return {"mean": float(rates.mean()), "largest": float(rates.max())}

    return once_json(finished, key_of("gate", json.dumps(about), unsafe, images, options.seed), measure)


COLUMNS = (
    "set",
    "n",
    "unsafe, %",
    "uncorrected, %",
    "nearest, %",
    "Fréchet",
    "precision",
    "recall",
    "coverage",
    "gate, %",
    "evaluations",
)


def _table_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table."""
    lines = []
    for name, row in report["rows"].items():
        quality, rate = row["quality"], row["unsafe"]
        low, high = (100 * end for end in rate["interval"])
        gate = row.get("guard", {}).get("gate")
        lines.append(
            [
                name,
                str(row["count"]),
                f"{100 * rate['value']:.1f} [{low:.1f}, {high:.1f}]",
                f"{100 * rate['uncorrected']:.1f}",
                f"{100 * row['nearest']['unsafe']:.1f}",
                "{:.3f} [{:.3f}, {:.3f}]".format(quality["frechet"], *quality["intervals"]["frechet"]),
                *(f"{quality[score]:.2f}" for score in ("precision", "recall", "coverage")),
                "" if gate is None else f"{100 * gate['mean']:.0f} ({100 * gate['largest']:.0f})",
                str(row.get("cost", {}).get("evaluations", "")),
            ]
        )
    return lines


def _show(report: Mapping[str, Any]) -> None:
    gates = report_gates.tables(list(report["rows"].items()))
    print_tables([(f"Unsafe: {report['unsafe']}", COLUMNS, _table_rows(report)), *gates], console)
    accuracy = ", ".join(f"{100 * each['safe']:.1f} and {100 * each['unsafe']:.1f} %" for each in report["classifiers"])
    console.print(f"classifier accuracy on held-out safe and unsafe images: {accuracy}", highlight=False)
    if any(row["unsafe"]["near_singular"] for row in report["rows"].values()):
        console.print("Warning: the classifiers hardly distinguish safe from unsafe: the rates are mostly noise; raise --steps")


def _write(options: Safety, report: Mapping[str, Any], rows: Sequence[str], shown: Sequence[np.ndarray]) -> None:
    accuracy = "; ".join(f"{100 * each['safe']:.1f} % and {100 * each['unsafe']:.1f} %" for each in report["classifiers"])
    named = list(report["rows"].items())
    text = (
        f"# Safety: {markdown(report['unsafe'])}\n\n"
        + markdown_table(COLUMNS, _table_rows(report))
        + "".join(f"\n\n## {title}\n\n{markdown_table(*table)}" for title, *table in report_gates.tables(named))
        + f"\n\nClassifier accuracy on held-out safe and unsafe images: {accuracy}. "
        f"Rejection removes {100 * report['rejected_share']:.1f} % of the first set.\n\n{READING}\n"
    )
    write_json(options.out / "safety.json", finite(report))
    write_text(options.out / "safety.md", text + "\n")
    plots.safety(options.out / "safety.png", report["rows"], f"unsafe: {report['unsafe']}")
    pictures.write(pictures.rows(rows, shown), options.out / "classified.png")
