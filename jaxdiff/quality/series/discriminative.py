"""The discriminative score: how well a recurrent network tells synthetic windows from real ones."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from jaxdiff.quality.series import gru
from jaxdiff.quality.series.repeats import REPEATS, Repeats, check_repeats
from jaxdiff.quality.series.windows import checked_windows

ITERATIONS = 2000


@dataclass(frozen=True)
class Discrimination:
    """The result of `discriminative_score`.

    Fields:
        score: |accuracy - 0.5|, in [0, 0.5]: 0 at chance, 0.5 where all windows are classified right.
        real, synthetic: the share of held-out windows of each set that is classified as such, by repeat (R,).
    """

    score: Repeats
    real: Float64[np.ndarray, " r"]
    synthetic: Float64[np.ndarray, " r"]


def discriminative_score(
    real: Float[np.ndarray, "n l f"],
    synthetic: Float[np.ndarray, "m k g"],
    *,
    iterations: int = ITERATIONS,
    batch: int = gru.BATCH,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Discrimination:
    """|accuracy - 0.5| of a recurrent network that is trained to tell two sets apart (Yoon et al. 2019, TimeGAN).

    One layer of gated recurrent units of length F / 2 (`GRU`), whose last output is the logit of "real". In each repeat 80 % of
    the windows of each set, at random, are trained on: 2,000 steps of Adam at rate 1e-3 on the sum of the mean cross-entropies
    of 128 real and 128 synthetic windows. The accuracy is that of the other 20 %: the mean of the two sets' accuracies, which
    is the published accuracy for sets of equal size, and is 0.5 by chance for others too.

    Real windows that overlap (a stride below their length) are in both parts nearly alike, so that the network may recall them.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F) in [0, 1], at least two of each.
        iterations, batch: steps, and windows of each set in a step; the score depends on both.
        repeats: R, at least 1, with other initial weights, splits and batches.
        seed: of all of them.

    Raises:
        InputError: numbers below 1; else as `checked_windows`.
    """
    check_repeats(repeats)
    gru.check_training(iterations, batch)
    sets = [each.astype(np.float32) for each in checked_windows(real, synthetic, least=2)]
    chosen, held_out = [], []
    for repeat in range(repeats):
        generator = np.random.default_rng([seed, repeat])
        orders = [generator.permutation(len(each)).astype(np.int32) for each in sets]
        cuts = [int(0.8 * len(each)) for each in sets]
        drawn = [gru.batches(generator, cut, iterations=iterations, batch=batch) for cut in cuts]
        chosen.append([order[taken] for order, taken in zip(orders, drawn, strict=True)])
        held_out.append([each[order[cut:]] for each, order, cut in zip(sets, orders, cuts, strict=True)])
    features = real.shape[2]
    networks = gru.fitted(features, hidden=gru.hidden_size(features), seed=seed, loss=_loss, data=sets, chosen=chosen)
    taken_as_real = [
        np.asarray(gru.outputs(networks, np.stack(windows)))[..., -1] > 0 for windows in zip(*held_out, strict=True)
    ]
    right = [found.mean(axis=1, dtype=np.float64) for found in (taken_as_real[0], ~taken_as_real[1])]
    return Discrimination(Repeats.of(np.abs((right[0] + right[1]) / 2 - 0.5).tolist()), *right)


def _loss(network, sets, indices):
    drawn = [windows[taken] for windows, taken in zip(sets, indices, strict=True)]
    logits = network(jnp.concatenate(drawn))[:, -1]
    return jax.nn.softplus(-logits[: len(drawn[0])]).mean() + jax.nn.softplus(logits[len(drawn[0]) :]).mean()
