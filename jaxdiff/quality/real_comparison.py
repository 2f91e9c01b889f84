"""Sets beside held-out real images: what is needed to tell broken, uniform and copied images from fair ones."""

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
from jaxdiff.quality.roughness import roughness

COMPARED = 1000
"""Images of each set whose pixels are compared with all others, at most."""


@dataclass(frozen=True)
class ImageFeatures:
    """Images, one feature vector each, and the label of each in 0..K-1."""

    images: UInt8[np.ndarray, "n h w c"]
    features: Float[np.ndarray, "m d"]
    labels: Integer[np.ndarray, " l"]

    def __post_init__(self):
        if not len(self.images) == len(self.features) == len(self.labels):
            counts = len(self.images), len(self.features), len(self.labels)
            raise InputError(f"`images`, `features` and `labels` must be equally many, got {counts}")

    def take(self, indices: Integer[np.ndarray, " taken"]) -> "ImageFeatures":
        """Some of them."""
        return ImageFeatures(self.images[indices], self.features[indices], self.labels[indices])

    def joined(self, other: "ImageFeatures") -> "ImageFeatures":
        """These, then others."""
        parts = zip((self.images, self.features, self.labels), (other.images, other.features, other.labels), strict=True)
        return ImageFeatures(*map(np.concatenate, parts))


@dataclass(frozen=True)
class Compared:
    """A number of a set, and what it is of equally many held-out real images."""

    value: float
    real: float


@dataclass(frozen=True)
class Fidelity:
    """How like real images some images are.

    Fields:
        precision, density: against real images of every group, so that an image that looks like another group is no broken
            one (against its own group a set whose labels are independent of its images must fail). NaN for few images.
        unlike: the share of images whose roughness is beyond the quantiles .005 and .995 of held-out real images'.
        roughness: its median, in grey levels.
    """

    precision: Compared
    density: Compared
    unlike: float
    roughness: Compared


@dataclass(frozen=True)
class RealComparison:
    """What was measured of a set beside held-out real images, by equally many of each group.

    Fields:
        whole: of all images.
        groups: of the images of each label.
        frechet: Fréchet distance of the set; beside it the upper end of its interval for the held-out images.
        spread: the total variance of the real features, in the unit of the Fréchet distance.
        recall, coverage: of the whole set.
        repeated: the share of images nearer to another one of their set than half of the quantile .01 of that distance
            between held-out real images, in pixels.
        membership: whether the images are nearer to training images than to others; None where those are not known.
    """

    whole: Fidelity
    groups: tuple[Fidelity, ...]
    frechet: Compared
    spread: float
    recall: Compared
    coverage: Compared
    repeated: Compared
    membership: CopyTest | None


@dataclass(frozen=True)
class _Measured:
    """The numbers of one set, real or not."""

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
    """Measures sets beside held-out real images.

    Arguments:
        reference: features of real images, of the extractor that the sets' are of.
        held_out: other real images; the sets must not be drawn from them.
        sets: each with at least `MIN_IMAGES` images in groups that all have.
        values: K.
        train: the images that the generator was trained on, or many of them.
        seed: of the draws and permutations.

    Returns:
        One for each set, in their order.

    Raises:
        InputError: too few images, or features of another length.
    """
    chosen = balanced_subsets([held_out.labels, *(each.labels for each in sets)], values=values, seed=seed)
    if min(len(chosen[0]), len(reference)) < MIN_IMAGES:
        raise InputError(f"`sets` must have at least {MIN_IMAGES} images in groups that all have, got {len(chosen[0])}")
    drawn = [each.take(part) for each, part in zip((held_out, *sets), chosen, strict=True)]
    few = np.random.default_rng(seed).permutation(len(chosen[0]))[:COMPARED]
    real, *measured = (_measure(reference, each, few, values) for each in drawn)
    ends = np.quantile(real.roughness[0], [0.005, 0.995])
    near = np.quantile(real.distances, 0.01) / 2
    known = None if train is None else RealImages(train, drawn[0].images[few])
    spread = float(reference.var(axis=0, ddof=1, dtype=np.float64).sum())

    def likeness(found: _Measured, part: int) -> Fidelity:
        rough = found.roughness[part]
        unlike = ((rough < ends[0]) | (rough > ends[1])).mean() if len(rough) else np.nan
        median = [float(np.median(each)) if len(each) else np.nan for each in (rough, real.roughness[part])]
        shares = (Compared(getattr(found, n)[part], getattr(real, n)[part]) for n in ("precision", "density"))
        return Fidelity(*shares, float(unlike), Compared(*median))

    return tuple(
        RealComparison(
            whole=likeness(found, 0),
            groups=tuple(likeness(found, 1 + value) for value in range(values)),
            frechet=Compared(found.frechet.value, real.frechet.high),
            spread=spread,
            recall=Compared(found.recall, real.recall),
            coverage=Compared(found.coverage, real.coverage),
            repeated=Compared(*(float((each.distances < near).mean()) for each in (found, real))),
            membership=known and known.membership(images.images[few], seed=seed),
        )
        for found, images in zip(measured, drawn[1:], strict=True)
    )


def _measure(reference, drawn: ImageFeatures, few, values) -> _Measured:
    parts = [np.arange(len(drawn.labels)), *(np.flatnonzero(drawn.labels == value) for value in range(values))]
    # the errors are not asked for: as few half samples as there may be
    shares = {
        i: (precision_recall(reference, drawn.features[part], replicates=2),
            density_coverage(reference, drawn.features[part], replicates=2))
        for i, part in enumerate(parts)
        if len(part) >= MIN_IMAGES
    }  # fmt: skip
    rough = roughness(drawn.images)
    return _Measured(
        precision=tuple(shares[i][0][0].value if i in shares else np.nan for i in range(len(parts))),
        density=tuple(shares[i][1][0].value if i in shares else np.nan for i in range(len(parts))),
        roughness=tuple(rough[part] for part in parts),
        frechet=frechet_estimate(reference, drawn.features),
        recall=shares[0][0][1].value,
        coverage=shares[0][1][1].value,
        distances=nearest(drawn.images[few])[0],
    )
