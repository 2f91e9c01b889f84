"""The feature extractor of the quality measures, and their reference from a file of another program."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.choices import Resize
from jaxdiff.errors import InputError
from jaxdiff.quality import inception
from jaxdiff.quality.extractors import Extractor
from jaxdiff.quality.measure import MIN_IMAGES, measure_quality
from jaxdiff.quality.real_comparison import ImageFeatures
from jaxdiff.quality.reference_file import ReferenceFile, load_reference

from .measures import SCORES, scores
from .options.fairness import Fairness

STATISTICS_ALONE = "the file holds mean and covariance alone, and these need the features of each image"


def opened(options: Fairness) -> tuple[Extractor | None, ReferenceFile | None]:
    """The Inception network and the reference of the options, each None where it is not given.

    Raises:
        InputError: a file that cannot be read, statistics without the network or of another one, or without a resize that the
            file does not specify it.
    """
    network = network_of(options.inception, options.inception_resize)
    reference = load_reference(options.reference) if options.reference else None
    if reference is None or reference.normal is None:
        return network, reference
    if network is None:
        raise InputError(
            f"--reference {options.reference} holds statistics of {len(reference.normal.mean)} features of Inception, and "
            "quality is measured with the features of a classifier: give the network's weights with --inception"
        )
    reference.require(network.dimension, network.name)
    # guided-diffusion computes its statistics in TensorFlow; pytorch-fid and clean-fid write the same arrays
    if not options.inception_resize and not reference.of_guided_diffusion:
        raise InputError(
            f"--inception-resize is needed: --reference {options.reference} does not specify how its images were resized. Give "
            "the program that wrote it: pytorch-fid or clean-fid; or tensorflow"
        )
    if options.inception_resize not in (None, "tensorflow") and reference.of_guided_diffusion:
        raise InputError(
            f"--inception-resize {options.inception_resize} contradicts --reference {options.reference}, whose statistics "
            "guided-diffusion computed with the resize of TensorFlow"
        )
    return network, reference


def network_of(weights: Path | None, resize: Resize | None) -> Extractor | None:
    """The Inception network of these weights; None without. Raises `InputError` for a file that cannot be read."""
    network = inception.load(weights) if weights else None
    return replace(network, resize=resize) if network and resize else network


def require_size(reference: ReferenceFile | None, network: Extractor | None, images: np.ndarray) -> None:
    """Raises `InputError` unless the images of the reference are of the size of those that are evaluated; and, without a
    network that converts them, of their channels."""
    if reference is None or reference.images is None:
        return
    here, there = reference.images.shape[1:], images.shape[1:]
    if here[:2] != there[:2] or (network is None and here != there):
        raise InputError(
            f"--reference {reference.path} holds images of {here[0]}x{here[1]} with {here[2]} channels, the sets are of "
            f"{there[0]}x{there[1]} with {there[2]}: give --size {here[0]}x{here[1]} or another reference"
        )


def compared(
    reference: ReferenceFile, sets: Sequence[ImageFeatures], extractor: Extractor, *, most: int, seed: int
) -> list[dict[str, Any]]:
    """The quality of sets against the reference, JSON-ready; a measure that the file does not allow is None.

    The Fréchet distance is that from the statistics of the file, if it has them, and from its images otherwise.

    Arguments:
        reference: the reference.
        sets: held-out real images, then the synthetic sets, with their features.
        extractor: of the features.
        most: maximum number of images of the file that are used, a random subset.
        seed: seed of the subset and of the half samples.
    """
    known = None
    if reference.images is not None and len(reference.images) >= MIN_IMAGES:
        chosen = np.random.default_rng(seed).permutation(len(reference.images))[:most]
        known = extractor(reference.images[np.sort(chosen)]).astype(np.float64)
    about = {**reference.describe(), "extractor": dict(extractor.describe())}
    if known is None:
        about["absent"] = STATISTICS_ALONE if reference.images is None else f"the file holds fewer than {MIN_IMAGES} images"
    found = []
    for images in sets:
        measured: dict[str, Any] = {"count": [0, len(images.features)], **dict.fromkeys(SCORES), "intervals": {}}
        if known is not None:
            measured = scores(measure_quality(known, images.features, extractor=extractor.describe(), seed=seed).whole)
        if reference.normal is not None:
            distance = reference.frechet(images.features)
            intervals = {**measured["intervals"], "frechet": [distance.low, distance.high]}
            measured = {**measured, "frechet": distance.value, "intervals": intervals}
        found.append({**measured, "about": about})
    return found
