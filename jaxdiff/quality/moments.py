"""Mean and covariance of features, and the Fréchet distance between two sets of features."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Float64, Int

from jaxdiff.errors import InputError
from jaxdiff.quality.estimate import Estimate, checked_pair


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of feature vectors: the sufficient statistics of a Fréchet distance, which merge over batches.

    Fields:
        count: N, the number of vectors.
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
    def from_features(features: Float[np.ndarray, "n d"]) -> "Moments":
        """The moments of one batch, which may be empty. Raises `InputError` for NaN or infinity."""
        if not np.isfinite(features).all():
            raise InputError("`features` must be finite, got NaN or infinity")
        values = np.asarray(features, np.float64)
        mean = values.sum(axis=0) / max(len(values), 1)
        centred = values - mean
        return Moments(len(values), mean, centred.T @ centred)

    def add(self, features: Float[np.ndarray, "n d"]) -> "Moments":
        """The moments with one more batch of features (N, D)."""
        return self.merge(Moments.from_features(features))

    def merge(self, other: "Moments") -> "Moments":
        """The moments of the union of both sets (Chan, Golub and LeVeque 1983); the order matters only in rounding.

        Raises:
            InputError: features of different lengths.
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


@dataclass(frozen=True)
class Normal:
    """Mean and covariance of features of an unknown number of images, as files of statistics hold them.

    Fields:
        mean: (D,).
        covariance: (D, D).
    """

    mean: Float64[np.ndarray, " d"]
    covariance: Float64[np.ndarray, "d d"]


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Fréchet distance between the normal distributions with these moments, in float64:

        |m1 - m2|² + tr(C1 + C2 - 2 (C1^{1/2} C2 C1^{1/2})^{1/2})        (Dowson and Landau 1982)

    It is the FID where the features are those of Inception (Heusel et al. 2017, equation 6). It is biased upwards, by about
    1/N: compare only distances at equal numbers of images. Covariances may be singular, as for N <= D images.

    Raises:
        InputError: fewer than two images, or features of different lengths.
    """
    return _coupling(*sorted((a, b), key=lambda moments: moments.count)).distance


def frechet_estimate(real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"]) -> Estimate:
    """`frechet_distance` between two sets of features, with a standard error and an interval for its expected value.

    The error is that of the infinitesimal jackknife (Jaeckel 1972): from the derivatives of the distance by the weight of each
    image, which for an image x of the second set is, up to a constant,

        2 (m2 - m1)·(x - m2) + (x - m2)^T (I - T) (x - m2),   T = C1^{1/2} (C1^{1/2} C2 C1^{1/2})^{-1/2} C1^{1/2}

    with T the optimal transport map from the second set to the first. The bootstrap is invalid here: an image drawn twice does
    not add to the rank, so that a bootstrap distance is that of fewer images. Like every jackknife it is conservative where the
    distance is mostly noise: for equal distributions the error is about √2 times the true standard deviation.

    Raises:
        InputError: fewer than two images, features of different lengths, NaN or infinity.
    """
    x, y = sorted(checked_pair(real, synthetic, least=2), key=len)
    a, b = Moments.from_features(x), Moments.from_features(y)
    coupling = _coupling(a, b)
    y = y - b.mean
    overlap = np.square((coupling.root @ coupling.directions).T @ y.T)
    inverse = np.divide(1, coupling.scales, out=np.zeros_like(coupling.scales), where=coupling.scales > 0)
    influence_x = _influence(x, a, b, coupling)
    influence_y = 2 * y @ (b.mean - a.mean) + np.square(y).sum(axis=1) - inverse @ overlap
    error = np.hypot(influence_x.std(ddof=1) / np.sqrt(len(x)), influence_y.std(ddof=1) / np.sqrt(len(y)))
    return Estimate.log_normal(coupling.distance, float(error))


def frechet_estimate_to(reference: Normal, synthetic: Float[np.ndarray, "n d"]) -> Estimate:
    """The Fréchet distance of features from a given normal distribution, as in `frechet_distance`, with its standard error.

    The error is that of the synthetic images alone, as in `frechet_estimate`; the reference is taken as it is.

    Raises:
        InputError: fewer than two images, features of another length, NaN or infinity.
    """
    if len(synthetic) < 2 or synthetic.shape[1] != len(reference.mean):
        raise InputError(
            f"`synthetic` must be at least 2 feature vectors of length {len(reference.mean)}, got shape {synthetic.shape}"
        )
    moments = Moments.from_features(synthetic)
    coupling = _coupling(moments, reference)
    influence = _influence(np.asarray(synthetic, np.float64), moments, reference, coupling)
    return Estimate.log_normal(coupling.distance, float(influence.std(ddof=1) / np.sqrt(len(synthetic))))


class _Coupling(NamedTuple):
    """The distance, which is symmetric, and what its derivatives take.

    L with C1 = L L^T and its pivot rows, which are triangular; and U, s with L^T C2 L = U s² U^T.
    """

    distance: float
    root: Float64[np.ndarray, "d r"]
    pivots: Int[np.ndarray, " r"]
    directions: Float64[np.ndarray, "r r"]
    scales: Float64[np.ndarray, " r"]


def _influence(
    x: Float64[np.ndarray, "n d"], a: Moments, b: Moments | Normal, coupling: _Coupling
) -> Float64[np.ndarray, " n"]:
    """The derivative of the distance by the weight of each image of the first set, up to a constant."""
    x = x - a.mean
    whitened = scipy.linalg.solve_triangular(coupling.root[coupling.pivots], x[:, coupling.pivots].T, lower=True)
    to_y = coupling.scales @ np.square(coupling.directions.T @ whitened)
    return 2 * x @ (a.mean - b.mean) + np.square(x).sum(axis=1) - to_y


def _coupling(a: Moments | Normal, b: Moments | Normal) -> _Coupling:
    """Fastest where the first set has fewer images and thus smaller rank.

    L^T C2 L has the eigenvalues of C1^{1/2} C2 C1^{1/2} for any root L. The pivoted Cholesky root costs an eighth of an
    eigendecomposition, and has as many columns as the rank of C1, so that no zero eigenvalue is rounded up.
    """
    if a.mean.shape != b.mean.shape:
        raise InputError(f"`a` and `b` must have features of one length, got {len(a.mean)} and {len(b.mean)}")
    first, second = a.covariance, b.covariance
    (pivoted_cholesky,) = scipy.linalg.get_lapack_funcs(["pstrf"], [first])
    factor, order, rank, _ = pivoted_cholesky(first, lower=1)
    order = order - 1  # LAPACK counts from 1
    root = np.zeros((len(first), rank))
    root[order] = np.tril(factor)[:, :rank]
    squares, directions = np.linalg.eigh(root.T @ second @ root)
    scales = np.sqrt(np.maximum(squares, 0))
    distance = np.square(a.mean - b.mean).sum() + np.trace(first) + np.trace(second) - 2 * scales.sum()
    return _Coupling(max(float(distance), 0.0), root, order[:rank], directions, scales)
