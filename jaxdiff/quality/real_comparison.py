"""Comparison of image sets with held-out real images: fidelity, diversity, repetition and copies of training images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8

from jaxdiff.errors import InputError
from jaxdiff.quality.copies import CopyTest, RealImages, nearest
from jaxdiff.quality.estimate import Estimate
from jaxdiff.quality.measure import MIN_IMAGES, balanced_subsets
from jaxdiff.quality.moments import frechet_estimate
from jaxdiff.quality.neighbours import density_coverage, precision_recall
from jaxdiff.quality.roughness import image_roughness

MAX_COMPARED = 1000
"""Maximum number of images of each set whose pixels are compared with all others."""


@dataclass(frozen=True)
class ImageFeatures:
    """Images with their feature vectors and labels.

    Fields:
        images: uint8 (N, H, W, C).
        features: of each image (N, D).
        labels: of each image (N,), 0..K-1.
    """

    images: UInt8[np.ndarray, "n h w c"]
    features: Float[np.ndarray, "m d"]
    labels: Integer[np.ndarray, " l"]

    def __post_init__(self):
        if not len(self.images) == len(self.features) == len(self.labels):
            counts = len(self.images), len(self.features), len(self.labels)
            raise InputError(f"`images`, `features` and `labels` must have equal lengths, got {counts}")

    def take(self, indices: Integer[np.ndarray, " taken"]) -> "ImageFeatures":
        """The subset with these indices, in their order."""
        return ImageFeatures(self.images[indices], self.features[indices], self.labels[indices])

    def concatenated(self, other: "ImageFeatures") -> "ImageFeatures":
        """These images followed by others."""
        parts = zip((self.images, self.features, self.labels), (other.images, other.features, other.labels), strict=True)
        return ImageFeatures(*map(np.concatenate, parts))


@dataclass(frozen=True)
class Compared:
    """A measure of a set, and its value for equally many held-out real images."""

    value: float
    real: float


@dataclass(frozen=True)
class Fidelity:
    """The fidelity of images: how closely they resemble real ones.

    Fields:
        precision, density: against the real images of all groups, so that an image that looks like another group counts as
            realistic (measured against its own group a set whose labels are independent of its images would fail). NaN for
            fewer than `MIN_IMAGES` images.
        atypical: the share of images whose roughness is outside the .005 and .995 quantiles of held-out real images.
        roughness: the median roughness, in grey levels.
    """

    precision: Compared
    density: Compared
    atypical: float
    roughness: Compared


@dataclass(frozen=True)
class RealComparison:
    """Measures of a set and of held-out real images, with equally many images of each group.

    Fields:
        whole: fidelity of all images.
        groups: fidelity of the images of each label.
        frechet: Fréchet distance of the set, and the upper end of its interval for the held-out images.
        spread: the total variance of the real features, in the unit of the Fréchet distance.
        recall, coverage: of the whole set.
        repeated: the share of near duplicates within the set: images whose distance to another one of the set is below half of
            the .01 quantile of that distance between held-out real images, in pixels.
        copies: the test of whether the images are nearer to training images than to held-out ones; None without training
            images.
    """

    whole: Fidelity
    groups: tuple[Fidelity, ...]
    frechet: Compared
    spread: float
    recall: Compared
    coverage: Compared
    repeated: Compared
    copies: CopyTest | None


@dataclass(frozen=True)
class _Measured:
    """The measures of one set, real or synthetic: for the whole set first, then for each group."""

    precision: tuple[float, ...]
    density: tuple[float, ...]
    roughness: tuple[Float[np.ndarray, " _"], ...]
    frechet: Estimate
    recall: float
    coverage: float
    distances: Float[np.ndarray, " _"]


def compare_with_real(
    reference: Float[np.ndarray, "n d"],
    held_out: ImageFeatures,
    sets: Sequence[ImageFeatures],
    *,
    values: int,
    train: UInt8[np.ndarray, "m h w c"] | None = None,
    seed: int = 0,
) -> tuple[RealComparison, ...]:
    """Compares sets of images with held-out real images.

    Arguments:
        reference: features of real images (N, D), by the extractor of the sets' features.
        held_out: other real images, which the sets must not contain.
        sets: each with at least `MIN_IMAGES` images in the groups that all sets have.
        values: K.
        train: images that the generator was trained on, uint8 (M, H, W, C), for the copy test.
        seed: of the subsets and permutations.

    Returns:
        One comparison for each set, in their order.

    Raises:
        InputError: too few images, or features of different lengths.
    """
    chosen = balanced_subsets([held_out.labels, *(each.labels for each in sets)], values=values, seed=seed)
    if min(len(chosen[0]), len(reference)) < MIN_IMAGES:
        raise InputError(f"`sets` must have at least {MIN_IMAGES} images in the groups that all have, got {len(chosen[0])}")
    drawn = [each.take(part) for each, part in zip((held_out, *sets), chosen, strict=True)]
    few = np.random.default_rng(seed).permutation(len(chosen[0]))[:MAX_COMPARED]
    real, *measured = (_measure(reference, each, few, values) for each in drawn)
    ends = np.quantile(real.roughness[0], [0.005, 0.995])
    near = np.quantile(real.distances, 0.01) / 2
    known = None if train is None else RealImages(train, drawn[0].images[few])
    spread = float(reference.var(axis=0, ddof=1, dtype=np.float64).sum())

    def fidelity(found: _Measured, part: int) -> Fidelity:
        rough = found.roughness[part]
        atypical = ((rough < ends[0]) | (rough > ends[1])).mean() if len(rough) else np.nan
        median = [float(np.median(each)) if len(each) else np.nan for each in (rough, real.roughness[part])]
        shares = (Compared(getattr(found, n)[part], getattr(real, n)[part]) for n in ("precision", "density"))
        return Fidelity(*shares, float(atypical), Compared(*median))

    return tuple(
        RealComparison(
            whole=fidelity(found, 0),
            groups=tuple(fidelity(found, 1 + value) for value in range(values)),
            frechet=Compared(found.frechet.value, real.frechet.high),
            spread=spread,
            recall=Compared(found.recall, real.recall),
            coverage=Compared(found.coverage, real.coverage),
            repeated=Compared(*(float((each.distances < near).mean()) for each in (found, real))),
            copies=None if known is None else known.copy_test(images.images[few], seed=seed),
        )
        for found, images in zip(measured, drawn[1:], strict=True)
    )


def _measure(
    reference: Float[np.ndarray, "n d"], drawn: ImageFeatures, few: Integer[np.ndarray, " few"], values: int
) -> _Measured:
    parts = [np.arange(len(drawn.labels)), *(np.flatnonzero(drawn.labels == value) for value in range(values))]
    # the errors are not used: as few half samples as possible
    shares = {
        i: (precision_recall(reference, drawn.features[part], replicates=2),
            density_coverage(reference, drawn.features[part], replicates=2))
        for i, part in enumerate(parts)
        if len(part) >= MIN_IMAGES
    }  # fmt: skip
    rough = image_roughness(drawn.images)
    return _Measured(
        precision=tuple(shares[i][0][0].value if i in shares else np.nan for i in range(len(parts))),
        density=tuple(shares[i][1][0].value if i in shares else np.nan for i in range(len(parts))),
        roughness=tuple(rough[part] for part in parts),
        frechet=frechet_estimate(reference, drawn.features),
        recall=shares[0][0][1].value,
        coverage=shares[0][1][1].value,
        distances=nearest(drawn.images[few])[0],
    )
