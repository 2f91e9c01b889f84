"""DiffEdit: its mask and its loop by hand on exact denoisers, what it must not change, and its cost."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import editing, guidance, probability_flow
from jaxdiff.denoiser import GaussianMixture, NetworkDenoiser
from jaxdiff.editing import edit, edit_evaluations, edit_mask
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.probability_flow import Path, decode, encode
from jaxdiff.process import ddpm, edm, flow, sub_vp, ve, vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, DPMSolver, Heun, driver
from jaxdiff.solvers.driver import sample_keys, starts

PROCESS, SOLVER, COUNT, SHAPE = vp_cosine(), DDIM(10), 16, (3, 2, 2)
NODES = np.float32(np.linspace(0.8, 0.0, 9))  # of the solver, from 0.8
SOURCE = jnp.arange(COUNT) % 2
TARGET = 1 - SOURCE


def _mixture() -> GaussianMixture:
    """Two classes of two components on images of 3 x 2 pixels; the classes differ mostly in the first row."""
    rng = np.random.default_rng(7)
    means = 0.5 * rng.standard_normal((1, 2, *SHAPE)) + 0.05 * rng.standard_normal((2, 1, *SHAPE))
    means[1, :, 0] += 1.0
    stds = np.array([[0.3, 0.5], [0.4, 0.6]])
    return GaussianMixture(jnp.float32(means.reshape(2, 2, -1)), jnp.float32(stds), jnp.zeros((2, 2)), PROCESS)


MIXTURE = _mixture()


@jax.jit
def exact(x, t, condition):
    """The mixture's posterior mean, as a denoiser of images."""
    return MIXTURE(x.reshape(len(x), -1), t, condition).reshape(x.shape)


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """An image of each source class in turn."""
    return MIXTURE.draw(jax.random.key(3), SOURCE).reshape(COUNT, *SHAPE)


@pytest.fixture(scope="module")
def mask() -> jax.Array:
    """A mask for each image, neither empty nor full."""
    return jnp.asarray(np.arange(COUNT * 6).reshape(COUNT, 3, 2, 1) % 5 < 2)


@pytest.fixture(scope="module")
def path(images) -> Path:
    """The way up of the images under their own condition."""
    return encode(exact, PROCESS, images, solver=SOLVER, condition=SOURCE, strength=0.8, path=True)


@pytest.fixture(scope="module")
def network():
    """An untrained UNet whose output is not zero, clipped as a model's denoiser is."""
    config = UNetConfig(
        size=8, values=(2,), base=16, multipliers=(1,), blocks=1, attention=(), head_channels=16, dropout=0.0
    )  # fmt: skip
    made = jax.jit(partial(unet, config))(jax.random.key(5))
    rng = np.random.default_rng(5)
    weights = jax.tree.map(lambda w: w + 0.05 * rng.standard_normal(w.shape, np.float32), made.weights)
    return guidance.clipped(NetworkDenoiser(type(made)(weights, made.structure), PROCESS, "v"))


def ddim(denoise, x, t, t_next):
    """One step of DDIM, in float64."""
    alpha, sigma, alpha_next, sigma_next = (
        float(rule(time)) for time in np.float32([t, t_next]) for rule in (PROCESS.alpha, PROCESS.sigma)
    )
    x0 = np.asarray(denoise(jnp.float32(x), jnp.full(len(x), t, jnp.float32)), np.float64)
    return alpha_next * x0 + sigma_next * (x - alpha * x0) / sigma


def edited_by_hand(images, mask, up, down):
    """The loop of DiffEdit, with one denoiser for the way up and one for the way down."""
    rising = [float(PROCESS.time(-2 * np.log(0.002))), *NODES[-2::-1]]
    encoded = [float(PROCESS.alpha(rising[0])) * np.asarray(images, np.float64)]
    for t, t_next in zip(rising[:-1], rising[1:], strict=True):
        encoded.append(ddim(up, encoded[-1], t, t_next))
    encoded[0] = images
    y = encoded.pop()
    for t, t_next in zip(NODES[:-1], NODES[1:], strict=True):
        y = ddim(down, y, t, t_next)
        y = mask * y + (1 - mask) * encoded.pop()
    return y


def decoded(denoise, mask, images, path, condition=TARGET, solver=SOLVER):
    """The masked way down."""
    guided = guidance.masked(denoise, PROCESS, mask, images, path)
    return np.asarray(decode(guided, PROCESS, path.states[-1], solver=solver, condition=condition, strength=0.8))


ARRANGED = {
    "plain": (exact, TARGET, lambda x, t: exact(x, t, TARGET)),
    "switching": (
        guidance.switching(exact, 0.4),
        (SOURCE, TARGET),
        lambda x, t: exact(x, t, TARGET if t[0] <= np.float32(0.4) else SOURCE),
    ),
    "classifier_free": (
        guidance.classifier_free(exact, -1, 2.5),
        TARGET,
        lambda x, t: 2.5 * exact(x, t, TARGET) - 1.5 * exact(x, t, -jnp.ones_like(TARGET)),
    ),
}


@pytest.mark.parametrize("inside", ARRANGED)
def test_masked_decoding_is_the_loop_of_diffedit(inside, images, mask, path):
    denoise, condition, down = ARRANGED[inside]
    found = decoded(denoise, mask, images, path, condition)
    truth = edited_by_hand(images, np.asarray(mask), lambda x, t: exact(x, t, SOURCE), down)
    np.testing.assert_allclose(found, truth, atol=2e-5)
    inside, outside = np.broadcast_to(mask, images.shape), ~np.broadcast_to(mask, images.shape)
    assert np.abs(found - images)[inside].mean() > 0.05
    np.testing.assert_array_equal(found[outside], np.asarray(images)[outside])


@pytest.mark.parametrize(
    ("process", "solver"),
    [
        (vp_linear(), DDIM(5)),
        (edm(), DDIM(5)),
        (PROCESS, Heun(5)),
        *(pytest.param(process(), DDIM(5), marks=pytest.mark.slow) for process in (ve, sub_vp, flow)),
        pytest.param(PROCESS, DPMSolver(5), marks=pytest.mark.slow),
    ],
    ids=lambda each: each.name,
)
def test_unmasked_pixels_end_as_they_began_bit_for_bit(process, solver, mask, rng):
    """Whatever the path, and by any solver, even on other nodes."""
    draw = lambda *shape: jnp.float32(rng.uniform(-1, 1, shape))  # noqa: E731
    images, states = draw(COUNT, *SHAPE), draw(4, COUNT, *SHAPE)
    path = Path(jnp.broadcast_to(jnp.float32([0.01, 0.2, 0.5, 0.7])[:, None], (4, COUNT)), states)
    guided = guidance.masked(lambda x, t, condition: 0.3 * x[:, ::-1], process, mask, images, path)
    found = np.asarray(decode(guided, process, states[-1], solver=solver, strength=0.7))
    outside = ~np.broadcast_to(mask, images.shape)
    np.testing.assert_array_equal(found[outside], np.asarray(images)[outside])
    assert not (found == images)[~outside].any()


@pytest.mark.parametrize("denoiser", ["mixture", "network"])
def test_an_empty_mask_is_the_identity_and_a_full_one_the_plain_translation(denoiser, images, path, network, key):
    denoise = {"mixture": exact, "network": network}[denoiser]
    if denoiser == "network":
        states = jax.random.uniform(key, (len(path.times), COUNT, 8, 8, 3), minval=-1)
        path, images = Path(path.times, states), states[0]
    full = jnp.ones((*images.shape[:-1], 1), bool)
    np.testing.assert_array_equal(decoded(denoise, ~full, images, path), images)
    translated = decode(denoise, PROCESS, path.states[-1], solver=SOLVER, condition=TARGET, strength=0.8)
    np.testing.assert_array_equal(decoded(denoise, full, images, path), translated)
    assert np.abs(translated - images).max() > 0.1


def test_the_path_is_exact_at_its_nodes_and_continues_as_ddim_between_and_beyond_them(images, path):
    """DDIM keeps x = alpha m + sigma e, with m and e of one step: two states determine both, and so the third."""
    upper = jnp.broadcast_to(jnp.arange(3)[:, None, None] == 0, (COUNT, 3, 2, 1))
    turned = lambda x, t, condition: x[:, ::-1]  # noqa: E731
    run = jax.jit(lambda guided, t: guided(jnp.zeros_like(images), t, None)[:, 0])

    def seen_of_last_row(path, t):
        return run(guidance.masked(turned, PROCESS, upper, images, path), t)

    for times, states in zip(path.times[1:], path.states[1:], strict=True):
        np.testing.assert_array_equal(seen_of_last_row(path, times), states[:, -1])
    for low, t in ((0, 0.05), (3, 0.33), (7, 0.7999), (0, 0.002), (7, 0.9)):
        ends = [float(path.times[low + end, 0]) for end in (0, 1)]
        mixed = np.array([[float(PROCESS.alpha(end)), float(PROCESS.sigma(end))] for end in ends])
        m, e = np.tensordot(np.linalg.inv(mixed), np.asarray(path.states[low : low + 2, :, -1], np.float64), 1)
        truth = float(PROCESS.alpha(t)) * m + float(PROCESS.sigma(t)) * e
        np.testing.assert_allclose(seen_of_last_row(path, jnp.full(COUNT, t)), truth, atol=2e-5)

    # the spacing log_snr ends where the path begins: its first step has no length
    doubled = Path(path.times.at[0].set(path.times[1]), path.states)
    np.testing.assert_array_equal(seen_of_last_row(doubled, path.times[1]), path.states[1, :, -1])


def test_the_mask_is_where_the_two_noises_differ_most_in_each_image(images, key):
    """By the paper's formula in float64, from the noised images that the denoiser was shown."""
    seen = []

    def watched(x, t, condition):
        jax.debug.callback(lambda *shown: seen.append([np.asarray(each) for each in shown]), x, t, condition)
        return exact(x, t, condition)

    found = edit_mask(watched, PROCESS, images, SOURCE, TARGET, key=key, draws=3, at=0.6, clamp=2.5, threshold=0.4)
    jax.effects_barrier()
    alpha, sigma = float(PROCESS.alpha(0.6)), float(PROCESS.sigma(0.6))
    noised = np.unique([x for x, *_ in seen], axis=0)
    assert noised.shape == (3, *images.shape)
    assert {float(t[0]) for _, t, _ in seen} == {float(np.float32(0.6))}
    assert {tuple(condition) for *_, condition in seen} == {tuple(SOURCE.tolist()), tuple(TARGET.tolist())}

    def noise(z, condition):
        return (z - alpha * np.asarray(exact(jnp.asarray(z), jnp.full(COUNT, 0.6), condition), np.float64)) / sigma

    distance = np.mean([np.abs(noise(z, TARGET) - noise(z, SOURCE)).mean(-1, keepdims=True) for z in noised], axis=0)
    top = 2.5 * distance.mean((1, 2, 3), keepdims=True)
    np.testing.assert_array_equal(found, np.clip(distance, 0, top) / top > 0.4)
    assert found[:, 0].all() and not found.all((1, 2, 3)).any()

    # standard normal, and none of the noises that a sample of the same key began with
    drawn = (noised - alpha * images) / sigma
    assert abs(drawn.mean()) < 4 / drawn.size**0.5 and abs(drawn.var() - 1) < 4 * (2 / drawn.size) ** 0.5
    first = np.asarray(starts(PROCESS, sample_keys(key, jnp.arange(COUNT)), SHAPE, None)[0])
    everything = np.concatenate([drawn.reshape(3 * COUNT, -1), first.reshape(COUNT, -1)])
    assert np.abs(everything[:, None] - everything).max(-1)[~np.eye(4 * COUNT, dtype=bool)].min() > 0.1


def test_more_draws_settle_the_mask_on_its_mean_over_noise(key):
    """x0 differs by the noised value itself, of mean |z| known: sqrt(2/pi) sigma at 0, above that where the image is bright."""
    denoise = lambda x, t, condition: x * condition[:, None, None, None]  # noqa: E731
    row = jnp.float32([0.0, 0.0, 0.0, 3.0])
    images = jnp.broadcast_to(row[:, None], (2, 8, 4, 1))
    found = edit_mask(denoise, PROCESS, images, jnp.zeros(2), jnp.ones(2), key=key, draws=200)
    np.testing.assert_array_equal(found, jnp.broadcast_to(row[:, None] > 0, (2, 8, 4, 1)))


def test_equal_conditions_leave_an_image_alone(images, network, key):
    """Of the network too, where rounding might make two rows of one batch differ."""
    mixed = SOURCE.at[0].set(TARGET[0])
    found = edit(exact, PROCESS, images, source=SOURCE, target=mixed, solver=SOLVER, key=key)
    assert found.masks[0].any() and not found.masks[1:].any()
    np.testing.assert_array_equal(found.images[1:], images[1:])
    assert np.isfinite(found.images).all()
    noise = jax.random.uniform(key, (COUNT, 8, 8, 3), minval=-1)
    assert not edit_mask(network, PROCESS, noise, SOURCE, SOURCE, key=key, draws=2).any()


@pytest.mark.parametrize(("clamp", "threshold"), [(3.0, 0.5), (1.2, 0.5), (2.0, 0.75), (0.1, 0.0)])
def test_the_mask_of_known_differences_is_that_of_the_formula(clamp, threshold, key, rng):
    """One image has no differences at all, another has them all alike."""
    differences = np.float32(rng.uniform(-1, 1, (COUNT, *SHAPE)) * np.arange(COUNT)[:, None, None, None])
    differences[1] = 0.5

    def denoise(x, t, condition):
        return 0.1 + condition["amount"][:, None, None, None] * jnp.asarray(differences)

    source, target = ({"amount": amount * jnp.ones(COUNT)} for amount in (0, 1))
    images = jnp.asarray(differences)
    run = {"key": key, "draws": 2, "clamp": clamp, "threshold": threshold}
    found = edit_mask(denoise, PROCESS, images, source, target, **run)
    distance = np.abs(differences).mean(-1, keepdims=True)
    top = np.maximum(clamp * distance.mean((1, 2, 3), keepdims=True), 1e-30)
    np.testing.assert_array_equal(found, np.clip(distance, 0, top) / top > threshold)
    assert not found[0].any() and found.any()


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "switching"])
def test_an_edit_is_a_function_of_its_own_image_and_index(guided, images, key):
    """With a tau for each sample: the mask's doubled batch must not meet it."""
    taus = jnp.float32(np.linspace(0.2, 0.7, COUNT))

    def run(images, rows):
        denoise = guidance.switching(exact, taus[rows]) if guided else exact
        source, target = ((SOURCE, SOURCE), (SOURCE, TARGET)) if guided else (SOURCE, TARGET)
        source, target = jax.tree.map(lambda leaf: leaf[rows], (source, target))
        run = {"source": source, "target": target, "solver": SOLVER, "key": key, "at": 0.3, "indices": rows}
        return edit(denoise, PROCESS, images, **run)

    rows = np.roll(np.arange(COUNT), 3)
    own = slice(2, 6)
    whole = run(images, np.arange(COUNT))
    among_others = run((3 * images[rows]).at[own].set(images[rows[own]]), rows)
    np.testing.assert_array_equal(among_others.masks[own], whole.masks[rows[own]])
    np.testing.assert_allclose(among_others.images[own], whole.images[rows[own]], atol=1e-5)
    assert whole.masks[rows[own]].any()


def test_what_is_outside_stays_where_the_solver_ends_at_a_timestep(images, key):
    """As Stable Diffusion's: the last step ends on a state with noise, which is taken for the image."""
    process = ddpm("scaled_linear")
    place = jnp.zeros((1, *SHAPE)).at[:, 0].set(1.0)
    denoise = lambda x, t, condition: 0.5 * x + place * condition[:, None, None, None]  # noqa: E731
    solver = DDIM(5, spacing="leading", offset=1, end="timestep")
    found = edit(denoise, process, images, source=SOURCE, target=TARGET, solver=solver, key=key)
    np.testing.assert_array_equal(
        np.asarray(found.masks)[..., 0], np.broadcast_to(np.asarray(place)[..., 0] > 0, (COUNT, *SHAPE[:2]))
    )
    np.testing.assert_array_equal(np.asarray(found.images)[:, 1:], np.asarray(images)[:, 1:])
    assert (np.asarray(found.images)[:, 0] != np.asarray(images)[:, 0]).all()


def test_the_whole_edit_moves_images_into_the_target_class(images, key):
    """The classes differ by 1 in the first row; what the mask leaves out is untouched."""
    found = edit(exact, PROCESS, images, source=SOURCE, target=TARGET, solver=SOLVER, key=key)
    moved = np.asarray((found.images - images)[:, 0]).mean((1, 2)) * np.where(SOURCE == 0, 1, -1)
    assert (moved > 0.3).all()
    outside = ~np.broadcast_to(found.masks, images.shape)
    np.testing.assert_array_equal(np.asarray(found.images)[outside], np.asarray(images)[outside])
    assert found.masks[:, 0].mean() > 0.9 and found.masks[:, 1:].mean() < 0.1


@pytest.mark.parametrize(
    ("solver", "strength", "draws", "steps"),
    [
        (DDIM(7, spacing="log_snr"), 0.8, 3, 5 + 5),
        (Heun(5, spacing="uniform"), 0.6, 2, 6 + 5),
    ],
)
def test_an_edit_costs_the_reported_evaluations(solver, strength, draws, steps, images, key):
    calls = []

    def counted(x, t, condition):
        jax.debug.callback(lambda _: calls.append(1), condition)
        return 0.5 * x + condition[:, None, None, None]

    run = {"solver": solver, "strength": strength, "draws": draws}
    jax.block_until_ready(edit(counted, PROCESS, images, source=SOURCE, target=TARGET, key=key, **run))
    jax.effects_barrier()
    assert len(calls) == edit_evaluations(PROCESS, **run) == 2 * draws + steps


def test_another_edit_compiles_nothing(images, key):
    def run(images, scale, seed, source, target, at, clamp):
        guided = guidance.classifier_free(exact, -1, scale)
        run = {"solver": SOLVER, "key": jax.random.key(seed), "draws": 2, "at": at, "clamp": clamp}
        return edit(guided, PROCESS, images, source=source, target=target, **run)

    programs = lambda: [  # noqa: E731
        function._cache_size() for function in (editing._edit_mask, probability_flow._encode, driver._sample)
    ]
    first = run(images, 1.0, 0, SOURCE, TARGET, 0.5, 3.0)
    before = programs()
    others = [
        run(images + 0.1, 1.0, 0, SOURCE, TARGET, 0.5, 3.0),
        run(images, 2.0, 0, SOURCE, TARGET, 0.5, 3.0),
        run(images, 1.0, 1, SOURCE, TARGET, 0.7, 0.5),
        run(images, 1.0, 0, TARGET, SOURCE, 0.5, 3.0),
    ]
    assert programs() == before
    assert all(not np.array_equal(first.images, other.images) for other in others)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"draws": 0}, "`draws`.*1.*0"),
        ({"at": 0.0}, r"`at`.*\(0, 1\].*0.0"),
        ({"at": 1.1}, "`at`.*1.1"),
        ({"clamp": 0.0}, "`clamp`.*above 0.*0.0"),
        ({"threshold": 1.0}, "`threshold`.*1.0"),
        ({"strength": 0.0}, "`strength`.*0.0"),
        ({"strength": 1.5}, "`strength`.*1.5"),
        ({"solver": DDIM(4, eta=1.0)}, "`solver`.*eta 0"),
        ({"source": jnp.zeros(3, jnp.int32)}, "`source`.*16.*3"),
        ({"target": jnp.zeros(3, jnp.int32)}, "`target`.*16.*3"),
        ({"target": jnp.zeros((16, 2))}, "`source` and `target`.*same structure"),
        ({"source": None, "target": None}, "`source` and `target`.*same structure"),
        ({"indices": [0, 1]}, "`indices`.*16.*2"),
        ({"images": jnp.zeros((16, 3))}, "`images`.*pixels and channels.*16, 3"),
    ],
)
def test_impossible_edits_are_refused_before_anything_is_computed(changed, message, images):
    def never(x, t, condition):
        raise AssertionError("computed")

    given = {"source": SOURCE, "target": TARGET, "solver": SOLVER, "key": jax.random.key(0), "images": images} | changed
    with pytest.raises(InputError, match=message):
        edit(never, PROCESS, **given)


@pytest.mark.parametrize(
    ("mask", "path", "message"),
    [
        (jnp.ones((16, 3, 2), bool), None, "`mask`.*16, 3, 2, 2.*got shape.*16, 3, 2"),
        (jnp.ones((1, 3, 2, 1), bool), None, "`mask`.*one for each sample.*1, 3, 2, 1"),
        (jnp.ones((16, 2, 2, 1), bool), None, "`mask`.*16, 2, 2, 1"),
        (None, Path(jnp.zeros((1, 16)), jnp.zeros((1, 16, 3, 2, 2))), "`path`.*two states"),
        (None, Path(jnp.zeros((2, 16)), jnp.zeros((2, 16, 3, 2, 1))), "`path`.*16, 3, 2, 2.*16, 3, 2, 1"),
    ],
)
def test_a_mask_or_a_path_of_another_shape_is_refused(mask, path, message, images):
    mask = jnp.ones((16, 3, 2, 1), bool) if mask is None else mask
    path = Path(jnp.zeros((2, 16)), jnp.zeros((2, 16, 3, 2, 2))) if path is None else path
    with pytest.raises(InputError, match=message):
        guidance.masked(exact, PROCESS, mask, images, path)
