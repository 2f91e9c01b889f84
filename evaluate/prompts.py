"""`jaxdiff evaluate prompts`: what sets of a text-to-image model show, prompt by prompt."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff._console.classifiers import clip_classifier
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, working
from jaxdiff.data import Source, load_arrays
from jaxdiff.errors import InputError
from jaxdiff.fairness.parity import ParitySummary, measure_parity
from jaxdiff.finished import Finished
from jaxdiff.image_classifier import LEAST_SIDE
from jaxdiff.interop.clip import Clip
from jaxdiff.quality.extractors import ClassifierExtractor
from jaxdiff.quality.measure import MIN_IMAGES

from . import agreement, counting, measures, prompt_sets, quality_reference, report_gates, same_noise
from . import prompts_report as report
from .counting import Counter
from .options.prompts import PromptSets
from .prompt_quality import RealImages, known_images
from .prompt_sets import Drawn, PromptedImages, PromptedSet
from .prompt_targets import target_shares
from .provenance import provenance
from .sources import require_one_size

MEASURES = ("frequency", "deviation", "discrepancy", "divergence")
"""The measures of the parity of a context."""
MEANS = ("mean_deviation", "mean_discrepancy", "share_within_tolerance")
"""Those over all contexts of a set."""


def prompts(options: PromptSets) -> dict[str, Any]:
    """Evaluates the sets, writes the report and prints the tables; returns the content of prompts.json."""
    options.join()
    with kept_parts(options.out, "prompts") as finished:
        return evaluate(options, finished)


def evaluate(options: PromptSets, finished: Finished) -> dict[str, Any]:
    """As `prompts`; keeps what is finished."""
    start = time.monotonic()
    sets = prompt_sets.opened(
        options.synthetic, by=options.by, most=options.test_count, image_format=options.image_format, links=options.follow_links
    )
    real = _real(options)
    for source in (*(source for each in sets for _, source in each.parts), *([real] if real else [])):
        show_data(source)
    _require_sizes(options, sets, real)
    contexts = list(dict.fromkeys(context for each in sets for context in each.contexts))
    model = clip_classifier.load(options.clip, "--clip") if options.clip else None
    extractor = quality_reference.network_of(options.inception, options.inception_resize)
    image = sets[0].parts[0][1].image(0)
    if model:
        model.of_images(image[None])  # before any training
    counters = counting.opened(options, image, finished) if options.attribute else ()
    targets = target_shares(options, counters[0].attribute, contexts) if counters else {}
    quality: RealImages | None = None
    if options.quality and real:
        extractor = extractor or ClassifierExtractor(counters[0].network)
        quality = known_images(options, real, min(len(each) for each in sets), extractor, finished)
    context: dict[str, Any] = {
        "attribute": options.attribute,
        "values": list(counters[0].attribute.values) if counters else [],
        "targets": [list(targets[each]) for each in contexts if targets],
        "by": options.by,
        "contexts": contexts,
        "short_names": prompt_sets.short_names(contexts),
        "classifiers": [each.description() for each in counters],
        "clip": clip_classifier.about(model, options.clip) if model else None,
        "real": {"name": real.name, "quality": quality.quality(_images(options, real), real.name)}
        if quality and real
        else None,
    }
    resampling = {"replicates": options.replicates, "seed": options.seed}
    measured: list[dict[str, Any]] = []
    first: tuple[tuple[Drawn, ...], np.ndarray] | None = None
    for place, each in enumerate(sets):
        images = each.read()
        found, others = _measure(options, images, contexts, model, counters, targets, finished)
        if first is None:
            first = images.drawn, others
        elif others.shape[1]:
            names = [counter.attribute.name for counter in counters[1:]]
            found |= same_noise.compared(first, (images.drawn, others), names, **resampling)
        if quality:
            found["quality"] = quality.quality(images.images, each.name)
        measured.append({"name": each.name, "count": len(images.images), **found, **_cost(each), **_gates(each)})
        missing = [later.name for later in sets[place + 1 :]]
        # written after every set, so that a fault in a later one loses nothing
        result = {
            **context,
            "sets": measured,
            **provenance(options),
            "seconds": round(time.monotonic() - start, 1),
            **({"missing": missing} if missing else {}),
        }
        write_once(options.out, lambda result=result: report.write(result, options.out))
    report.show(result, console)
    pictured = " and prompts.png" if options.attribute else ""
    console.print(f"wrote {options.out}/prompts.json{',' if pictured else ' and'} prompts.md{pictured}", highlight=False)
    return result


def _real(options: PromptSets) -> Source | None:
    """The held-out real images; None without."""
    if options.real is None:
        return None
    return options.opened(options.real).take(split="test", attributes=(), **options.image_format)


def _images(options: PromptSets, real: Source) -> UInt8[np.ndarray, "n h w c"]:
    """At most as many real images as are used of each set."""
    return load_arrays(real, count=min(options.test_count, len(real)), seed=options.seed)[0]


def _require_sizes(options: PromptSets, sets: Sequence[PromptedSet], real: Source | None) -> None:
    """Raises `InputError` unless the images fit what they are compared with, and are enough."""
    drawn = [source for each in sets for _, source in each.parts]
    trained = options.attribute is not None and options.classifier is None
    if real and (trained or options.quality):
        require_one_size([*drawn, real], least=LEAST_SIDE if trained else 1)
    for each in sets:
        require_one_size([source for _, source in each.parts])
    if options.quality and real:
        for name, count in ((real.name, len(real)), *((each.name, len(each)) for each in sets)):
            if count < MIN_IMAGES:
                raise InputError(f"{name}: {count} images are too few to measure quality, which takes {MIN_IMAGES}")


def _measure(
    options: PromptSets,
    images: PromptedImages,
    contexts: Sequence[str],
    model: Clip | None,
    counters: Sequence[Counter],
    targets: Mapping[str, Sequence[float]],
    finished: Finished,
) -> tuple[dict[str, Any], Int[np.ndarray, "n others"]]:
    """Agreement and parity of a set, JSON-ready; and the predicted values of the other attributes."""
    resampling = {"replicates": options.replicates, "seed": options.seed}
    there = [context for context in contexts if context in {each.context for each in images.drawn}]
    codes = np.array([there.index(each.context) for each in images.drawn])
    rows: list[dict[str, Any]] = [
        {"context": context, "count": int(count)} for context, count in zip(there, np.bincount(codes), strict=True)
    ]
    found: dict[str, Any] = {"contexts": rows}
    if model:
        scores = agreement.measured(
            model, images.images, images.prompts, codes, name=images.name, finished=finished, **resampling
        )
        for row, each in zip(rows, scores.pop("groups"), strict=True):
            row["agreement"] = each
        found["agreement"] = scores
    if not counters:
        return found, np.empty((len(codes), 0), np.int64)
    with working(f"classifying the images of {images.name}"):
        predicted = np.stack([counter.predict(images.images) for counter in counters], axis=1)
    parity = measure_parity(
        predicted[:, 0],
        np.array([targets[each] for each in there]),
        contexts=codes,
        confusion=counters[0].confusion,
        **resampling,
    )
    for place, row in enumerate(rows):
        row["parity"] = _parity(parity, place)
    found["parity"] = {
        **{name: np.asarray(getattr(parity.parity, name)).tolist() for name in MEANS},
        "intervals": {name: parity.intervals[name].tolist() for name in MEANS},
        "near_singular": parity.near_singular,
    }
    return found, predicted[:, 1:]


def _parity(summary: ParitySummary, place: int) -> dict[str, Any]:
    """The parity of one context."""
    return {
        "target": np.broadcast_to(summary.parity.target, summary.parity.frequency.shape)[place].tolist(),
        **{name: getattr(summary.parity, name)[place].tolist() for name in MEASURES},
        "within_tolerance": bool(summary.parity.within_tolerance[place]),
        "intervals": {name: summary.intervals[name][place].tolist() for name in MEASURES},
    }


def _gates(each: PromptedSet) -> dict[str, Any]:
    """What gates caught in a set in one part."""
    return {} if len(each.parts) > 1 else report_gates.counted(str(each.parts[0][0].path))


def _cost(each: PromptedSet) -> dict[str, Mapping[str, Any]]:
    """The cost of drawing an image, of a set in one part."""
    if len(each.parts) > 1:
        return {}
    cost = measures.cost(str(each.parts[0][0].path))
    return {"cost": cost} if cost else {}
