"""Semantic guidance and score mixing follow their formulas; the assignment of Fair Diffusion is exactly balanced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.metrics import pairwise_distances

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, Stateful, as_denoiser, evaluate, initial_memory
from jaxdiff.errors import InputError
from jaxdiff.fairness.assignment import assign
from jaxdiff.guidance.reweighting import mixture_weights
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, Heun, sample

SHAPE = (4, 4, 3)
TABLE = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)  # row 4 is the null condition's
PROCESS = vp_cosine()


def denoise(x, t, condition):
    """A posterior mean that depends on everything: of a Gaussian around the condition's image, bent a little."""
    return 0.7 * jnp.asarray(TABLE)[condition] + 0.3 * jnp.tanh(x) * jnp.asarray(TABLE)[(condition + 1) % 5]


def numbers(process, t):
    return float(process.alpha(t)), float(process.sigma(t))


def sega_by_hand(x, nodes, prompt, concepts, *, strengths, scale, threshold, start, stop, momentum, decay):
    """SEGA in eps, image by image and channel by channel, with DDIM: written from the formulas."""
    nu = np.zeros_like(x)
    for t, t_next in zip(nodes[:-1], nodes[1:], strict=True):
        (alpha, sigma), (alpha_next, sigma_next) = numbers(PROCESS, t), numbers(PROCESS, t_next)

        def eps(label, x=x, t=t, alpha=alpha, sigma=sigma):
            return (x - alpha * np.asarray(denoise(jnp.asarray(x), t, np.full(len(x), label)))) / sigma

        null, total = eps(4), np.zeros_like(x)
        if t > stop:
            for strength, concept in zip(strengths, concepts, strict=True):
                psi = strength * (eps(concept) - null)
                for image in psi:
                    for channel in range(3):
                        size = np.abs(image[..., channel])
                        image[..., channel][size < np.quantile(size, threshold)] = 0
                total += psi
        total = total + momentum * nu
        nu = decay * nu + (1 - decay) * total
        guided = null + scale * (eps(prompt) - null) + (total if t <= start else 0)
        x = alpha_next * (x - sigma * guided) / alpha + sigma_next * guided
    return x


SETTINGS = {
    "plain": {"strengths": [2.0], "threshold": 0.0, "start": 1.0, "stop": 0.0, "momentum": 0.0, "decay": 0.0},
    "windowed": {"strengths": [2.0, -1.0], "threshold": 0.6, "start": 0.8, "stop": 0.2, "momentum": 0.5, "decay": 0.6},
}


@pytest.mark.optimized
@pytest.mark.parametrize("name", SETTINGS)
def test_semantic_guidance_is_its_formula_in_eps(name, key):
    options = SETTINGS[name]
    count, scale, concepts = 3, 1.5, (1, 2)[: len(options["strengths"])]
    rows = lambda label: jnp.full(count, label)  # noqa: E731
    renamed = {**options, "momentum_decay": options["decay"]}
    del renamed["decay"]
    guided = guidance.semantic(denoise, PROCESS, jnp.asarray(4), scale=scale, **renamed)
    condition = (rows(0), tuple(rows(concept) for concept in concepts))
    path = np.asarray(
        sample(guided, PROCESS, shape=SHAPE, solver=DDIM(10), key=key, condition=condition, path=True), np.float64
    )
    # tenths are nodes of ten steps, so that no node moves
    by_hand = sega_by_hand(path[0], np.linspace(1, 0, 11), 0, concepts, scale=scale, **options)
    np.testing.assert_allclose(path[-1], by_hand, atol=2e-3 * np.abs(by_hand).max())


@pytest.mark.optimized
def test_semantic_guidance_without_strength_is_classifier_free_guidance_bit_for_bit(key):
    common = {"shape": SHAPE, "solver": DDIM(5), "key": key}
    prompt, concepts = jnp.zeros(2, int), (jnp.ones(2, int),)
    semantic = guidance.semantic(denoise, PROCESS, jnp.asarray(4), strengths=jnp.zeros(1), scale=2.0, start=1.0)
    plain = guidance.classifier_free(denoise, jnp.asarray(4), 2.0)
    np.testing.assert_array_equal(
        sample(semantic, PROCESS, condition=(prompt, concepts), **common), sample(plain, PROCESS, condition=prompt, **common)
    )


def test_signs_are_the_strengths_of_each_sample(key):
    """A batch with signs draws what a run for each sample draws with its own strengths; without a sign, plain guidance."""
    signs, strengths = np.array([[1.0, -0.5], [0.0, 0.0], [-1.0, 2.0]], np.float32), np.array([2.0, 3.0], np.float32)
    common = {"scale": 2.0, "start": 0.8, "stop": 0.2}
    given = {"shape": SHAPE, "solver": DDIM(5), "key": key}
    concepts = lambda count: tuple(jnp.full(count, concept) for concept in (1, 2))  # noqa: E731
    guided = guidance.semantic(denoise, PROCESS, jnp.asarray(4), strengths=strengths, **common)
    drawn = sample(guided, PROCESS, condition=(jnp.zeros(3, int), concepts(3), signs), **given)
    for row in range(3):
        own = guidance.semantic(denoise, PROCESS, jnp.asarray(4), strengths=strengths * signs[row], **common)
        alone = sample(own, PROCESS, condition=(jnp.zeros(1, int), concepts(1)), indices=np.array([row]), **given)
        np.testing.assert_allclose(drawn[row], alone[0], atol=1e-5)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1


def test_a_condition_may_have_its_own_scale(key):
    """Each sample is that of a run with its scale, also where another guidance stacks conditions around."""
    inner = lambda x, t, condition: denoise(x, t, condition["label"])  # noqa: E731
    null = {"label": jnp.asarray(4), "guidance": jnp.asarray(1.0)}
    scales, given = np.array([1.0, 2.0, 5.0], np.float32), {"shape": SHAPE, "solver": DDIM(5), "key": key}

    def around(null, scale, projected):
        if projected:
            return guidance.adaptive_projected(inner, null, scale, radius=np.inf)
        return guidance.score_mixing(guidance.classifier_free(inner, null, scale), shares=[0.5, 0.5], reference=[0.2, 0.8])

    for projected in (False, True):
        rows = [{"label": jnp.full(3, label), "guidance": scales} for label in (0, 1, 2)]
        condition = rows[0] if projected else (rows[0], tuple(rows[1:]))
        drawn = sample(around(null, 7.0, projected), PROCESS, condition=condition, **given)
        for row, scale in enumerate(scales):
            own = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], condition)
            own = jax.tree.map(lambda each: {"label": each["label"]}, own, is_leaf=lambda each: isinstance(each, dict))
            there = sample(
                around({"label": jnp.asarray(4)}, scale, projected), PROCESS, condition=own, indices=np.array([row]), **given
            )  # fmt: skip
            np.testing.assert_allclose(drawn[row], there[0], atol=1e-5)


def test_a_stronger_concept_moves_samples_further_towards_it(key):
    condition = (jnp.full(8, 4), (jnp.ones(8, int),))
    far = [
        float(
            jnp.abs(
                sample(
                    guidance.semantic(denoise, PROCESS, jnp.asarray(4), strengths=jnp.asarray([s]), threshold=0.0, start=1.0),
                    PROCESS, shape=SHAPE, solver=DDIM(8), key=key, condition=condition,
                ) - TABLE[1]
            ).mean()
        )
        for s in (-0.5, 0.0, 0.5, 1.0)
    ]  # fmt: skip
    assert far == sorted(far, reverse=True)


@jax.tree_util.register_dataclass
class _Counting(Stateful):
    """Adds up how often each sample is remembered, and shows it."""

    def begin(self, x):
        """None yet."""
        return jnp.zeros(len(x))

    def guide(self, denoise, x, t, condition, memory):
        """The count instead of a posterior mean."""
        return denoise(x, t, condition) * 0 + memory[:, None, None, None] + 1, memory + 1


@pytest.mark.parametrize("solver", [DDIM(6), Heun(6)])
def test_memory_is_carried_from_step_to_step_in_any_nest(solver, key):
    """A count of steps ends as the number of steps, inside guidances that ask twice and that switch."""
    counting = _Counting(as_denoiser(denoise))
    nested = guidance.clipped(guidance.switching(guidance.classifier_free(counting, jnp.asarray(4), 1.0), 0.5), -100.0, 100.0)
    condition = (jnp.zeros(2, int), jnp.ones(2, int))
    drawn = sample(nested, PROCESS, shape=SHAPE, solver=solver, key=key, condition=condition)
    # the last step ends at its posterior mean, which is the count
    np.testing.assert_array_equal(drawn, np.full((2, *SHAPE), 6.0))


def test_memories_have_the_batches_of_the_inner_states():
    nested = guidance.classifier_free(_Counting(as_denoiser(denoise)), jnp.asarray(4), 2.0)
    memory = initial_memory(nested, jnp.zeros((3, *SHAPE)))
    assert [leaf.shape for leaf in jax.tree.leaves(memory)] == [(6,)]
    _, after = evaluate(nested, jnp.zeros((3, *SHAPE)), 0.5, jnp.zeros(3, int), memory)
    np.testing.assert_array_equal(after.children[0].own, np.ones(6))


SHARES = np.array([0.5, 0.3, 0.2])


class Skewed:
    """A mixture of three classes in skewed shares; condition -1 is the whole of it."""

    def __init__(self):
        means = np.random.default_rng(1).normal(size=(3, 2, 6)) * 1.5
        self.means, self.stds = jnp.asarray(means, jnp.float32), jnp.full((3, 2), 0.4)
        self.inside = GaussianMixture(self.means, self.stds, jnp.zeros((3, 2)), PROCESS)
        # all components in one class, so that their weights are the shares
        weights = jnp.log(jnp.repeat(jnp.asarray(SHARES, jnp.float32), 2))
        self.whole = GaussianMixture(self.means.reshape(1, 6, 6), self.stds.reshape(1, 6), weights[None], PROCESS)

    def __call__(self, x, t, condition):
        """The exact posterior mean."""
        marginal = self.whole(x, t, jnp.zeros(len(x), int))
        return jnp.where((condition < 0)[:, None], marginal, self.inside(x, t, jnp.maximum(condition, 0)))

    def posterior(self, x, t):
        """p(class | x_t), from densities."""
        alpha, sigma = numbers(PROCESS, t)
        spread = alpha**2 * 0.4**2 + sigma**2
        squares = pairwise_distances(np.asarray(x, np.float64), alpha * np.asarray(self.means.reshape(6, 6))) ** 2
        log = np.log(np.repeat(SHARES / 2, 2)) - squares / (2 * spread)
        weight = np.exp(log - log.max(1, keepdims=True)).reshape(-1, 3, 2).sum(-1)
        return weight / weight.sum(1, keepdims=True)


@pytest.mark.parametrize("t", [0.4, 0.7, 0.9])
def test_least_squares_on_exact_means_finds_the_posterior_of_the_values(t, key):
    skewed = Skewed()
    x = jax.random.normal(key, (64, 6))
    means = jnp.stack([skewed(x, t, jnp.full(64, value)) for value in range(3)])
    found = mixture_weights(skewed(x, t, jnp.full(64, -1)), means, jnp.asarray(SHARES, jnp.float32))
    np.testing.assert_allclose(found, skewed.posterior(x, t), atol=0.02)


def test_the_weights_are_those_of_non_negative_least_squares(key):
    """Against scipy, the sum to one as a heavy row."""
    first, second = jax.random.split(key)
    means, marginal = jax.random.normal(first, (4, 10, 7)), jax.random.normal(second, (10, 7))
    found = np.asarray(mixture_weights(marginal, means, jnp.full(4, 0.25)))
    for row in range(10):
        matrix = np.vstack([np.asarray(means[:, row], np.float64).T, 1e4 * np.ones(4)])
        expected, _ = nnls(matrix, np.append(np.asarray(marginal[row], np.float64), 1e4))
        np.testing.assert_allclose(found[row], expected, atol=5e-3)


def test_weights_are_the_shares_where_the_means_agree():
    means = jnp.broadcast_to(jnp.arange(3.0), (3, 2, 3))
    np.testing.assert_allclose(mixture_weights(means[0], means, jnp.asarray(SHARES, jnp.float32)), [SHARES] * 2, atol=1e-6)


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(SHARES, marks=pytest.mark.slow),  # as the marginal, below
        pytest.param([1 / 3, 1 / 3, 1 / 3], marks=pytest.mark.slow),
        [0.1, 0.0, 0.9],
    ],
)
def test_score_mixing_samples_the_values_in_the_shares_of_the_reference(reference, key):
    """4,000 samples: each share within four standard errors and the solver's bias of one point."""
    count, skewed = 4_000, Skewed()
    guided = guidance.score_mixing(skewed, shares=SHARES, reference=reference)
    rows = lambda value: jnp.full(count, value)  # noqa: E731
    condition = (rows(-1), tuple(rows(value) for value in range(3)))
    drawn = sample(guided, PROCESS, shape=(6,), solver=DDIM(20), key=key, condition=condition)
    nearest = pairwise_distances(np.asarray(drawn), np.asarray(skewed.means).reshape(6, 6)).argmin(1) // 2
    found = np.bincount(nearest, minlength=3) / count
    # the components overlap a little: what exact draws of the reference mixture give
    index = np.repeat(np.arange(3), np.round(np.asarray(reference) * count).astype(int))
    exact = skewed.inside.draw(jax.random.key(5), jnp.asarray(index))
    expected = np.bincount(
        pairwise_distances(np.asarray(exact), np.asarray(skewed.means).reshape(6, 6)).argmin(1) // 2, minlength=3
    ) / len(index)
    np.testing.assert_allclose(found, expected, atol=0.01 + 4 * 0.5 / np.sqrt(count))


def test_score_mixing_in_the_shares_of_the_data_is_the_marginal(key):
    skewed = Skewed()
    x, rows = jax.random.normal(key, (32, 6)), lambda value: jnp.full(32, value)
    guided = guidance.score_mixing(skewed, shares=SHARES, reference=SHARES)
    mean = guided(x, 0.6, (rows(-1), tuple(rows(value) for value in range(3))))
    np.testing.assert_allclose(mean, skewed(x, 0.6, rows(-1)), atol=5e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: guidance.semantic(denoise, PROCESS, 4, strengths=jnp.ones(1), threshold=1.0), "`threshold`"),
        (lambda: guidance.semantic(denoise, PROCESS, 4, strengths=jnp.ones(1), momentum_decay=-0.1), "`momentum_decay`"),
        (lambda: guidance.semantic(denoise, PROCESS, 4, strengths=jnp.ones(1), momentum=-1.0), "`momentum`"),
        (lambda: guidance.semantic(denoise, PROCESS, 4, strengths=jnp.ones(1), start=0.2, stop=0.4), "`start` and `stop`"),
        (lambda: guidance.semantic(denoise, PROCESS, 4, strengths=jnp.ones((2, 2))), "`strengths`"),
        (lambda: guidance.semantic(denoise, PROCESS, 4, strengths=jnp.ones(0)), "`strengths`"),
        (lambda: guidance.score_mixing(denoise, shares=[0.5, 0.6], reference=[0.5, 0.5]), "`shares`"),
        (lambda: guidance.score_mixing(denoise, shares=[1.0, 0.0], reference=[0.5, 0.5]), "`shares`"),
        (lambda: guidance.score_mixing(denoise, shares=[0.5, 0.5], reference=[0.2, 0.2, 0.6]), "`reference`"),
        (lambda: assign(10, [0.5, 0.6], seed=0), "`target`"),
        (lambda: assign(0, [0.5, 0.5], seed=0), "`count`"),
        (lambda: assign(3, [0.5, 0.5], seed=0, mode="even"), "`mode`"),
    ],
)
def test_arguments_out_of_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 500), st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(any), st.integers(0, 99))
def test_a_balanced_assignment_is_within_one_image_of_every_share(count, weights, seed):
    target = np.array(weights) / np.sum(weights)
    drawn = assign(count, target, seed=seed)
    assert len(drawn) == count
    assert np.abs(np.bincount(drawn, minlength=len(target)) - count * target).max() < 1
    np.testing.assert_array_equal(drawn, assign(count, target, seed=seed))


def test_assignments_are_shuffled_and_independent_draws_are_binomial():
    balanced = assign(1000, [0.5, 0.5], seed=3)
    assert np.bincount(balanced).tolist() == [500, 500]
    assert 400 < (np.diff(balanced) != 0).sum() < 600
    counts = [np.bincount(assign(100, [0.3, 0.7], seed=seed, mode="iid"), minlength=2)[0] for seed in range(400)]
    assert np.mean(counts) == pytest.approx(30, abs=4 * np.sqrt(21 / 400))
    assert np.var(counts) == pytest.approx(21, rel=4 * np.sqrt(2 / 400))
