"""Mean and covariance of features, and the Fréchet distance of two sets of them."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Float64

from jaxdiff.errors import InputError
from jaxdiff.quality.estimate import Estimate, checked_pair


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of feature vectors: all that a Fréchet distance needs, and it adds up over batches and hosts.

    Fields:
        count: N, the vectors seen.
        mean: (D,).
        scatter: (D, D), the sum of (x - mean)(x - mean)^T, which is N - 1 times the unbiased covariance.
    """

    count: int
    mean: Float64[np.ndarray, " d"]
    scatter: Float64[np.ndarray, "d d"]

    def __post_init__(self):
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scatter).all()):
            raise InputError("`mean` and `scatter` must be finite, got NaN or infinity")

    @staticmethod
    def of(features: Float[np.ndarray, "n d"]) -> "Moments":
        """The moments of one batch, which may be empty. Raises `InputError` for NaN or infinity."""
        if not np.isfinite(features).all():
            raise InputError("`features` must be finite, got NaN or infinity")
        values = np.asarray(features, np.float64)
        mean = values.sum(axis=0) / max(len(values), 1)
        centred = values - mean
        return Moments(len(values), mean, centred.T @ centred)

    def add(self, features: Float[np.ndarray, "n d"]) -> "Moments":
        """These moments with one batch more."""
        return self.merge(Moments.of(features))

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets together (Chan, Golub and LeVeque 1983), in any order, up to rounding.

        Raises:
            InputError: features of another length.
        """
        if self.mean.shape != other.mean.shape:
            raise InputError(f"`other` must have {len(self.mean)} features as these moments have, got {len(other.mean)}")
        count = self.count + other.count
        shift, share = other.mean - self.mean, other.count / max(count, 1)
        scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.count * share)
        return Moments(count, self.mean + shift * share, scatter)

    @property
    def covariance(self) -> Float64[np.ndarray, "d d"]:
        """The unbiased covariance (D, D). Raises `InputError` for fewer than two vectors."""
        if self.count < 2:
            raise InputError(f"a covariance takes at least 2 images, got {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Fréchet distance of the normal distributions with these moments, in float64:

        |m1 - m2|² + tr(C1 + C2 - 2 (C1^{1/2} C2 C1^{1/2})^{1/2})        (Dowson and Landau 1982)

    which is "FID" where the features are Inception's (Heusel et al. 2017, equation 6). It is biased upward, roughly as
    1/N: compare only distances of equal counts. Covariances may be singular, as those of N <= D images are.

    Raises:
        InputError: fewer than two images, or features of another length.
    """
    return _coupling(*sorted((a, b), key=lambda moments: moments.count))[0]


def frechet_estimate(real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"]) -> Estimate:
    """`frechet_distance` of two sets of features, with a standard error and an interval for its expected value.

    The error is the infinitesimal jackknife's (Jaeckel 1972): the spread of the derivatives of the distance by each image's
    weight, which for an image x of the second set is, up to a constant,

        2 (m2 - m1)·(x - m2) + (x - m2)^T (I - T) (x - m2),   T = C1^{1/2} (C1^{1/2} C2 C1^{1/2})^{-1/2} C1^{1/2}

    and T the optimal transport from the second to the first. Resampling is of no use here: an image drawn twice adds
    nothing to the rank, so that a bootstrap distance is that of fewer images. Like every jackknife it errs to the safe
    side where the distance is all noise: for equal distributions it tells some √2 times the true spread.

    Raises:
        InputError: fewer than two images, features of another length, NaN or infinity.
    """
    x, y = sorted(checked_pair(real, synthetic, least=2), key=len)
    a, b = Moments.of(x), Moments.of(y)
    distance, root, pivots, directions, scales = _coupling(a, b)
    x, y = x - a.mean, y - b.mean
    whitened = scipy.linalg.solve_triangular(root[pivots], x[:, pivots].T, lower=True)
    to_y = scales @ np.square(directions.T @ whitened)
    overlap = np.square((root @ directions).T @ y.T)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    influence_x = 2 * x @ (a.mean - b.mean) + np.square(x).sum(axis=1) - to_y
    influence_y = 2 * y @ (b.mean - a.mean) + np.square(y).sum(axis=1) - inverse @ overlap
    error = np.hypot(influence_x.std(ddof=1) / np.sqrt(len(x)), influence_y.std(ddof=1) / np.sqrt(len(y)))
    return Estimate.positive(distance, float(error))


def _coupling(a: Moments, b: Moments):
    """The distance, which is symmetric: best let the set of fewer images, thus of smaller rank, be the first.

    Also L with C1 = L L^T and its pivot rows, which are triangular; and U, s with L^T C2 L = U s² U^T.
    L^T C2 L has the eigenvalues of C1^{1/2} C2 C1^{1/2} for any root L. The pivoted Cholesky root costs an eighth of an
    eigendecomposition, and has only as many columns as C1 has rank: none are there whose eigenvalue zero is rounded up.
    """
    if a.mean.shape != b.mean.shape:
        raise InputError(f"`a` and `b` must have features of one length, got {len(a.mean)} and {len(b.mean)}")
    first, second = a.covariance, b.covariance
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(first, lower=1)
    order = order - 1  # LAPACK counts from 1
    root = np.zeros((len(first), rank))
    root[order] = np.tril(factor)[:, :rank]
    squares, directions = np.linalg.eigh(root.T @ second @ root)
    scales = np.sqrt(np.maximum(squares, 0))
    distance = np.square(a.mean - b.mean).sum() + np.trace(first) + np.trace(second) - 2 * scales.sum()
    return max(float(distance), 0.0), root, order[:rank], directions, scales
