"""The loss-based attack: closed forms; it finds memorised members, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score, roc_curve

from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import ve, vp_cosine
from jaxdiff.safety.membership import attack_losses, membership_attack

PROCESS = vp_cosine()


def empirical(points, process=PROCESS):
    """The posterior mean of the empirical distribution: a denoiser that has learnt its points by heart."""
    known = jnp.asarray(points, jnp.float32)

    def denoise(x, t, condition):
        alpha, sigma = process.alpha(t), process.sigma(t)
        squares = jnp.square(x[:, None] - alpha * known).sum(-1)
        return jnp.einsum("bn,nd->bd", jax.nn.softmax(-squares / (2 * sigma**2), axis=1), known, precision="highest")

    return denoise


def gaussian(dimension=5, deviation=0.7, process=PROCESS):
    return GaussianMixture(jnp.full((1, 1, dimension), 0.3), jnp.full((1, 1), deviation), jnp.zeros((1, 1)), process)


@pytest.mark.parametrize("process", [PROCESS, ve()], ids=["vp", "ve"])
def test_the_loss_of_a_model_that_knows_one_point_is_the_distance_to_it(key, rng, process):
    """eps_theta = (x_t - alpha m) / sigma = eps + alpha (x_0 - m) / sigma, whatever eps is."""
    point, x0 = rng.normal(size=(1, 6)).astype(np.float32), rng.normal(size=(9, 6)).astype(np.float32)
    t = 0.4
    losses = attack_losses(empirical(point, process), process, x0, key=key, t=t, draws=3)
    np.testing.assert_allclose(losses, process.snr(t) * np.square(x0 - point).mean(axis=1), rtol=1e-3)


def test_the_loss_under_a_gaussian_has_its_expectation(key, rng):
    """With S = alpha² s² + sigma²: E mean(eps - eps_theta)² = (alpha² s² / S)² + (alpha sigma / S)² mean (x_0 - mu)²."""
    x0, t = rng.normal(size=(4, 5)).astype(np.float32), 0.5
    condition = jnp.zeros(4, jnp.int32)
    losses = attack_losses(gaussian(), PROCESS, x0, key=key, t=t, draws=20_000, condition=condition)
    alpha, sigma = (float(each(t)) for each in (PROCESS.alpha, PROCESS.sigma))
    total = alpha**2 * 0.49 + sigma**2
    expected = (alpha**2 * 0.49 / total) ** 2 + (alpha * sigma / total) ** 2 * np.square(x0 - 0.3).mean(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=0.03)
    with pytest.raises(AssertionError):  # so near that another time would be seen
        other = attack_losses(gaussian(), PROCESS, x0, key=key, t=0.45, draws=20_000, condition=condition)
        np.testing.assert_allclose(other, expected, rtol=0.03)


def test_images_in_other_batches_meet_the_same_noise(key, rng):
    x0 = rng.normal(size=(6, 5)).astype(np.float32)
    whole, parts = (
        np.concatenate([
            attack_losses(gaussian(), PROCESS, part, key=key, condition=jnp.zeros(len(part), jnp.int32)) for part in split
        ])
        for split in ([x0], [x0[:3], x0[3:]])
    )  # fmt: skip
    np.testing.assert_allclose(whole, parts, rtol=1e-4)


def test_the_condition_of_each_image_reaches_the_model(key, rng):
    means = jnp.array([[[0.0] * 4], [[5.0] * 4]])
    denoise = GaussianMixture(means, jnp.full((2, 1), 0.1), jnp.zeros((2, 1)), PROCESS)
    x0 = np.repeat(np.asarray(means[:, 0]), 2, axis=0)
    # rows 1 and 2 are under the other one's condition
    losses = np.asarray(attack_losses(denoise, PROCESS, x0, key=key, t=0.5, condition=jnp.array([0, 1, 0, 1])))
    assert losses[[0, 3]].max() < 0.1 * losses[[1, 2]].min()


def test_memorised_members_are_all_found_and_no_others(key, rng):
    """Members have no loss, others the distance to the nearest member."""
    members, others = (rng.normal(size=(200, 8)).astype(np.float32) for _ in range(2))
    denoise = jax.tree_util.Partial(empirical(members))
    losses = [attack_losses(denoise, PROCESS, x0, key=key, t=0.02, draws=2) for x0 in (members, others)]
    found = membership_attack(*map(np.asarray, losses))
    assert float(losses[0].max()) < 1e-2 < float(losses[1].min())
    assert (found.auc.value, found.true_positives, found.true_positives_interval) == (1, 1, (1, 1)) and found.count == (
        200,
        200,
    )


def test_under_much_noise_memorised_members_are_no_longer_all_found(key, rng):
    members, others = (rng.normal(size=(400, 2)).astype(np.float32) for _ in range(2))
    aucs, denoise = [], jax.tree_util.Partial(empirical(members))
    for t in (0.02, 0.3, 0.97):
        losses = [np.asarray(attack_losses(denoise, PROCESS, x0, key=key, t=t)) for x0 in (members, others)]
        aucs.append(membership_attack(*losses, replicates=20).auc.value)
    assert aucs[0] > aucs[1] > aucs[2] and abs(aucs[2] - 0.5) < 0.1


def test_a_model_of_the_distribution_alone_finds_members_by_chance(key):
    """The AUC is 1/2 and DeLong's interval holds it in 95 % of trials; 1 % are found at 1 % false positives."""
    trials, count = 300, 100
    draw = lambda seed: np.random.default_rng(seed).normal(0.3, 0.7, (count, 5)).astype(np.float32)  # noqa: E731
    condition, missed, found = jnp.zeros(count, jnp.int32), 0, []
    for trial in range(trials):
        losses = [
            np.asarray(attack_losses(gaussian(), PROCESS, draw(seed), key=key, draws=2, condition=condition))
            for seed in (2 * trial, 2 * trial + 1)
        ]
        answer = membership_attack(*losses, replicates=1)
        missed += not answer.auc.low <= 0.5 <= answer.auc.high
        found.append(answer.true_positives)
    assert binom.ppf(0.001, trials, 0.05) <= missed <= binom.ppf(0.999, trials, 0.06)
    # the expected share of members below the second of 100 others: 2 / 101
    assert np.mean(found) == pytest.approx(2 / 101, abs=4 * np.std(found) / trials**0.5)


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_is_that_of_scikit_learn(rng, ties):
    members, others = rng.normal(0, 1, 340), rng.normal(0.6, 1.2, 270)
    if ties:
        members, others = np.round(members, 1), np.round(others, 1)
    labels, scores = np.repeat([1, 0], [340, 270]), -np.concatenate([members, others])
    for false_positives in (0.01, 0.05, 0.2, 1 / 270):
        found = membership_attack(members, others, false_positives=false_positives, replicates=200)
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        assert found.auc.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert found.true_positives == pytest.approx(true[false <= false_positives + 1e-12].max(), abs=1e-12)
        assert found.true_positives_interval[0] <= found.true_positives <= found.true_positives_interval[1]


def test_delongs_error_is_that_of_the_pairs(rng):
    """Of the matrix of all pairs: the variances of its row means and of its column means (equation 5)."""
    members, others = np.round(rng.normal(0, 1, 60), 1), np.round(rng.normal(0.5, 1, 110), 1)
    wins = (members[:, None] < others) + 0.5 * (members[:, None] == others)
    error = np.sqrt(wins.mean(1).var(ddof=1) / 60 + wins.mean(0).var(ddof=1) / 110)
    found = membership_attack(members, others, replicates=1).auc
    assert found.value == pytest.approx(wins.mean()) and found.error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx((found.value - 1.959964 * error, found.value + 1.959964 * error))


def test_the_bootstrap_interval_is_as_wide_as_the_share_scatters(rng):
    draw = lambda: (rng.normal(0, 1, 500), rng.normal(1, 1, 500))  # noqa: E731
    shares = [membership_attack(*draw(), false_positives=0.05, replicates=1).true_positives for _ in range(400)]
    ends = np.array(
        [membership_attack(*draw(), false_positives=0.05, replicates=100).true_positives_interval for _ in range(40)]
    )
    expected = np.diff(np.quantile(shares, [0.025, 0.975]))[0]
    assert np.diff(ends).mean() == pytest.approx(expected, rel=0.25)


def test_the_same_losses_are_at_chance(rng):
    losses = rng.normal(size=150)
    assert membership_attack(losses, losses, replicates=1).auc.value == 0.5


def test_what_cannot_be_attacked_is_refused(key, rng):
    x0 = np.zeros((2, 5), np.float32)
    for t in (0.0, 1.1):
        with pytest.raises(InputError, match=rf"`t` must lie in \(0, 1\].*got {t}"):
            attack_losses(gaussian(), PROCESS, x0, key=key, t=t)
    with pytest.raises(InputError, match="`draws` be at least 1, got 0.1 and 0"):
        attack_losses(gaussian(), PROCESS, x0, key=key, draws=0)
    many = rng.normal(size=100)
    with pytest.raises(InputError, match="`others` at least 100, for a false-positive rate of 0.01; got 100 and 99"):
        membership_attack(many, many[1:])
    with pytest.raises(InputError, match="got 1 and 100"):
        membership_attack(many[:1], many)
    with pytest.raises(InputError, match="NaN or infinity"):
        membership_attack(np.append(many, np.nan), many)
    with pytest.raises(InputError, match="within 0 and 1, got 1.0"):
        membership_attack(many, many, false_positives=1.0)
    with pytest.raises(InputError, match="`replicates`"):
        membership_attack(many, many, replicates=0)
