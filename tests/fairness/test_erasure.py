"""LEACE: no covariance with the concept is left, by the least change; closed forms, and where it must be fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from jaxdiff import InputError
from jaxdiff.fairness import fit_erasure, fit_linear_classifier, independence_weights


def sampled(rng, count=400, dimensions=6, values=3):
    """Correlated features whose means depend on a label, the labels, and positive weights."""
    labels = np.append(np.arange(values), rng.integers(values, size=count - values))
    mixing = rng.normal(size=(dimensions, dimensions))
    x = (rng.normal(size=(count, dimensions)) + 2 * rng.normal(size=(values, dimensions))[labels]) @ mixing
    return x, labels, rng.uniform(0.2, 3, count)


def moments(x, z, weights):
    w = weights / weights.sum()
    x, z = x - w @ x, z - w @ z
    return (x * w[:, None]).T @ x, (x * w[:, None]).T @ z


@given(st.integers(2, 4), st.integers(1, 8), st.booleans(), st.integers(0, 2**31))
def test_no_covariance_is_left_and_the_mean_is_kept(values, dimensions, weighted, seed):
    rng = np.random.default_rng(seed)
    x, labels, weights = sampled(rng, 60, dimensions, values)
    x[:, -1] = x[:, 0]  # a covariance that cannot be inverted
    one_hot = np.eye(values)[labels]
    weights = weights if weighted else np.ones(60)
    edit = fit_erasure(x, one_hot, weights=weights if weighted else None)
    scale = np.abs(x).max()
    assert np.abs(moments(edit(x), one_hot, weights)[1]).max() < 1e-10 * scale
    np.testing.assert_allclose(weights @ edit(x), weights @ x, atol=1e-9 * scale * weights.sum())
    np.testing.assert_allclose(edit(edit(x)), edit(x), atol=1e-8 * scale)
    assert edit.rank <= min(values - 1, dimensions) and edit.count == 60
    assert edit.effective_count == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_linear_classifiers_are_at_chance(rng):
    x, labels, _ = sampled(rng)
    assert LogisticRegression(C=1e6, max_iter=5000).fit(x, labels).score(x, labels) > 0.9
    erased = fit_erasure(x, np.eye(3)[labels])(x)
    share = np.bincount(labels) / len(labels)
    found = LogisticRegression(C=1e6, max_iter=5000, tol=1e-10).fit(erased, labels).predict_proba(erased)
    np.testing.assert_allclose(found, np.broadcast_to(share, found.shape), atol=1e-5)
    own = fit_linear_classifier(erased, labels, values=3).log_probabilities(erased)
    np.testing.assert_allclose(np.exp(own), found, atol=1e-5)


def test_no_other_projection_without_covariance_changes_less(rng):
    """All affine edits x - Q (x - E x) without covariance have Q Sigma_xz = Sigma_xz: the change is tr(M Q Sigma_xx Q')."""
    x, labels, weights = sampled(rng)
    one_hot = np.eye(3)[labels]
    covariance, with_concept = moments(x, one_hot, weights)
    edit = fit_erasure(x, one_hot, weights=weights)
    norms = {"Euclidean": np.eye(6), "Mahalanobis": np.linalg.inv(covariance)}
    own = {name: np.trace(m @ edit.projection @ covariance @ edit.projection.T) for name, m in norms.items()}
    basis = with_concept[:, :2]
    for kernel in (np.eye(6), *(part @ part.T for part in rng.normal(size=(20, 6, 6)))):
        other = basis @ np.linalg.solve(basis.T @ kernel @ basis, basis.T @ kernel)
        np.testing.assert_allclose(other @ with_concept, with_concept, atol=1e-8)
        for name, m in norms.items():
            assert own[name] <= np.trace(m @ other @ covariance @ other.T) + 1e-9
    # the Euclidean change is the mean square of what the edit does
    change = np.square(edit(x) - x).sum(axis=1) @ weights / weights.sum()
    assert change == pytest.approx(own["Euclidean"])


def test_independent_concept_changes_nothing(rng):
    base = rng.normal(size=(50, 4))
    x, labels = np.tile(base, (2, 1)), np.repeat([0, 1], 50)
    edit = fit_erasure(x, np.eye(2)[labels])
    assert edit.rank == 0 and (edit(x) == x).all()
    assert fit_erasure(base, np.ones((50, 1))).rank == 0


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.9])
def test_closed_form_of_two_correlated_gaussians(correlation, rng):
    """The concept goes with x1 alone: r(x) = (rho x2, x2), the part of x1 that x2 predicts stays."""
    raw = rng.normal(size=(200, 3))
    raw = (raw - raw.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T, bias=True))).T
    # columns of exact moments: x of correlation rho, and a concept of covariance (.5, 0) with it
    wanted = np.array([[1, correlation, 0.5], [correlation, 1, 0], [0.5, 0, 2]])
    drawn = raw @ np.linalg.cholesky(wanted).T
    edit = fit_erasure(drawn[:, :2] + [3, -1], drawn[:, 2:])
    expected = np.stack([correlation * drawn[:, 1] + 3, drawn[:, 1] - 1], axis=1)
    np.testing.assert_allclose(edit(drawn[:, :2] + [3, -1]), expected, atol=1e-12)


def test_what_is_left_on_other_samples_is_an_error_of_estimation(rng):
    """Two groups at distance 6 in 40 dimensions, fitted on N = 1600: sqrt(4 D / N) = .316 is left of it."""
    left = []
    for _ in range(20):
        labels = np.arange(1600) % 2
        x = rng.normal(size=(1600, 40))
        x[:, 0] += 6 * labels
        edit = fit_erasure(x, np.eye(2)[labels])
        difference = np.eye(40)[0] * 6
        left.append(np.linalg.norm(difference - edit.projection @ difference))
    assert np.mean(left) == pytest.approx(np.sqrt(4 * 39 / 1600), rel=0.1)


def real_and_leaking(rng, count):
    """Features of a jaw and of hair: of real images, and of a set whose label is kept; hair goes with the label in both."""
    labels, leaking = rng.integers(2, size=(2, count))
    hair = (rng.random(count) < np.where(labels, 0.85, 0.15)).astype(int)
    of_set = (rng.random(count) < np.where(leaking, 0.85, 0.15)).astype(int)
    noise = rng.normal(0, 0.3, (2, count, 2))
    return labels, hair, np.stack([labels, hair], 1) + noise[0], leaking, np.stack([leaking, of_set], 1) + noise[1]


def error_on_set(edit, x, labels):
    half = len(x) // 2
    found = fit_linear_classifier(edit(x)[:half], labels[:half], values=2).predict(edit(x)[half:])
    return 100 * np.mean([(found != value)[labels[half:] == value].mean() for value in (0, 1)])


def test_fitted_where_attributes_are_independent_it_leaves_what_goes_with_the_label(rng):
    """Hair that follows the label in 85 % of a set: a BER of 15 after the jaw alone is removed. A set erases its own leak."""
    labels, hair, x, leaking, of_set = real_and_leaking(rng, 8000)
    one_hot = np.eye(2)[labels]
    weights = independence_weights(labels, hair[:, None], values=2)
    assert weights.method == "counts"
    balanced = fit_erasure(x, one_hot, weights=weights.values)
    # thresholded at noise of .3 deviations a hair feature is wrong in 100 Phi(-.5 / .3) = 4.8 %: 15 + 4.8 (1 - 2 .15) = 18.3
    assert error_on_set(balanced, of_set, leaking) == pytest.approx(18.3, abs=2.5)
    assert error_on_set(fit_erasure(of_set, np.eye(2)[leaking]), of_set, leaking) > 46
    confounded = error_on_set(fit_erasure(x, one_hot), of_set, leaking)
    assert confounded > error_on_set(balanced, of_set, leaking) + 10
    # blind on held-out real images in which hair is independent of the label
    held, held_hair, y, *_ = real_and_leaking(rng, 8000)
    even = independence_weights(held, held_hair[:, None], values=2).values
    found = fit_linear_classifier(balanced(y), held, values=2, weights=even).predict(balanced(y))
    rates = [np.average(found[held == value] != value, weights=even[held == value]) for value in (0, 1)]
    assert np.mean(rates) > 0.47


def test_weights_make_the_label_independent_of_all_others_together(rng):
    """Two attributes whose exclusive or is the label's bias: each pair is independent already, all three are not."""
    others = rng.integers(2, size=(4000, 2))
    labels = (rng.random(4000) < 0.2 + 0.6 * (others[:, 0] ^ others[:, 1])).astype(int)
    found = independence_weights(labels, others, values=2)
    assert found.method == "counts" and found.values.mean() == pytest.approx(1)
    for cell in ((0, 0), (0, 1), (1, 0), (1, 1)):
        inside = (others == cell).all(axis=1)
        share = found.values[inside & (labels == 1)].sum() / found.values[inside].sum()
        assert share == pytest.approx((labels == 1).mean())
        assert found.values[inside].mean() == pytest.approx(1)  # the shares of the others are kept


def test_missing_combinations_take_a_regression(rng):
    others = rng.integers(2, size=(6000, 1))
    labels = (rng.random(6000) < np.where(others[:, 0], 0.9, 0.3)).astype(int)
    others = np.append(others, np.zeros((6000, 1), int), axis=1)
    others[0], labels[0] = [0, 1], 1  # the only image of its kind
    found = independence_weights(labels, others, values=2)
    assert found.method == "regression" and 0 <= found.clipped < 0.01
    rates = [np.average(labels[others[:, 0] == i], weights=found.values[others[:, 0] == i]) for i in (0, 1)]
    assert abs(rates[0] - rates[1]) < 0.02
    equal = independence_weights(labels, others[:, :0], values=2)
    assert equal.method == "equal" and (equal.values == 1).all()


def test_logistic_regression_is_that_of_scikit_learn(rng):
    x, labels, weights = sampled(rng, 300)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    ours = fit_linear_classifier(x, labels, values=3, ridge=2.0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(x, labels)
    np.testing.assert_allclose(ours.log_probabilities(x), theirs.predict_log_proba(x), atol=1e-3)
    # the units of features do not matter, and weights are repetitions
    scaled = fit_linear_classifier(1000 * x - 5, labels, values=3, ridge=2.0)
    np.testing.assert_allclose(scaled.log_probabilities(1000 * x - 5), ours.log_probabilities(x), atol=1e-3)
    twice = np.arange(300) % 2
    repeated = np.repeat(np.arange(300), 1 + twice)
    weighted = fit_linear_classifier(x, labels, values=3, weights=1.0 + twice)
    np.testing.assert_allclose(
        weighted.log_probabilities(x),
        fit_linear_classifier(x[repeated], labels[repeated], values=3).log_probabilities(x),
        atol=1e-3,
    )


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: fit_erasure(np.zeros((0, 2)), np.zeros((0, 1))), "features"),
        (lambda: fit_erasure(np.full((2, 2), np.nan), np.zeros((2, 1))), "features"),
        (lambda: fit_erasure(np.zeros((2, 2)), np.zeros((2, 1)), weights=np.array([1.0, -1.0])), "weights"),
        (lambda: fit_linear_classifier(np.zeros((2, 2)), np.array([0, 0]), values=2), "labels"),
        (lambda: fit_linear_classifier(np.zeros((2, 2)), np.array([0, 1]), values=2, ridge=0.0), "ridge"),
        (lambda: independence_weights(np.array([0, 0]), np.zeros((2, 0), int), values=2), "labels"),
    ],
)
def test_wrong_input_is_an_error(make, word):
    with pytest.raises(InputError, match=word):
        make()
