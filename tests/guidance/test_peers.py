"""The alternatives to the safe denoiser follow their formulas, and push away from references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import ve, vp_cosine
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, sample

ALWAYS = (0.0, float("inf"))


@jax.jit
def guided(guidance, x, t=0.5, condition=None):
    """The guided posterior mean, as one program."""
    return guidance(x, t, condition)


def itself(x, t, condition):
    """The state as its own posterior mean: what a guidance adds is then seen directly."""
    return x


def repelled(x, points, radius, strength=1.0):
    """SPELL in numpy, one term after the other."""
    moved = np.array(x)
    for i, row in enumerate(x):
        for point in points:
            distance = np.linalg.norm(row - point)
            if 0 < distance < radius:
                moved[i] += strength * (radius / distance - 1) * (row - point)
    return moved


def test_repellency_follows_its_formula(doubles, rng):
    points, x = rng.uniform(-1, 1, (3, 2, 2)), rng.uniform(-2, 2, (8, 2, 2))
    got = guided(guidance.repellency(itself, vp_cosine(), points, radius=1.75, strength=1.5), x)
    wanted = repelled(x.reshape(8, 4), points.reshape(3, 4), 1.75, 1.5).reshape(x.shape)
    assert 3 < (wanted != x).any((1, 2)).sum() < 8  # some are within, some are not
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)


def test_one_reference_sets_what_is_within_on_the_sphere_and_leaves_the_rest_bit_for_bit(doubles, rng):
    point = np.array([0.5, -1.0, 0.25])
    directions = rng.standard_normal((6, 3))
    distances = np.array([1e-3, 0.3, 0.99, 1.01, 2.0, 50.0])
    x = jnp.asarray(point + distances[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    moved = guided(guidance.repellency(itself, vp_cosine(), point[None], radius=1.0, strength=1.0), x)
    np.testing.assert_allclose(np.linalg.norm(moved[:3] - point, axis=1), 1.0, rtol=1e-9)
    np.testing.assert_array_equal(moved[3:], x[3:])


@pytest.mark.parametrize("size", [2, 3072])
def test_repellency_is_bounded_at_a_reference(size, rng):
    """In float32 a small distance to a reference is rounding. Where d² is wrong by no more than the least that it is taken for,
    the push, radius / d times the true distance, is at most sqrt(2) radii."""
    points = rng.uniform(-1, 1, (5, size)).astype(np.float32)
    away = np.append(np.logspace(-8, -2, 400), 0)[:, None] * rng.standard_normal((401, size))
    x, radius = jnp.asarray(points[1] + away, jnp.float32), 0.2 * size**0.5
    moved = guided(guidance.repellency(itself, vp_cosine(), points[1:2], radius=radius, strength=1.0), x)
    others = guided(guidance.repellency(itself, vp_cosine(), points, radius=radius, strength=1.0), x)
    for push in (np.linalg.norm(moved - x, axis=1), np.linalg.norm(others - x, axis=1) * (size > 2)):
        assert push.max() <= 2**0.5 * radius
        assert push[-1] <= 1e-3 * radius


def test_within_a_batch_repellency_follows_its_formula(doubles, rng):
    x, point = rng.standard_normal((7, 3)), rng.uniform(-1, 1, (1, 3))
    got = guided(guidance.repellency(itself, vp_cosine(), point, radius=1.5, strength=1.0, within_batch=True), x)
    wanted = np.stack([repelled(x[i : i + 1], [*np.delete(x, i, 0), *point], 1.5)[0] for i in range(7)])
    assert not np.allclose(wanted, repelled(x, point, 1.5))
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)


def test_two_samples_are_set_at_the_radius_by_half_the_strength(doubles):
    x = jnp.asarray([[0.0, 0.0], [0.6, 0.8]])
    moved = guided(guidance.repellency(itself, vp_cosine(), radius=3.0, strength=0.5, within_batch=True), x)
    np.testing.assert_allclose(moved, [[-0.6, -0.8], [1.2, 1.6]], rtol=1e-12)


def given(x, t, condition):
    """The condition as the posterior mean of any state."""
    return condition


@pytest.mark.parametrize("apart", [1e-4, 1e-9, 1e-15])
def test_means_of_different_samples_are_set_at_the_radius_however_near_they_are(doubles, apart, rng):
    """The push of each is (radius - distance) / 2 along their difference, and far samples stay bit for bit."""
    direction = np.array([0.6, 0.0, 0.8])
    means = np.stack([[0.25, -0.5, 1.0] + apart * direction, [0.25, -0.5, 1.0], [9.0, 9.0, 9.0]])
    between = means[0] - means[1]
    distance = np.linalg.norm(between)
    repel = guidance.repellency(given, vp_cosine(), radius=0.75, strength=0.5, within_batch=True)
    moved = guided(repel, jnp.asarray(rng.standard_normal((3, 3))), 0.5, jnp.asarray(means))
    push = 0.5 * (0.75 / distance - 1) * between
    np.testing.assert_allclose(moved[:2], means[:2] + [push, -push], rtol=1e-12)
    np.testing.assert_array_equal(moved[2], means[2])


def test_equal_means_of_different_samples_stay_and_have_the_slope_of_the_plain_mean(doubles, rng):
    """Their direction is undefined: neither the push nor its derivative may be that of rounding."""
    repel = guidance.repellency(given, vp_cosine(), radius=0.75, strength=1.0, within_batch=True)
    states, means = jnp.asarray(rng.standard_normal((3, 5))), jnp.full((3, 5), 0.1).at[2].add(7.0)
    step = jnp.asarray(rng.standard_normal((3, 5)))
    moved, slope = jax.jvp(lambda means: guided(repel, states, 0.5, means), (means,), (step,))
    np.testing.assert_array_equal(moved, means)
    np.testing.assert_array_equal(slope, step)


@pytest.mark.parametrize("times", [1, 3])
def test_safety_flow_leaves_a_mean_that_is_a_reference_up_to_rounding(times, rng):
    """However often it is repeated: the push, 0.6 / distance, would be that of rounding."""
    point = rng.uniform(0.5, 1, (1, 5)).astype(np.float32)
    flow = guidance.safety_flow(itself, vp_cosine(), np.repeat(point, times, 0), strength=1.0, window=ALWAYS)
    near, away = jnp.nextafter(point, np.float32(2)), jnp.asarray(point) + np.float32(1e-3)
    np.testing.assert_array_equal(guided(flow, near), near)
    assert (np.abs(guided(flow, away) - away) > 1).all()


def test_samples_stay_clear_of_a_reference_at_a_mode(key):
    """The last step of DDIM ends on the posterior mean, moved."""
    process = vp_cosine()
    exact = GaussianMixture(jnp.asarray([[[-1.0, 0.0], [1.0, 0.0]]]), jnp.full((1, 2), 0.3), jnp.zeros((1, 2)), process)
    mode, radius = np.array([[1.0, 0.0]]), 0.5
    drawn = lambda denoise: sample(  # noqa: E731
        denoise, process, shape=(2,), solver=DDIM(20), key=key, condition=jnp.zeros(200, jnp.int32)
    )
    distance = lambda x: np.linalg.norm(x - mode, axis=1)  # noqa: E731
    plain, moved = drawn(exact), drawn(guidance.repellency(exact, process, mode, radius=radius, strength=1.0))
    assert (distance(plain) < radius).mean() > 0.3
    assert distance(moved).min() > radius * (1 - 1e-5)


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("tile", [4, 1000])
def test_the_radius_is_a_quantile_of_the_distances_to_the_nearest_other(quantile, tile, rng):
    images = rng.uniform(-1, 1, (30, 4, 4, 3)).astype(np.float32)
    flat = images.reshape(30, -1)
    nearest = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(flat)[0][:, 1]
    refs = references(images, tile=tile)
    assert guidance.radius_of(refs, quantile) == pytest.approx(np.quantile(nearest, quantile), rel=1e-5)
    default = guidance.repellency(itself, vp_cosine(), refs)
    assert float(default.radius) == pytest.approx(np.median(nearest), rel=1e-5)


def test_the_radius_of_a_large_set_comes_from_neighbours_among_all(rng):
    """Pairs of near copies: whichever of them are chosen, the nearest other is the copy."""
    points = rng.uniform(-0.95, 0.95, (2000, 9))
    images = np.stack([points, points + 0.01], 1).reshape(-1, 9)
    assert guidance.radius_of(references(images)) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("tile", [4, 1000])
def test_repeats_of_an_image_do_not_shrink_the_radius(tile, rng):
    images, times = rng.uniform(-1, 1, (9, 4, 4, 3)).astype(np.float32), [1, 2, 2, 5, 40, 1, 3, 2, 2]
    flat = images.reshape(9, -1)
    nearest = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(flat)[0][:, 1]
    refs = references(np.repeat(images, times, 0), tile=tile)
    assert (refs.count, refs.distinct) == (58, 9)
    for quantile in (0.0, 0.5, 1.0):
        assert guidance.radius_of(refs, quantile) == pytest.approx(np.quantile(np.repeat(nearest, times), quantile), rel=1e-5)
    with pytest.raises(InputError, match="at least 2 different images, got 1; give a `radius`"):
        guidance.radius_of(references(np.repeat(images[:1], 3, 0)))


def discrepancy(z, points, gamma):
    """The squared MMD between the point z and the set, with the kernel's own term of the set left out."""
    return 1.0 - 2 * jnp.exp(-gamma * jnp.square(z - points).sum(1)).mean()


@pytest.mark.parametrize(
    ("count", "times"),
    [
        (1, 1), (3, 4), (9, 1),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 4), (2, 1), (2, 4), (3, 1), (9, 4))),
    ],
)  # fmt: skip
def test_safety_flow_climbs_the_squared_discrepancy(doubles, count, times, rng):
    """The width of the kernel is that of the different points, the discrepancy that from all."""
    different, x = rng.uniform(-1, 1, (count, 5)), rng.standard_normal((4, 5))
    points = np.tile(different, (times, 1))
    got = guided(guidance.safety_flow(itself, vp_cosine(), points, strength=0.5, window=ALWAYS), x)
    for before, after in zip(x, got, strict=True):
        gamma = -np.log(0.05) / np.sort(np.square(before - different).sum(1))[:3].mean()
        slope = jax.grad(discrepancy)(jnp.asarray(before), points, gamma)
        np.testing.assert_allclose(after - before, 0.5 * slope, rtol=1e-9)
        assert discrepancy(after, points, gamma) > discrepancy(before, points, gamma)


def test_safety_flow_moves_away(doubles):
    """From one reference at distance d by -ln(0.05) 0.2 / d; between two, further from both along what they share."""
    move = lambda points, x: guided(guidance.safety_flow(itself, vp_cosine(), points, strength=1.0, window=ALWAYS), x)  # noqa: E731
    x = jnp.asarray([[3.0, 4.0], [0.0, 2.0]])
    moved = move(np.zeros((1, 2)), x)
    np.testing.assert_allclose(
        jnp.linalg.norm(moved, axis=1), jnp.linalg.norm(x, axis=1) - 0.2 * np.log(0.05) / jnp.linalg.norm(x, axis=1)
    )
    points = np.array([[-1.0, 0.0], [1.0, 0.0]])
    moved = move(points, x[1:])
    np.testing.assert_allclose(moved[0, 0], 0.0, atol=1e-12)
    assert moved[0, 1] > 2.0


def test_safety_flow_is_finite_on_a_reference_alone():
    x = jnp.asarray([[0.25, -0.5]])
    flow = guidance.safety_flow(itself, vp_cosine(), x, strength=1.0, window=ALWAYS)
    np.testing.assert_array_equal(guided(flow, x), x)


@pytest.mark.parametrize("process", [vp_cosine(), ve()], ids=lambda p: p.name)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_particle_guidance_adds_the_slope_of_its_potential_to_the_score(doubles, process, count, rng):
    x, t = jnp.asarray(rng.standard_normal((count, 2, 2))), 0.375
    moved = guided(guidance.particle(lambda x, t, c: 0.5 * x, process, strength=2.0, window=ALWAYS), x, t)
    score = lambda x0: process.from_x0("score", x0, x, t)  # noqa: E731
    flat = np.asarray(x).reshape(count, -1)
    between = [np.linalg.norm(flat[i] - flat[j]) for i in range(count) for j in range(i)]
    width = np.median(between) ** 2 / np.log(count)

    def potential(row, i):
        return sum(jnp.exp(-jnp.square(row - flat[j]).sum() / width) for j in range(count) if j != i)

    slopes = np.stack([jax.jit(jax.grad(potential), static_argnums=1)(jnp.asarray(flat[i]), i) for i in range(count)])
    np.testing.assert_allclose((score(moved) - score(0.5 * x)).reshape(count, -1), -2.0 * slopes, rtol=1e-6, atol=1e-9)


def test_particles_spread(rng, key):
    x = jnp.asarray(rng.standard_normal((8, 3)))
    spread = lambda x: float(jnp.linalg.norm(x[:, None] - x, axis=-1).mean())  # noqa: E731
    assert spread(guided(guidance.particle(itself, vp_cosine(), strength=1.0), x)) > spread(x)
    process = vp_cosine()
    exact = GaussianMixture(jnp.zeros((1, 1, 3)), jnp.ones((1, 1)), jnp.zeros((1, 1)), process)
    drawn = lambda denoise: sample(denoise, process, shape=(3,), solver=DDIM(20), key=key, indices=np.arange(8))  # noqa: E731
    unconditional = lambda x, t, c: exact(x, t, jnp.full(len(x), -1))  # noqa: E731
    assert spread(drawn(guidance.particle(unconditional, process, strength=0.5))) > 1.1 * spread(drawn(unconditional))


def test_a_particle_alone_is_left_as_it_is():
    x = jnp.asarray([[0.3, 0.1]])
    np.testing.assert_array_equal(guided(guidance.particle(itself, vp_cosine(), strength=5.0), x), x)
    np.testing.assert_array_equal(guided(guidance.repellency(itself, vp_cosine(), radius=9.0, within_batch=True), x), x)


def classes(process):
    """Three classes of two axes."""
    means = jnp.asarray([[[-1.5, 0.0]], [[1.5, 0.5]], [[0.0, 2.0]]])
    return GaussianMixture(means, jnp.full((3, 1), 0.7), jnp.zeros((3, 1)), process)


def test_negative_guidance_follows_its_formula(rng):
    process, labels = vp_cosine(), jnp.asarray([0, 1])
    exact, x, t = classes(process), jnp.asarray(rng.standard_normal((2, 2)), jnp.float32), jnp.asarray([0.4, 0.6])
    own, unsafe, null = (guided(exact, x, t, jnp.asarray(c)) for c in ([0, 1], [2, 2], [-1, -1]))
    got = lambda labels=labels, **settings: guided(guidance.negative(exact, process, 2, **settings), x, t, labels)  # noqa: E731
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)  # noqa: E731
    close(got(null=-1, scale=1.5), null + 1.5 * (own - unsafe))
    close(got(null=-1, scale=0.0), null)
    close(got(null=-1, scale=3.0, strength=0.5), null + 3 * (own - null) - 0.5 * (unsafe - null))
    np.testing.assert_array_equal(got(null=-1, scale=1.0, strength=0.0), own)
    close(got(jnp.asarray([-1, -1]), scale=1.5), null + 1.5 * (null - unsafe))


def test_negative_guidance_is_a_negative_prompt_and_a_step_from_unsafe_to_null(rng):
    process, labels = vp_cosine(), jnp.asarray([0, 1])
    exact, x = classes(process), jnp.asarray(rng.standard_normal((2, 2)), jnp.float32)
    prompt = guided(guidance.classifier_free(exact, 2, 2.5), x, 0.5, labels)
    step = guided(exact, x, 0.5, jnp.asarray([-1, -1])) - guided(exact, x, 0.5, jnp.asarray([2, 2]))
    moved = guided(guidance.negative(exact, process, 2, null=-1, scale=2.5), x, 0.5, labels)
    np.testing.assert_allclose(moved, prompt + step, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("null", "rows"), [(-1, 3), (None, 2)])
def test_negative_guidance_evaluates_all_its_conditions_in_one_batch(null, rows):
    batches = []

    def seen(x, t, condition):
        batches.append(x.shape[0])
        return x

    away = guidance.negative(seen, vp_cosine(), 2, null=null)
    guided(away, jnp.zeros((4, 2)), 0.5, jnp.zeros(4, jnp.int32))
    assert batches == [4 * rows] and away.multiple(0.5) == rows
