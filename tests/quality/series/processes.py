"""Windows of processes whose statistics are known."""

import numpy as np
import scipy


def autoregressive(rng, count: int, length: int, coefficients, correlation=None) -> np.ndarray:
    """Stationary windows of x_t = A x_{t-1} + e_t, A diagonal, of variance 1 and given correlations (N, L, F)."""
    a = np.asarray(coefficients, np.float64)
    target = np.eye(len(a)) if correlation is None else np.asarray(correlation, np.float64)
    noise = np.linalg.cholesky(target - np.outer(a, a) * target)  # of C = A C A + Q
    x = rng.standard_normal((count, len(a))) @ np.linalg.cholesky(target).T
    steps = [x]
    for _ in range(length - 1):
        x = a * x + rng.standard_normal((count, len(a))) @ noise.T
        steps.append(x)
    return np.stack(steps, axis=1)


def uniform(windows: np.ndarray) -> np.ndarray:
    """Standard normal values as values in (0, 1) of the same order."""
    return scipy.special.ndtr(windows).astype(np.float32)
