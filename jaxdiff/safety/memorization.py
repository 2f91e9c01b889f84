"""Memorisation: synthetic images that are unusually near to one training image, by exact distances in pixels.

Windows of time series are measured in the same way, on the scale of their model: floating-point arrays (N, L, F) in place of
images, without mirror images.

A small distance alone is no evidence: a smooth image is near to every image. Carlini et al. (2023, section 5) divide it by the
mean distance to the n nearest training images. That ratio has no absolute scale: the share of held-out real images with a ratio
below 1 is the control, and the excess over it is memorised. Duplicates in the training set are grouped first: as neighbours at
equal distance they would give a copy the ratio 1 / alpha.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from jaxdiff.defaults import ALPHA, NEIGHBOURS
from jaxdiff.errors import InputError
from jaxdiff.quality.pixels import neighbours as nearest_images
from jaxdiff.safety.duplicates import Duplicates
from jaxdiff.statistics import newcombe_interval, wilson_interval

ISOLATED = 1 / 3
"""The ratio of the two smallest distances below which an image is near to one training image only."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5)
"""The quantiles of distances and ratios in a `Memorization`."""
CALIBRATION_COUNT = 1000
"""Maximum number of held-out images that determine the distance of near duplicates."""


@dataclass(frozen=True)
class Closeness:
    """The distances of N images to the training images; all fields have shape (N,).

    Fields:
        distance: d1, to the nearest training image: root mean square over pixels and channels, in grey levels (of windows over
            rows and columns, in their unit).
        ratio: d1 / (alpha mean(d1, ..., dn)) over the n nearest groups of duplicates, in [0, 1 / alpha]: memorised below 1.
        gap: d1 / d2, in [0, 1]: near 0 where only one training image is near.
        nearest: the index of the nearest training image.
        mirrored: whether its mirror image is the nearer one.
    """

    distance: Float64[np.ndarray, " n"]
    ratio: Float64[np.ndarray, " n"]
    gap: Float64[np.ndarray, " n"]
    nearest: Int[np.ndarray, " n"]
    mirrored: Bool[np.ndarray, " n"]

    def take(self, chosen: Int[np.ndarray, " taken"]) -> "Closeness":
        """The subset with these indices."""
        return Closeness(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Excess:
    """A share of synthetic images, and its excess over the share of held-out real images.

    Fields:
        share, held_out: the shares, in [0, 1].
        interval, held_out_interval: Wilson's 95 % intervals.
        excess: share - held_out.
        excess_interval: Newcombe's 95 % interval of it (1998, method 10), for independent images.
    """

    share: float
    held_out: float
    interval: tuple[float, float]
    held_out_interval: tuple[float, float]
    excess: float
    excess_interval: tuple[float, float]


@dataclass(frozen=True)
class Memorization:
    """The result of `measure_memorization`.

    Fields:
        count: the numbers of synthetic and held-out images.
        shared: the number of held-out images that equal a training image and were left out.
        memorised: images whose ratio is below 1.
        isolated: images whose gap is below `ISOLATED`.
        distance, held_out_distance: the `QUANTILES` of d1, in grey levels.
        ratio, held_out_ratio: the `QUANTILES` of the ratio.
    """

    count: tuple[int, int]
    shared: int
    memorised: Excess
    isolated: Excess
    distance: tuple[float, ...]
    held_out_distance: tuple[float, ...]
    ratio: tuple[float, ...]
    held_out_ratio: tuple[float, ...]


def near_distance(train: Shaped[np.ndarray, "m ..."], held_out: Shaped[np.ndarray, "n ..."], *, flips: bool = False) -> float:
    """The distance below which two images count as near duplicates, in grey levels.

    It is half of the .01 quantile of the held-out images' distances to their nearest training image. Held-out images that equal
    a training image are ignored.

    Arguments:
        train, held_out: at least one image each; only the first `CALIBRATION_COUNT` of `held_out` are used.
        flips: compare with mirror images of training images too.

    Raises:
        InputError: no images, images of different sizes, or no held-out image that is not a training image.
    """
    distances = nearest_images(held_out[:CALIBRATION_COUNT], train, flips=flips).distances
    if not distances.any():
        raise InputError(f"`held_out` must be other images than `train`; all {len(distances)} are training images")
    return float(np.quantile(distances[distances > 0], 0.01) / 2)


def closeness(
    images: Shaped[np.ndarray, "n ..."],
    train: Shaped[np.ndarray, "m ..."],
    duplicates: Duplicates,
    *,
    neighbours: int = NEIGHBOURS,
    alpha: float = ALPHA,
    flips: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Closeness:
    """The distances of images to the nearest training image of each group of duplicates.

    Arguments:
        images: at least one, uint8 (N, H, W, C), or windows (N, L, F).
        train: the training images, or windows.
        duplicates: of `train`.
        neighbours: n of the ratio, at least 2 and at most the number of groups of `train`.
        alpha: of the ratio, above 0.
        flips: use the smaller of the distances to a training image and to its mirror image.
        advance: called with the number of images done since the last call.

    Raises:
        InputError: too few images, images of different sizes, or `neighbours` or `alpha` out of range.
    """
    if neighbours < 2 or not alpha > 0:
        raise InputError(f"`neighbours` must be at least 2 and `alpha` above 0, got {neighbours} and {alpha}")
    if len(duplicates.groups) != len(train):
        raise InputError(f"`duplicates` must be of `train`, got those of {len(duplicates.groups)} images for {len(train)}")
    if duplicates.distinct < neighbours:
        raise InputError(
            f"`train` must have at least as many distinct images as `neighbours`, {neighbours}; got {len(train)} images, of "
            f"which {duplicates.removed} are duplicates within {duplicates.distance:.3g} of one another"
        )
    found = nearest_images(images, train, neighbours, flips=flips, groups=duplicates.groups, advance=advance)
    first = found.distances[:, 0]
    # exact duplicates share a group, so that at most one group is at distance 0
    ratio = first / (alpha * found.distances.mean(axis=1))
    return Closeness(first, ratio, first / found.distances[:, 1], found.indices[:, 0], found.mirrored[:, 0])


def measure_memorization(samples: Closeness, held_out: Closeness) -> Memorization:
    """Compares the closeness of synthetic images with that of held-out real ones, to the same training images.

    Arguments:
        samples: of at least one synthetic image.
        held_out: of real images from the distribution of the training images that the generator was not trained on. Those at
            distance 0 are training images and are left out; of the others the first `len(samples.distance)` are used.

    Raises:
        InputError: no image of either kind.
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
    """The indices of the training images that are nearest to an image with a ratio below 1, in order of the ratio.

    Arguments:
        samples: closeness of one or more sets of images.
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
