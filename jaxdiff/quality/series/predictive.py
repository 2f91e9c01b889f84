"""The predictive score: how well a recurrent network that learnt from synthetic windows predicts real ones."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxdiff.quality.series import gru
from jaxdiff.quality.series.repeats import REPEATS, Repeats, check_repeats
from jaxdiff.quality.series.windows import checked_windows

ITERATIONS = 5000


def predictive_score(
    real: Float[np.ndarray, "n l f"],
    synthetic: Float[np.ndarray, "m k g"],
    *,
    iterations: int = ITERATIONS,
    batch: int = gru.BATCH,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Repeats:
    """The mean absolute error on real windows of a predictor that is trained on synthetic ones (Yoon et al. 2019, TimeGAN).

    One layer of gated recurrent units of length F / 2 (`GRU`) and a sigmoid: from the features 1..F-1 up to time t it predicts
    feature F at t + 1, for t = 1..L-1. It is trained by 5,000 steps of Adam at rate 1e-3 on the mean absolute error of 128
    synthetic windows, and measured on all real windows. Of a single feature the next value is predicted from its own past.

    Its best value is not 0 but what the real data allow: compare it with the score of real windows, see `with_floor`. The last
    feature of the file decides: it is the one that is predicted, and its own past is not given.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F) in [0, 1], L at least 2.
        iterations, batch: steps, and windows in a step; the score depends on both.
        repeats: R, at least 1, with other initial weights and batches.
        seed: of both.

    Raises:
        InputError: numbers below 1; else as `checked_windows`.
    """
    check_repeats(repeats)
    gru.check_training(iterations, batch)
    real, synthetic = (each.astype(np.float32) for each in checked_windows(real, synthetic, length=2))
    (given, target), learnt = _task(real), _task(synthetic)
    chosen = [
        gru.batches(np.random.default_rng([seed, repeat]), len(synthetic), iterations=iterations, batch=batch)
        for repeat in range(repeats)
    ]
    hidden = gru.hidden_size(real.shape[2])
    networks = gru.fitted(given.shape[2], hidden=hidden, seed=seed, loss=_loss, data=learnt, chosen=chosen)
    predicted = np.asarray(jax.nn.sigmoid(gru.outputs(networks, given)))
    return Repeats.of(np.abs(predicted - target).mean(axis=(1, 2), dtype=np.float64).tolist())


def _task(windows: Float[np.ndarray, "n l f"]) -> tuple[Float[np.ndarray, "n k g"], Float[np.ndarray, "n k"]]:
    """What is given at each step, and what is predicted."""
    given = windows[:, :-1, :-1] if windows.shape[2] > 1 else windows[:, :-1]
    return given, windows[:, 1:, -1]


def _loss(network, task, indices):
    given, target = task
    return jnp.abs(jax.nn.sigmoid(network(given[indices])) - target[indices]).mean()
