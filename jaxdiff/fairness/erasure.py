"""Erasing a concept: the least change of features after which no linear classifier finds the concept (LEACE)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Shaped

from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Erasure:
    """An affine edit of features that removes all linear information about a concept. `fit_erasure` makes one.

    Linear classifiers are blind to the concept after it; others need not be: the groups keep their differences in variance.

    Fields:
        mean: of the features that it was fitted on (D,).
        projection: onto what is removed (D, D), of the rank of the concept.
        rank: of the projection; 0 removes nothing.
        count: the number of samples it was fitted on.
        effective_count: their effective number under their weights, 1 / sum of w^2 (Kish 1965).
    """

    mean: Float64[np.ndarray, " d"]
    projection: Float64[np.ndarray, "d d"]
    rank: int
    count: int
    effective_count: float

    def __call__(self, features: Shaped[np.ndarray, "m d"]) -> Float64[np.ndarray, "m d"]:
        """The edited features (M, D): x - Q (x - mean), with Q the projection."""
        features = np.asarray(features, np.float64)
        return features - (features - self.mean) @ self.projection.T


def fit_erasure(
    features: Shaped[np.ndarray, "n d"], concept: Shaped[np.ndarray, "n k"], *, weights: Float[np.ndarray, " n"] | None = None
) -> Erasure:
    """The least edit of features after which they have no covariance with a concept.

    LEACE (Belrose et al., arXiv 2306.03819, Theorem 4.3): r(x) = x - W^+ P W (x - E x), with the whitening W = Sigma_xx^(-1/2)
    (pseudo-inverse) and P the orthogonal projection onto the column space of W Sigma_xz. For a one-hot concept no linear
    classifier then does better than a constant (Theorem 3.2 there), and no affine edit with this property changes the
    features less, as a mean square in any norm of an inner product. In 64 bits, on the host.

    It is blind on the samples that it was fitted on. On others of the same distribution what is left is an error of estimation:
    for two equal groups a Mahalanobis distance of about sqrt(4 D / N) between them.

    Fitted on samples in which other attributes go with the concept it removes these too. To see them afterwards, fit it where
    they are independent of the concept, if need be by weights: see `independence_weights`.

    Arguments:
        features: (N, D).
        concept: (N, K), numbers; of labels, one-hot.
        weights: of the samples (N,), not negative, not all 0; by default equal.

    Raises:
        InputError: no samples, numbers that are not finite, or weights that are negative or all 0.
    """
    x, z = np.asarray(features, np.float64), np.asarray(concept, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if not x.size or not (np.isfinite(x).all() and np.isfinite(z).all()):
        raise InputError(
            f"`features` and `concept` must be finite and of at least one sample, got shapes {x.shape} and {z.shape}"
        )
    if not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
        raise InputError("`weights` must be finite, at least 0 and not all 0")
    w = w / w.sum()
    mean = w @ x
    x, z = x - mean, z - w @ z
    variances, directions = np.linalg.eigh((x * w[:, None]).T @ x)
    rounding = max(x.shape) * np.finfo(np.float64).eps
    kept = variances > rounding * max(variances[-1], 0)
    deviations, directions = np.sqrt(variances[kept]), directions[:, kept]
    # in the coordinates of the kept directions, in which W is diagonal
    whitened = (directions / deviations).T @ ((x * w[:, None]).T @ z)
    left, size, _ = np.linalg.svd(whitened, full_matrices=False)
    left = left[:, size > rounding * np.sqrt(np.square(z).sum(axis=1) @ w)]
    projection = (directions * deviations) @ (left @ left.T) @ (directions / deviations).T
    return Erasure(mean, projection, left.shape[1], len(x), float(1 / np.square(w).sum()))
