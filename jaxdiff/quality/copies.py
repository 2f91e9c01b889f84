"""Copies of training images: nearest neighbours in pixels, and a test against held-out real images."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int, UInt8

from jaxdiff.errors import InputError
from jaxdiff.quality.pixels import neighbours


@dataclass(frozen=True)
class CopyTest:
    """The result of `RealImages.copy_test`.

    Fields:
        share: the share of synthetic images whose nearest real image is a training image.
        expected: the share of training images among the real ones: the expectation of `share` for a generator that depends on
            them no more than on held-out ones.
        excess: (share - expected) / (1 - expected): the estimated share of copies, assuming that all other images are as near
            to held-out images as to training images; may be negative. Copies of training images that are not given are missed.
        p_value: of a share at least as high, by permutation.
        distance: median distance to the nearest training image, of synthetic images and of held-out real images: the root
            mean square over pixels, in grey levels.
        near_duplicates: the share of synthetic and of held-out real images whose distance to a training image is below half of
            the .01 quantile of the latter's distances.
        count: synthetic, training and held-out images.
        permutations: how many were drawn; the smallest p-value is 1 / (1 + permutations).
    """

    share: float
    expected: float
    excess: float
    p_value: float
    distance: tuple[float, float]
    near_duplicates: tuple[float, float]
    count: tuple[int, int, int]
    permutations: int


def nearest(
    points: UInt8[np.ndarray, "n h w c"], others: UInt8[np.ndarray, "m height width channels"] | None = None
) -> tuple[Float64[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The distance of each image to the nearest of other images, and its index; the first of equally near ones.

    Arguments:
        points: at least one image.
        others: at least one; None compares each image with the other `points`, of which there must be two.

    Returns:
        distances: root mean square over pixels and channels, in grey levels (N,).
        indices: in 0..M-1 (N,).

    Raises:
        InputError: too few images, or images of different sizes.
    """
    found = neighbours(points, others)
    return found.distances[:, 0], found.indices[:, 0]


@dataclass(frozen=True)
class RealImages:
    """Training images of a generator, and held-out images from the same distribution.

    An image in both counts as a training image.

    Arguments:
        train: at least one, uint8 (M, H, W, C).
        held_out: at least one, of the same size.

    Raises:
        InputError: no images, or images of different sizes.
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
        """The distance of each held-out image to its nearest training image, as in `nearest`."""
        return nearest(self.held_out, self.train)[0]

    def copy_test(self, synthetic: UInt8[np.ndarray, "n _ _ _"], *, permutations: int = 9999, seed: int = 0) -> CopyTest:
        """Tests whether synthetic images are nearer to the training images than to the held-out ones.

        A small distance alone is no evidence of copying: a smooth image is near to every image. The null hypothesis is that the
        generator depends on the training images no more than on the held-out ones, so that the two are exchangeable. The number
        of synthetic images whose nearest real image is a training image is compared with its distribution under random
        permutations of the real images over the two sets. The test is exact for any generator.

        Arguments:
            synthetic: at least one image; none may be in `held_out`.
            permutations: at least 1.
            seed: of the permutations.

        Raises:
            InputError: no images, images of different sizes, or no permutations.
        """
        if permutations < 1:
            raise InputError(f"`permutations` must be at least 1, got {permutations}")
        to_train, to_held_out = nearest(synthetic, self.train), nearest(synthetic, self.held_out)
        from_train = to_train[0] <= to_held_out[0]
        known = len(self.train), len(self.held_out)
        votes = np.bincount(np.where(from_train, to_train[1], known[0] + to_held_out[1]), minlength=sum(known))
        # Real images with equally many votes are interchangeable: a permutation is a multivariate hypergeometric draw.
        kinds, of_kind = np.unique(votes, return_counts=True)
        generator = np.random.default_rng(seed)
        drawn = generator.multivariate_hypergeometric(of_kind, known[0], size=permutations, method="marginals")
        reached = int((drawn @ kinds >= from_train.sum()).sum())
        share, expected = float(from_train.mean()), known[0] / sum(known)
        near = np.quantile(self.distances, 0.01) / 2
        return CopyTest(
            share=share,
            expected=expected,
            excess=(share - expected) / (1 - expected),
            p_value=(1 + reached) / (1 + permutations),
            distance=(float(np.median(to_train[0])), float(np.median(self.distances))),
            near_duplicates=(float((to_train[0] < near).mean()), float((self.distances < near).mean())),
            count=(len(synthetic), *known),
            permutations=permutations,
        )
