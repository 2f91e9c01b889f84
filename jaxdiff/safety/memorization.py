"""Memorisation: synthetic images that are nearer to one training image than real images are, by exact distances in pixels.

A small distance alone proves nothing: a smooth image is near to every image. Carlini et al. (2023, section 5) divide it by
the mean distance to the nearest n training images. But that ratio has no scale of its own either: how often it is below 1 for
real images that were held out must be known beside it, and what is above that is memorised. Duplicates in the training set
are grouped first: as neighbours they would be equally near, the ratio of a copy would be 1 / alpha, and it would hide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from jaxdiff.defaults import ALPHA, NEIGHBOURS
from jaxdiff.errors import InputError
from jaxdiff.fairness.intervals import newcombe_interval, wilson_interval
from jaxdiff.quality.pixels import neighbours as nearest_images
from jaxdiff.safety.duplicates import Duplicates

ISOLATED = 1 / 3
"""The ratio of the two least distances below which an image is near to one training image alone."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5)
LOOKED_AT = 1000
"""Held-out images that tell what a near duplicate is, at most."""


@dataclass(frozen=True)
class Closeness:
    """How near each of N images is to the training images.

    Fields:
        distance: d1, to the nearest training image: the root of the mean square over pixels and channels, in grey levels.
        ratio: d1 / (alpha mean(d1, ..., dn)) of the n nearest groups of duplicates, in [0, 1 / alpha]: memorised below 1.
        gap: d1 / d2, in [0, 1]: near 0 where one training image alone is near.
        nearest: the index of the nearest training image.
        mirrored: whether its mirror image is the nearer one.
    """

    distance: Float64[np.ndarray, " n"]
    ratio: Float64[np.ndarray, " n"]
    gap: Float64[np.ndarray, " n"]
    nearest: Int[np.ndarray, " n"]
    mirrored: Bool[np.ndarray, " n"]

    def take(self, chosen: Int[np.ndarray, " taken"]) -> "Closeness":
        """That of some of the images."""
        return Closeness(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Excess:
    """A share of synthetic images beside that of held-out real images.

    Fields:
        share, held_out: within 0 and 1.
        interval, held_out_interval: Wilson's 95 % intervals.
        excess: share - held_out.
        excess_interval: Newcombe's 95 % interval of it (1998, method 10), for images drawn independently of one another.
    """

    share: float
    held_out: float
    interval: tuple[float, float]
    held_out_interval: tuple[float, float]
    excess: float
    excess_interval: tuple[float, float]


@dataclass(frozen=True)
class Memorization:
    """The answer of `measure_memorization`.

    Fields:
        count: synthetic and held-out images.
        shared: held-out images that are training images, pixel for pixel; they were left out.
        memorised: images whose ratio is below 1.
        isolated: images whose gap is below `ISOLATED`.
        distance, held_out_distance: the `QUANTILES` of d1.
        ratio, held_out_ratio: those of the ratio.
    """

    count: tuple[int, int]
    shared: int
    memorised: Excess
    isolated: Excess
    distance: tuple[float, ...]
    held_out_distance: tuple[float, ...]
    ratio: tuple[float, ...]
    held_out_ratio: tuple[float, ...]


def near_distance(
    train: UInt8[np.ndarray, "m h w c"], held_out: UInt8[np.ndarray, "n height width channels"], *, flips: bool = False
) -> float:
    """The distance within which two images are all but the same: half of the quantile .01 of held-out images' distances to
    the nearest training image, in grey levels. Held-out images that are training images themselves do not count.

    Arguments:
        train, held_out: at least one image each; the first `LOOKED_AT` of `held_out` are looked at.
        flips: mirror images of training images count too.

    Raises:
        InputError: no images, images of another size, or none held out that is not a training image.
    """
    distances = nearest_images(held_out[:LOOKED_AT], train, flips=flips).distances
    if not distances.any():
        raise InputError(f"`held_out` must be other images than `train`; all of {len(distances)} are training images")
    return float(np.quantile(distances[distances > 0], 0.01) / 2)


def closeness(
    images: UInt8[np.ndarray, "n h w c"],
    train: UInt8[np.ndarray, "m height width channels"],
    duplicates: Duplicates,
    *,
    neighbours: int = NEIGHBOURS,
    alpha: float = ALPHA,
    flips: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Closeness:
    """How near images are to training images, of each group of duplicates to the nearest one.

    Arguments:
        images: at least one.
        train: the training images.
        duplicates: of `train`.
        neighbours: n of the ratio, at least 2; as many groups of `train` are needed.
        alpha: of the ratio, above 0.
        flips: the distance to a training image is the smaller one of that to it and that to its mirror image.
        advance: called with the number of images done since the last call.

    Raises:
        InputError: too few images, images of another size, or `neighbours` or `alpha` out of range.
    """
    if neighbours < 2 or not alpha > 0:
        raise InputError(f"`neighbours` must be at least 2 and `alpha` above 0, got {neighbours} and {alpha}")
    if len(duplicates.groups) != len(train):
        raise InputError(f"`duplicates` must be of `train`, got those of {len(duplicates.groups)} images for {len(train)}")
    if duplicates.distinct < neighbours:
        raise InputError(
            f"`train` must have at least as many distinct images as `neighbours`, {neighbours}; got {len(train)} images, of "
            f"which {duplicates.removed} are duplicates within {duplicates.distance:.3g} grey levels"
        )
    found = nearest_images(images, train, neighbours, flips=flips, groups=duplicates.groups, advance=advance)
    first = found.distances[:, 0]
    # groups are at least exact duplicates, so that at most one of them is at distance 0
    ratio = first / (alpha * found.distances.mean(axis=1))
    return Closeness(first, ratio, first / found.distances[:, 1], found.indices[:, 0], found.mirrored[:, 0])


def measure_memorization(samples: Closeness, held_out: Closeness) -> Memorization:
    """Compares synthetic images with held-out real ones, both beside the same training images.

    Arguments:
        samples: of at least one synthetic image.
        held_out: of real images, drawn as the training images were, which the generator was not trained on. Those at distance
            0 are training images all the same, and left out. Of the others the first count, as many as there are `samples`.

    Raises:
        InputError: no image of either.
    """
    others = np.flatnonzero(held_out.distance > 0)
    if not len(samples.distance) or not len(others):
        raise InputError(
            f"`samples` and `held_out` must have at least one image each, got {len(samples.distance)} and "
            f"{len(held_out.distance)}, of which {len(others)} are no training images"
        )
    control = held_out.take(others[: len(samples.distance)])
    both = samples, control
    distances, ratios = ([tuple(map(float, np.quantile(getattr(each, name), QUANTILES))) for each in both] for name in
                         ("distance", "ratio"))  # fmt: skip
    return Memorization(
        count=(len(samples.distance), len(control.distance)),
        shared=len(held_out.distance) - len(others),
        memorised=_excess(*(each.ratio < 1 for each in both)),
        isolated=_excess(*(each.gap < ISOLATED for each in both)),
        distance=distances[0],
        held_out_distance=distances[1],
        ratio=ratios[0],
        held_out_ratio=ratios[1],
    )


def images_at_risk(samples: Sequence[Closeness]) -> Int[np.ndarray, " risk"]:
    """The training images that are nearest to an image whose ratio is below 1: their indices, that of the least ratio first.

    Arguments:
        samples: of one set of images or more.
    """
    if not samples:
        return np.empty(0, np.int64)
    ratio, nearest = (np.concatenate([getattr(each, name) for each in samples]) for name in ("ratio", "nearest"))
    order = np.argsort(ratio, kind="stable")
    order = order[ratio[order] < 1]
    _, first = np.unique(nearest[order], return_index=True)
    return nearest[order[np.sort(first)]]


def _excess(samples: Bool[np.ndarray, " n"], held_out: Bool[np.ndarray, " m"]) -> Excess:
    shares = float(samples.mean()), float(held_out.mean())
    counts = len(samples), len(held_out)
    ends = [tuple(each) for each in wilson_interval(np.array(shares), np.array(counts)).tolist()]
    return Excess(*shares, *ends, shares[0] - shares[1], newcombe_interval(shares, counts))
