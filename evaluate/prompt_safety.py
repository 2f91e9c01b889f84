"""`jaxdiff evaluate safety` of sets drawn by prompts: attack success, false refusals, and what a defence costs."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxdiff._console.classifiers import clip_classifier
from jaxdiff._console.first import write_once
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, working
from jaxdiff.conditions import prompt_file
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, key_of, once
from jaxdiff.interop.clip import Clip
from jaxdiff.quality.agreement import measure_agreement
from jaxdiff.quality.diversity import measure_diversity
from jaxdiff.quality.measure import MIN_IMAGES
from jaxdiff.quality.moments import frechet_estimate
from jaxdiff.statistics import wilson_interval

from . import measures, prompt_sets, report_gates, same_noise
from . import prompt_safety_report as report
from .options.safety import Safety
from .prompt_sets import Drawn, PromptedImages, PromptedSet
from .provenance import provenance
from .safety_classifiers import external, majority, trained
from .sources import require_one_size

ALL, SAFE, UNSAFE = "all prompts", "safe prompts", "unsafe prompts"
"""The groups of prompts that a report has beside the categories."""


def evaluate(options: Safety, finished: Finished) -> dict[str, Any]:
    """Evaluates the sets, writes the report and prints the tables; returns the content of safety.json."""
    start = time.monotonic()
    sets = prompt_sets.opened(
        options.synthetic, by=None, most=options.test_count, image_format=options.image_format, links=options.follow_links,
        without_images=True,
    )  # fmt: skip
    for each in sets:
        sources = [source for _, source in each.parts if len(source)]
        for source in sources:
            show_data(source)
        require_one_size(sources)
    contexts = list(dict.fromkeys(context for each in sets for context in (*each.contexts, *each.refused)))
    groups = _groups(options, contexts)
    shown = next((source for each in sets for _, source in each.parts if len(source)), sets[0].parts[0][0])
    model = clip_classifier.load(options.clip, "--clip") if options.clip else None
    reference = _reference(options, model, groups, finished)
    request = options.request
    found_classifiers = external(options, request, shown.image(0)) if request else trained(options, finished)
    deciding, others = found_classifiers.deciding, found_classifiers.others
    about: dict[str, Any] = {
        "by_prompts": True,
        "classifier": found_classifiers.about,
        "groups": {name: len(of) for name, of in groups.items()},
        "contexts": contexts,
        "short_names": prompt_sets.short_names(contexts),
        "clip": clip_classifier.about(model, options.clip) if model else None,
        "others": [each.described for each in others],
        "reference": None if reference is None else {"name": options.reference, "count": len(reference)},
    }
    resampling = {"replicates": options.replicates, "seed": options.seed}
    measured: list[dict[str, Any]] = []
    first: tuple[tuple[Drawn, ...], Int[np.ndarray, "n a"]] | None = None
    for place, each in enumerate(sets):
        images = each.read()
        with working(f"classifying the images of {each.name}"):
            decisions = np.stack([_kept(finished, "unsafe", one.identity, images, one.decide) for one in deciding]).astype(bool)
            values = [_kept(finished, "external", other.identity, images, other.predict) for other in others]
        found = _measure(options, each, images, decisions, groups, model, reference, finished)
        found |= _bound(each, [other.attribute for other in others], values)
        predicted = np.stack(values, axis=1) if values else np.empty((len(images.images), 0), np.int64)
        if first is None:
            first = images.drawn, predicted
        elif others:
            names = [other.attribute.name for other in others]
            found |= same_noise.compared(first, (images.drawn, predicted), names, **resampling)
        if len(each.parts) == 1:
            spec = str(each.parts[0][0].path)
            cost = measures.cost(spec)
            found |= {**({"cost": cost} if cost else {}), **report_gates.counted(spec)}
        measured.append({"name": each.name, "asked": len(images.images) + len(each.refused), **found})
        missing = [later.name for later in sets[place + 1 :]]
        # written after every set, so that a fault in a later one loses nothing
        result = {
            **about, "sets": measured, **provenance(options), "seconds": round(time.monotonic() - start, 1),
            **({"missing": missing} if missing else {}),
        }  # fmt: skip
        write_once(options.out, lambda result=result: report.write(result, options.out))
    report.show(result, console)
    console.print(f"wrote {options.out}/safety.json, safety.md and safety.png", highlight=False)
    return result


def _groups(options: Safety, contexts: Sequence[str]) -> dict[str, frozenset[str]]:
    """The prompts of each group: the unsafe and the safe ones, and those of each category."""
    if options.prompts is None:
        return {ALL: frozenset(contexts)}
    file = prompt_file.read(options.prompts)
    if file.categories is None:
        raise InputError(f"--prompts {options.prompts} needs a column `{prompt_file.CATEGORY}`, by which prompts are counted")
    of = dict(zip(file.table.prompts, file.categories, strict=True))
    if absent := [context for context in contexts if context not in of]:
        raise InputError(
            f"--prompts {options.prompts} lacks {len(absent)} of {len(contexts)} prompts of the sets, such as {absent[0]!r}"
        )
    known = list(dict.fromkeys(name for context in contexts for name in of[context]))
    if unknown := [name for name in options.safe if name not in known]:
        raise InputError(f"--safe {unknown[0]} is no category of the prompts of the sets; these have {', '.join(known)}")
    safe = frozenset(context for context in contexts if of[context] and set(of[context]) <= set(options.safe))
    overall = {UNSAFE: frozenset(contexts) - safe, SAFE: safe} if options.safe else {ALL: frozenset(contexts)}
    return {
        **{name: prompts for name, prompts in overall.items() if prompts},
        **{name: frozenset(context for context in contexts if name in of[context]) for name in known},
    }


def _kept(finished: Finished, kind: str, identity: Any, images: PromptedImages, answer: Callable[..., Any]) -> np.ndarray:
    """The answers of a classifier for each image, kept; none of no images."""
    if not len(images.images):
        return np.empty(0, np.int64)
    key = key_of(kind, repr(identity), images.images)
    return once(finished, key, lambda: {"predicted": answer(images.images).astype(np.int64)})["predicted"]


def _measure(
    options: Safety,
    each: PromptedSet,
    images: PromptedImages,
    decisions: Bool[np.ndarray, "k n"],
    groups: Mapping[str, frozenset[str]],
    model: Clip | None,
    reference: Float[np.ndarray, "r p"] | None,
    finished: Finished,
) -> dict[str, Any]:
    """What a set shows in each group, JSON-ready."""
    vectors = scores = None
    if model and len(images.images):
        with working(f"comparing {each.name} with its prompts"):
            vectors = clip_classifier.vectors(model, images.images, finished)
        scores = model.scores_of(vectors, images.prompts)
    caught = majority(decisions)
    contexts, rows = np.array([drawn.context for drawn in images.drawn], object), []
    for name, prompts in groups.items():
        inside = np.isin(contexts, list(prompts))
        refused = sum(context in prompts for context in each.refused)
        asked = int(inside.sum()) + refused
        if not asked:
            continue
        broken, own = set(contexts[inside & caught]), set(contexts[inside]) | (set(each.refused) & prompts)
        row: dict[str, Any] = {
            "group": name,
            "asked": asked,
            "unsafe": _share(int((inside & caught).sum()), asked),
            "each": [int((inside & own).sum()) / asked for own in decisions] if len(decisions) > 1 else [],
            "refused": _share(refused, asked),
            "prompts": {"count": len(own), "unsafe": _share(len(broken), len(own))},
        }
        if vectors is not None and scores is not None and inside.any():
            _, codes = np.unique(contexts[inside].astype(str), return_inverse=True)
            agreement = measure_agreement(scores[inside], codes, replicates=options.replicates, seed=options.seed)
            diversity = measure_diversity(vectors[inside], codes)
            row["agreement"] = {"mean": agreement.mean, "interval": agreement.interval.tolist()}
            row["diversity"] = {"mean": diversity.mean, "interval": diversity.interval.tolist()}
            if name == SAFE and reference is not None and inside.sum() >= MIN_IMAGES:
                distance = frechet_estimate(reference, vectors[inside].astype(np.float64))
                row["frechet"] = {"value": distance.value, "interval": [distance.low, distance.high]}
        rows.append(row)
    return {"groups": rows}


def _reference(
    options: Safety, model: Clip | None, groups: Mapping[str, frozenset[str]], finished: Finished
) -> Float[np.ndarray, "r p"] | None:
    """The CLIP vectors of the images of --reference that were drawn by safe prompts."""
    if options.reference is None or model is None:
        return None
    (opened,) = prompt_sets.opened(
        [options.reference], by=None, most=options.test_count, image_format=options.image_format, links=options.follow_links
    )
    images = opened.read()
    safe = np.array([drawn.context in groups[SAFE] for drawn in images.drawn])
    if safe.sum() < MIN_IMAGES:
        raise InputError(
            f"--reference {options.reference} has {safe.sum()} images of the safe prompts, fewer than {MIN_IMAGES}"
        )
    return clip_classifier.vectors(model, images.images, finished)[safe].astype(np.float64)


def _share(count: int, of: int) -> dict[str, Any]:
    """A share with Wilson's interval."""
    share = count / of
    return {"count": count, "share": share, "interval": wilson_interval(np.asarray(share), np.asarray(of)).tolist()}


def _bound(each: PromptedSet, attributes: Sequence[Attribute], values: Sequence[Int[np.ndarray, " n"]]) -> dict[str, Any]:
    """The share of images that show the value of each other attribute that they were asked for with, JSON-ready; empty where
    sets have no such labels."""
    found = {}
    for attribute, predicted in zip(attributes, values, strict=True):
        labels = each.labels(attribute)
        if labels is not None and (labels >= 0).any():
            known = labels >= 0
            count = int(known.sum())
            found[attribute.name] = {**_share(int((predicted == labels)[known].sum()), count), "of": count}
    return {"bound": found} if found else {}
