"""Agreement of the images of sets with the prompts that they were drawn with, by the user's own CLIP model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff._console.classifiers import clip_classifier
from jaxdiff._console.terminal import progress
from jaxdiff.errors import InputError
from jaxdiff.fairness.evaluation import LabelledImages
from jaxdiff.finished import Finished
from jaxdiff.interop.clip import Clip
from jaxdiff.quality.agreement import measure_agreement
from jaxdiff.sampleset import FILE, SampleSet


def prompts_of(spec: str) -> list[str]:
    """The prompt of each image of a set that no gate refused. Raises `InputError` if it was not drawn by prompts."""
    if not (Path(spec) / FILE).is_file():
        raise InputError(f"--clip compares images with the prompts that they were drawn with, and {spec} is no set of samples")
    samples = SampleSet.open(spec)
    return [samples.prompts[index] for index in np.flatnonzero(~samples.refused)]


def of_sets(
    model: Clip,
    sets: Sequence[tuple[LabelledImages, Sequence[str]]],
    finished: Finished,
    *,
    replicates: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The agreement of each set, given with the prompt of each of its images; contexts are labels. See `measured`."""
    return [
        measured(
            model, images.images, prompts, images.labels, name=images.name, replicates=replicates, seed=seed, finished=finished
        )
        for images, prompts in sets
    ]


def measured(
    model: Clip,
    images: UInt8[np.ndarray, "n h w c"],
    prompts: Sequence[str],
    contexts: Int[np.ndarray, " n"],
    *,
    name: str,
    replicates: int,
    seed: int,
    finished: Finished,
) -> dict[str, Any]:
    """The mean CLIP score of a set and of each context, with intervals, JSON-ready.

    Arguments:
        model: the CLIP model.
        images: the images.
        prompts: of each image.
        contexts: the context of each image, 0..C-1, all of which occur.
        name: of the set, shown while its images are encoded.
        replicates, seed: of the bootstrap.
        finished: where the vectors of images are kept.
    """
    with progress(f"comparing {name} with its prompts", len(images), unit="images") as advance:
        found = clip_classifier.vectors(model, images, finished, advance=advance)
    scores = measure_agreement(model.scores_of(found, prompts), contexts, replicates=replicates, seed=seed)
    return {
        "mean": scores.mean,
        "interval": scores.interval.tolist(),
        "groups": [
            {"mean": float(mean), "interval": ends.tolist()}
            for mean, ends in zip(scores.by_context, scores.intervals, strict=True)
        ],
    }
