"""Edits in closed form are the minima that they claim to be, reach what linear algebra allows, and change nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.safety import rece, restoring, speed, text_kernels, uce

WIDTH = 12


def network(rng: np.random.Generator, width: int = WIDTH) -> dict:
    """Weights with two cross attentions, in float64, beside others."""

    def attention(outputs, **more):
        kernels = {name: {"kernel": rng.standard_normal((width, outputs))} for name in ("to_k", "to_v", "to_q")}
        return {"attn2": kernels, "attn1": {"to_k": {"kernel": rng.standard_normal((outputs, outputs))}}, **more}

    return {"down": attention(5, norm={"scale": np.ones(5)}), "up": [attention(7)]}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def weights(rng) -> dict:
    return network(rng)


def stacked(weights) -> np.ndarray:
    """The transposes of all edited matrices, side by side."""
    return np.concatenate(list(text_kernels(weights).values()), 1)


def rows(rng, count, width=WIDTH) -> np.ndarray:
    return rng.standard_normal((count, width))


def share(part, whole) -> float:
    return float(np.linalg.norm(part) / np.linalg.norm(whole))


def test_uce_is_the_least_squares_solution(weights, rng):
    """Of the equations of all wishes and of the change, stacked with the roots of their weights; 20 columns of width 12."""
    concepts, targets, kept = rows(rng, 6), rows(rng, 6), rows(rng, 14)
    scales = {"erase_scale": 0.7, "preserve_scale": 1.9, "regulariser": 0.3}
    before = stacked(weights)
    change = stacked(uce(weights, concepts, targets, kept, **scales)) - before
    system = np.concatenate([np.sqrt(0.7) * concepts, np.sqrt(1.9) * kept, np.sqrt(0.3) * np.eye(WIDTH)])
    wanted = np.concatenate([np.sqrt(0.7) * (targets - concepts) @ before, np.zeros((14 + WIDTH, before.shape[1]))])
    np.testing.assert_allclose(change, np.linalg.lstsq(system, wanted, rcond=None)[0], rtol=0, atol=1e-12)


def test_uce_is_the_published_product_of_sums(weights, rng):
    """W = (l W + sum v c' + sum (W k) k') (l I + sum c c' + sum k k')^-1, one column and one matrix at a time."""
    concepts, targets, kept = rows(rng, 4), rows(rng, 4), rows(rng, 3)
    edited = text_kernels(uce(weights, concepts, targets, kept, regulariser=0.2, preserve_scale=0.5))
    for path, kernel in text_kernels(weights).items():
        matrix = kernel.T
        left, right = 0.2 * matrix, 0.2 * np.eye(WIDTH)
        for c, target in zip(concepts, targets, strict=True):
            left, right = left + np.outer(matrix @ target, c), right + np.outer(c, c)
        for k in kept:
            left, right = left + 0.5 * np.outer(matrix @ k, k), right + 0.5 * np.outer(k, k)
        np.testing.assert_allclose(edited[path].T, left @ np.linalg.inv(right), rtol=0, atol=1e-11)


def test_one_column_moves_by_its_share(weights, rng):
    """D = e W (c* - c) c' / (l + e |c|^2)."""
    c, target = rows(rng, 1), rows(rng, 1)
    before = stacked(weights)
    change = stacked(uce(weights, c, target, erase_scale=2.0, regulariser=0.5)) - before
    np.testing.assert_allclose(change, 2 * c.T @ (target - c) @ before / (0.5 + 2 * (c**2).sum()), rtol=0, atol=1e-13)


def test_what_is_left_follows_from_the_spectrum_of_the_columns(weights, rng):
    """Y - D X = sum over eigenvectors u of X'X of Y u u' l / (s + l), the error that the documentation states."""
    concepts, targets, kept = rows(rng, 4), rows(rng, 4), rows(rng, 5)
    before = stacked(weights)
    change = stacked(uce(weights, concepts, targets, kept, regulariser=0.4, preserve_scale=3.0)) - before
    x = np.concatenate([concepts, np.sqrt(3) * kept])
    y = np.concatenate([(targets - concepts) @ before, np.zeros((5, before.shape[1]))])
    sizes, vectors = np.linalg.eigh(x @ x.T)
    np.testing.assert_allclose(y - x @ change, vectors @ np.diag(0.4 / (sizes + 0.4)) @ vectors.T @ y, rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", [uce, rece])
def test_independent_columns_reach_their_targets_and_the_others_stay(method, rng):
    """Within 1e-3, with a regulariser of 1e-4 of the least eigenvalue: 30 erased and 40 preserved columns of width 96."""
    weights = network(rng, 96)
    concepts, targets, kept = rows(rng, 30, 96), rows(rng, 30, 96), rows(rng, 40, 96)
    columns = np.concatenate([concepts, kept])
    least = np.linalg.eigvalsh(columns @ columns.T)[0]
    # the 30 columns that an epoch derives cannot all be independent of 70 others in 96 dimensions
    more = {"epochs": 0} if method is rece else {}
    edited = stacked(method(weights, concepts, targets, kept, regulariser=1e-4 * least, **more))
    before = stacked(weights)
    assert share(concepts @ edited - targets @ before, targets @ before) < 1e-3
    assert share(kept @ (edited - before), kept @ before) < 1e-3
    assert share(concepts @ before - targets @ before, targets @ before) > 1


def test_dependent_columns_stay_as_far_as_their_dependency_says(weights, rng):
    """c = k1 + k2 with k1, k2 preserved: D k1 = D k2 = e v / (2 e + p), so that p / (2 e + p) of the wanted v is left."""
    kept, target = rows(rng, 2), rows(rng, 1)
    c = kept.sum(0, keepdims=True)
    before = stacked(weights)
    edited = stacked(uce(weights, c, target, kept, erase_scale=1.5, preserve_scale=4.0, regulariser=1e-9))
    wanted = (target - c) @ before
    np.testing.assert_allclose(c @ (edited - before), wanted * 3 / 7, rtol=0, atol=1e-6)
    np.testing.assert_allclose(kept @ (edited - before), np.tile(wanted * 1.5 / 7, (2, 1)), rtol=0, atol=1e-6)


def test_what_would_bring_concepts_back_is_a_least_squares_solution(weights, rng):
    edited, concepts = network(np.random.default_rng(1)), rows(rng, 5)
    before, after = stacked(weights), stacked(edited)
    system = np.concatenate([after.T, np.sqrt(0.2) * np.eye(WIDTH)])
    wanted = np.concatenate([before.T @ concepts.T, np.zeros((WIDTH, 5))])
    expected = np.linalg.lstsq(system, wanted, rcond=None)[0].T
    np.testing.assert_allclose(restoring(weights, edited, concepts, closeness=0.2), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(restoring(weights, weights, concepts, closeness=1e-12), concepts, rtol=0, atol=1e-9)


def test_an_epoch_erases_what_would_bring_the_concepts_back(rng):
    weights = network(rng, 32)
    concepts, targets, kept = rows(rng, 2, 32), rows(rng, 2, 32), rows(rng, 6, 32)
    how = {"regulariser": 1e-6, "preserve_scale": 0.8}
    before, first = stacked(weights), uce(weights, concepts, targets, kept, **how)
    derived = restoring(weights, first, concepts, closeness=0.01)
    expected = uce(first, derived, targets, np.concatenate([kept, concepts]), **how)
    found = rece(weights, concepts, targets, kept, epochs=1, closeness=0.01, **how)
    np.testing.assert_allclose(stacked(found), stacked(expected), rtol=0, atol=1e-10)
    # the derived columns have the concepts' outputs before the epoch, and the targets' after it
    wanted = concepts @ before
    assert share(derived @ stacked(first) - wanted, wanted) < 0.05
    for columns, earlier in ((derived, stacked(first)), (concepts, before)):
        assert share(columns @ stacked(found) - targets @ earlier, targets @ earlier) < 1e-3
    plain = uce(weights, concepts, targets, kept, **how)
    np.testing.assert_array_equal(stacked(rece(weights, concepts, targets, kept, epochs=0, **how)), stacked(plain))


def published_speed(matrix, concepts, targets, projection, invariant, regulariser):
    """The solution in the paper's form, with the projection P onto the null space: W (C* - C) C' P Q M."""
    sums = concepts.T @ concepts
    inverse = np.linalg.inv(sums @ projection + regulariser * np.eye(len(sums)))
    middle = np.linalg.inv(invariant @ projection @ inverse @ invariant.T)
    removed = np.eye(len(sums)) - inverse @ invariant.T @ middle @ invariant @ projection
    return matrix @ (targets.T @ concepts - sums) @ projection @ removed @ inverse


def test_speed_is_the_published_solution_and_keeps_its_constraints(weights, rng):
    """Preserved columns of rank 4, two invariant ones: the change takes none of them."""
    concepts, targets, invariant = rows(rng, 3), rows(rng, 3), rows(rng, 2)
    kept = rows(rng, 9)[:, :4] @ rows(rng, 4)
    before = stacked(weights)
    change = stacked(speed(weights, concepts, targets, kept, invariant, threshold=1e-9, regulariser=0.6)) - before
    assert np.abs(kept @ change).max() < 1e-12 and np.abs(invariant @ change).max() < 1e-12
    projection = np.eye(WIDTH) - np.linalg.pinv(kept) @ kept
    expected = published_speed(before.T, concepts, targets, projection, invariant, 0.6)
    np.testing.assert_allclose(change.T, expected, rtol=0, atol=1e-11)


def test_speed_is_the_limit_of_uce_for_heavy_preservation(weights, rng):
    concepts, targets, kept = rows(rng, 3), rows(rng, 3), rows(rng, 5)
    exact = stacked(speed(weights, concepts, targets, kept, threshold=1e-9, regulariser=0.6))
    errors = [
        np.abs(stacked(uce(weights, concepts, targets, kept, preserve_scale=scale, regulariser=0.6)) - exact).max()
        for scale in (1e3, 1e6)
    ]
    assert errors[1] < 2e-3 * errors[0] < 1e-3  # first order in 1 / scale


def test_the_threshold_frees_the_directions_in_which_preserved_columns_are_small(weights, rng):
    """Mean squares 1 and 1e-3 of their norm: from a threshold between them on, the small direction may change."""
    kept, concepts, targets = np.zeros((2, WIDTH)), rows(rng, 2), rows(rng, 2)
    kept[0, 0], kept[1, 1] = 1.0, np.sqrt(1e-3)
    before = stacked(weights)
    moved = {
        threshold: kept @ (stacked(speed(weights, concepts, targets, kept, threshold=threshold)) - before)
        for threshold in (9e-4, 1.1e-3)
    }
    assert np.abs(moved[9e-4]).max() < 1e-14
    assert np.abs(moved[1.1e-3][0]).max() < 1e-14 < np.abs(moved[1.1e-3][1]).max()


@pytest.mark.parametrize("method", [uce, rece, speed])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_edits_of_nothing_leave_all_weights_bit_for_bit(method, dtype, weights, rng):
    weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), weights)
    concepts, kept = rows(rng, 2), rows(rng, 3)
    empty = method(weights, np.empty((0, WIDTH)), np.empty((0, WIDTH)), kept)
    assert all(one is other for one, other in zip(*map(jax.tree.leaves, (empty, weights)), strict=True))
    own = uce if method is rece else method  # an epoch erases what is derived, which is not exactly the concept
    same = [own(weights, concepts, concepts, kept)]
    same += [method(weights, concepts, rows(rng, 2), kept, erase_scale=0.0)] if method is not speed else []
    for edited in same:
        for one, other in zip(*map(jax.tree.leaves, (edited, weights)), strict=True):
            assert one.dtype == other.dtype and np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("method", [uce, rece, speed])
def test_only_keys_and_values_of_texts_change(method, weights, rng):
    weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), weights)
    edited = method(weights, rows(rng, 2), rows(rng, 2), rows(rng, 3))
    found = {jax.tree_util.keystr(path): (old, new) for (path, old), new in
             zip(jax.tree_util.tree_leaves_with_path(weights), jax.tree.leaves(edited), strict=True)}  # fmt: skip
    for path, (old, new) in found.items():
        changed = "attn2" in path and ("to_k" in path or "to_v" in path)
        assert (old is new) != changed and new.dtype == jnp.bfloat16
        assert not changed or (np.asarray(old) != np.asarray(new)).mean() > 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": np.ones((3, WIDTH))}, "`targets` must be one for each of 2 concepts, got 3"),
        ({"concepts": np.ones((2, 5))}, r"`concepts` must have shape \(n, 12\), like the channels of texts, got \(2, 5\)"),
        ({"preserved": np.ones((1, 13))}, r"`preserved` must have shape \(n, 12\), like the channels of texts, got \(1, 13\)"),
        ({"preserved": np.full((1, WIDTH), np.nan)}, "`preserved` must be finite"),
        ({"regulariser": 0.0}, "`regulariser` must be above 0 and finite, got 0.0"),
    ],
)
@pytest.mark.parametrize("method", [uce, rece, speed])
def test_columns_and_numbers_that_do_not_fit_are_errors(method, options, words, weights, rng):
    given = {"concepts": rows(rng, 2), "targets": rows(rng, 2), **options}
    with pytest.raises(InputError, match=words):
        method(weights, **given)


def test_numbers_of_a_method_and_networks_without_texts_are_errors(weights, rng):
    given = {"concepts": rows(rng, 2), "targets": rows(rng, 2)}
    for method, options, words in (
        (uce, {"erase_scale": -1.0}, "`erase_scale` must be at least 0 and finite, got -1.0"),
        (rece, {"preserve_scale": np.inf}, "`preserve_scale` must be at least 0 and finite, got inf"),
        (rece, {"epochs": -1}, "`epochs` must be at least 0, got -1"),
        (rece, {"closeness": 0.0}, "`closeness` must be above 0"),
        (speed, {"threshold": -0.1}, "`threshold` must be above 0"),
        (speed, {"preserved": rows(rng, 20)}, "the 20 preserved columns span all 12 dimensions of a text"),
        (speed, {"preserved": rows(rng, 8), "invariant": rows(rng, 4), "threshold": 1e-9}, "the 12 preserved columns span all"),
    ):
        with pytest.raises(InputError, match=words):
            method(weights, **given, **options)
    with pytest.raises(InputError, match="must be those of a network with cross attention"):
        uce({"conv": {"kernel": np.ones((3, 3))}}, **given)
    with pytest.raises(InputError, match=r"must take the same channels, got \[5, 12\]"):
        uce({"a": weights, "b": network(rng, 5)}, **given)
