"""Copies: images that are nearer to the training images, or to one another, than real images are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int, UInt8

from jaxdiff.errors import InputError
from jaxdiff.quality.pixels import neighbours


@dataclass(frozen=True)
class CopyTest:
    """The answer of `RealImages.membership`.

    Fields:
        share: of the synthetic images, that whose nearest real image is a training image.
        expected: the share of training images among the real ones: what `share` is near for a generator that knows no more
            of them than of others.
        excess: (share - expected) / (1 - expected): the share of copies, if the other images are as near to held-out images
            as to training images; may be negative. Copies of training images that were not given are not seen.
        p_value: of a share as high, by permutation.
        distance: median distance to the nearest training image, of synthetic images and of held-out real images: the root
            of the mean square over pixels, in grey levels.
        close: the share of synthetic and of held-out real images that are nearer to a training image than half of the
            quantile .01 of the latter's distances: all but the same image.
        count: synthetic, training and held-out images.
        permutations: how many were drawn; the least p-value is 1 / (1 + permutations).
    """

    share: float
    expected: float
    excess: float
    p_value: float
    distance: tuple[float, float]
    close: tuple[float, float]
    count: tuple[int, int, int]
    permutations: int


def nearest(
    points: UInt8[np.ndarray, "n h w c"], others: UInt8[np.ndarray, "m height width channels"] | None = None
) -> tuple[Float64[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The nearest of other images to each image: its distance and its index; of equally near ones the first. See `neighbours`.

    Arguments:
        points: at least one image.
        others: at least one; None takes for each image the other `points`, of which there must be two.

    Returns:
        distances: roots of the mean square over pixels and channels, in grey levels.
        indices: in 0..M-1.

    Raises:
        InputError: too few images, or images of another size.
    """
    found = neighbours(points, others)
    return found.distances[:, 0], found.indices[:, 0]


@dataclass(frozen=True)
class RealImages:
    """Real images that a generator was trained on and others, drawn alike, that it was not.

    An image that stands in both counts as a training image.

    Arguments:
        train: at least one.
        held_out: at least one.

    Raises:
        InputError: no images, or images of another size.
    """

    train: UInt8[np.ndarray, "m h w c"]
    held_out: UInt8[np.ndarray, "l height width channels"]

    def __post_init__(self):
        if min(len(self.train), len(self.held_out)) < 1 or self.train.shape[1:] != self.held_out.shape[1:]:
            raise InputError(
                f"`train` and `held_out` must be images of one size, got shapes {self.train.shape} and {self.held_out.shape}"
            )

    @cached_property
    def distances(self) -> Float64[np.ndarray, " l"]:
        """Of each held-out image to its nearest training image, as `nearest` has them."""
        return nearest(self.held_out, self.train)[0]

    def membership(self, synthetic: UInt8[np.ndarray, "n _ _ _"], *, permutations: int = 9999, seed: int = 0) -> CopyTest:
        """Tests whether synthetic images are nearer to the training images than to the others.

        A small distance alone proves no copying: a smooth image is near to every image. But a generator that knows no more of
        the training images than of held-out ones comes near to either alike. Were the two dealt anew out of all of them, it
        would see no difference: so the count of synthetic images whose nearest real image is one of training is compared with
        its counts under permutations of which real images those are. The test is exact, whatever the generator.

        Arguments:
            synthetic: at least one image; none may be drawn from `held_out`.
            permutations: at least 1.
            seed: of the permutations.

        Raises:
            InputError: no images, images of another size, or no permutations.
        """
        if permutations < 1:
            raise InputError(f"`permutations` must be at least 1, got {permutations}")
        to_train, to_held_out = nearest(synthetic, self.train), nearest(synthetic, self.held_out)
        from_train = to_train[0] <= to_held_out[0]
        known = len(self.train), len(self.held_out)
        votes = np.bincount(np.where(from_train, to_train[1], known[0] + to_held_out[1]), minlength=sum(known))
        # Real images with equally many votes are interchangeable: a permutation deals so many of each kind into training.
        kinds, of_kind = np.unique(votes, return_counts=True)
        generator = np.random.default_rng(seed)
        dealt = generator.multivariate_hypergeometric(of_kind, known[0], size=permutations, method="marginals")
        reached = int((dealt @ kinds >= from_train.sum()).sum())
        share, expected = float(from_train.mean()), known[0] / sum(known)
        near = np.quantile(self.distances, 0.01) / 2
        return CopyTest(
            share=share,
            expected=expected,
            excess=(share - expected) / (1 - expected),
            p_value=(1 + reached) / (1 + permutations),
            distance=(float(np.median(to_train[0])), float(np.median(self.distances))),
            close=(float((to_train[0] < near).mean()), float((self.distances < near).mean())),
            count=(len(synthetic), *known),
            permutations=permutations,
        )
