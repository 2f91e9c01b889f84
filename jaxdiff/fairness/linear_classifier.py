"""Multinomial logistic regression on the host: classifiers that are linear in given features."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Float64, Int, Integer, Shaped

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels


@dataclass(frozen=True)
class LinearClassifier:
    """A classifier whose logits are linear in the features. `fit_linear_classifier` makes one.

    Fields:
        matrix: (D, K).
        intercept: (K,).
    """

    matrix: Float64[np.ndarray, "d k"]
    intercept: Float64[np.ndarray, " k"]

    def log_probabilities(self, features: Shaped[np.ndarray, "m d"]) -> Float64[np.ndarray, "m k"]:
        """log P(label | features) (M, K)."""
        return scipy.special.log_softmax(np.asarray(features, np.float64) @ self.matrix + self.intercept, axis=1)

    def predict(self, features: Shaped[np.ndarray, "m d"]) -> Int[np.ndarray, " m"]:
        """The most likely label of each row (M,)."""
        return self.log_probabilities(features).argmax(axis=1)


def fit_linear_classifier(
    features: Shaped[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    *,
    values: int,
    weights: Float[np.ndarray, " n"] | None = None,
    ridge: float = 1.0,
) -> LinearClassifier:
    """Multinomial logistic regression: minimises sum_i w_i (-log P(label_i | x_i)) + ridge / 2 |matrix|^2.

    The penalty is on the coefficients of standardised features (mean 0, variance 1), not on the intercept. Features that are
    constant but for rounding have no coefficient.

    Arguments:
        features: (N, D).
        labels: (N,), 0..K-1, each at least once.
        values: K.
        weights: of the samples (N,), of mean 1; by default 1 each.
        ridge: strength of the penalty, above 0.

    Raises:
        InputError: labels out of range, a value without samples, or a ridge that is not above 0.
    """
    check_labels(labels, values=values)
    absent = np.flatnonzero(np.bincount(labels, minlength=values) == 0)
    if len(absent):
        raise InputError(f"`labels` must have every value in 0..{values - 1}, got none of {absent.tolist()}")
    if not ridge > 0:
        raise InputError(f"`ridge` must be above 0, got {ridge}")
    x = np.asarray(features, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    mean = w @ x / w.sum()
    deviation = np.sqrt(w @ np.square(x - mean) / w.sum())
    varies = deviation > 1e-6 * max(deviation.max(initial=0.0), np.abs(mean).max(initial=0.0))
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    x, target = (x - mean) * scale, np.eye(values)[labels]

    def loss(flat):
        matrix, intercept = flat[values:].reshape(-1, values), flat[:values]
        logs = scipy.special.log_softmax(x @ matrix + intercept, axis=1)
        error = w[:, None] * (np.exp(logs) - target)
        gradient = np.concatenate([error.sum(axis=0), (x.T @ error + ridge * matrix).ravel()])
        return -(w[:, None] * target * logs).sum() + ridge / 2 * np.square(matrix).sum(), gradient

    start = np.zeros(values * (1 + x.shape[1]))
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": 1e-6, "ftol": 1e-12}
    )
    matrix = found.x[values:].reshape(-1, values) * scale[:, None]
    return LinearClassifier(matrix, found.x[:values] - mean @ matrix)
