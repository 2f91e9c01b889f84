"""Unsafe images of a text-to-image model: encoded once for each autoencoder, and kept away from in latents."""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import load as load_model
from jaxdiff._console import unsafe
from jaxdiff.errors import InputError
from jaxdiff.guidance.safe import Noised
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, sample
from jaxdiff.spaces import Latents
from sample.command_line import made
from sample.drawing import Drawing
from sample.options import Draw
from sample.setting import setting
from tests import small_pipeline
from tests.sample.modifying import first

COUNT, STEPS, SCALE = 6, 3, 3.0
PROMPT = "a photo of a man"
ALWAYS = (0.0, math.inf)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_pipeline.folder(tmp_path_factory.mktemp("pipelines") / "small", shallow=True)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (COUNT, 16, 16, 3), np.uint8)


@pytest.fixture
def file(images, tmp_path, monkeypatch):
    """The images in a file, and a cache of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "unsafe.npz", images=images)
    return tmp_path / "unsafe.npz"


@pytest.fixture
def work(monkeypatch):
    """How often images are read and encoded."""
    done = {"read": 0, "encoded": 0}

    def counted(name, function, *arguments):
        done[name] += 1
        return function(*arguments)

    monkeypatch.setattr(unsafe, "load_arrays", partial(counted, "read", unsafe.load_arrays))
    encode = Latents.encode
    monkeypatch.setattr(Latents, "encode", lambda space, shown: counted("encoded", encode, space, shown))
    return done


def encoded(file, space, count=None):
    return unsafe.encoded(str(file), None, space, count, ())


def test_a_set_is_encoded_once_for_each_autoencoder_scale_size_and_number(folder, images, file, work):
    space = load_model(folder).space
    means = np.asarray(space.encoder(jnp.asarray(images / 127.5 - 1, jnp.float32))[0])
    for _ in range(2):
        found = encoded(file, space)
        np.testing.assert_allclose(found, (means - space.shift_factor) * space.scaling_factor, atol=1e-5)
        assert work == {"read": 1, "encoded": 1}
    # tiles concern decoding alone
    np.testing.assert_array_equal(encoded(file, space.tiled(8)), found)
    assert work == {"read": 1, "encoded": 1}
    others = replace(space, fingerprint="another"), replace(space, scaling_factor=0.5), space.sized(8, 16)
    for number, other in enumerate(others, 2):
        assert encoded(file, other).shape == (COUNT, *other.shape) and work == {"read": number, "encoded": number}
    few = encoded(file, space, 4)
    assert work["encoded"] == 5 and all(any(np.allclose(row, each, atol=1e-5) for each in found) for row in few)
    # an autoencoder without a name is not told from another
    for number in (6, 7):
        encoded(file, replace(space, fingerprint=""))
        assert work["encoded"] == number


def test_damaged_latents_and_changed_images_are_encoded_again(folder, images, file, tmp_path, work):
    space = load_model(folder).space
    found = encoded(file, space)
    (kept,) = (tmp_path / "cache").rglob("*.images")
    content = bytearray(kept.read_bytes())
    content[-40] ^= 1
    kept.write_bytes(bytes(content))
    np.testing.assert_array_equal(encoded(file, space), found)
    assert work["encoded"] == 2
    np.savez(file, images=images[:3])
    assert len(encoded(file, space)) == 3 and work["encoded"] == 3


def drawing_of(folder, file, **options) -> Drawing:
    chosen = made(
        Draw, model=folder, out=file.parent / "set", prompt=PROMPT, count=2, solver="ddim", steps=STEPS, guidance_scale=SCALE,
        **{"unsafe": str(file), "window": ALWAYS, **options},
    )  # fmt: skip
    return Drawing(setting(chosen.model, None, (), chosen, method=chosen.method), chosen.method)


KERNELS = {"dimension": {"temperature": "dimension"}, "bandwidth": {"bandwidth": 3.15}, "1": {"temperature": "1"}}
QUICK = {("dimension", "guided"), ("bandwidth", "unconditional")}


@pytest.mark.parametrize(
    ("kernel", "anchor"),
    [
        pytest.param(KERNELS[name], anchor, id=f"{name}-{anchor}", marks=[pytest.mark.slow] * ((name, anchor) not in QUICK))
        for name in KERNELS for anchor in ("guided", "unconditional")
    ],
)  # fmt: skip
def test_both_orders_and_kernels_act_on_latents(folder, images, file, anchor, kernel):
    drawn = first(drawing_of(folder, file, anchor=anchor, strength=0.4, **kernel))
    model = load_model(folder)
    refs = references(model.space.encode(images), limits=None)
    given = {"kernel": "laplace", **kernel} if "bandwidth" in kernel else kernel
    given = {name: 1.0 if value == "1" else value for name, value in given.items()}
    null, guard = model.conditions.null, partial(guidance.safe, strength=0.4, window=ALWAYS, **given)
    if anchor == "guided":
        denoise = guard(guidance.classifier_free(model.denoise, null, SCALE), model.process, refs)
    else:
        denoise = guard(model.denoise, model.process, refs, null=null, scale=SCALE)
    condition = model.conditions.encode_prompts([PROMPT] * 2)
    solver = DDIM(STEPS, **model.grids["ddim"])
    x = sample(denoise, model.process, shape=model.shape, solver=solver, key=jax.random.key(0), condition=condition)
    np.testing.assert_allclose(drawn, x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"guard": "repellency", "radius": 50.0}, pytest.param({"guard": "safety_flow", "strength": 50.0}, marks=pytest.mark.slow)],
    ids=lambda o: o["guard"],
)
def test_other_guards_of_images_move_latents_away_from_them(folder, file, options):
    on, off = (first(drawing_of(folder, file, **{**options, **more})) for more in ({}, {"strength": 0.0}))
    assert np.isfinite(on).all() and np.abs(on - off).max() > 1e-3


def test_a_set_without_images_is_refused(folder, file):
    np.savez(file, images=np.zeros((0, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="unsafe.npz"):
        drawing_of(folder, file)
    with pytest.raises(InputError, match="at least one image"):
        references(np.zeros((0, 8, 8, 4), np.float32), limits=None)


def test_latents_of_another_size_are_refused(folder, images):
    model = load_model(folder)
    refs = references(model.space.sized(8, 16).encode(images[:, :8]), limits=None)
    denoise = guidance.safe(model.denoise, model.process, refs)
    with pytest.raises(InputError, match="`unsafe` must be images of the samples' shape"):
        denoise(jnp.zeros((1, *model.shape)), 0.5, model.conditions.encode_prompts([PROMPT]))


@pytest.mark.usefixtures("doubles")
def test_with_the_odds_of_two_sets_of_latents_it_is_the_posterior_mean_of_the_safe_one(images):
    """The identity, to 1e-10, for latents of images under the process of Stable Diffusion."""
    rng = np.random.default_rng(0)
    model = small_pipeline.model.__wrapped__()
    latents = np.asarray(model.space.encode(rng.integers(0, 256, (40, 16, 16, 3), np.uint8)), np.float64)
    process, shape = model.process, latents.shape[1:]
    unsafe, safe = latents[:12], latents[12:]
    refs, all_of = references(unsafe, limits=None), Noised(references(latents, limits=None), jnp.ones(()))
    everything = jax.tree_util.Partial(lambda held, x, t, condition: held.look(process, x, t, x)[0], all_of)
    guarded = guidance.safe(
        everything, process, refs, weight=guidance.odds(safe, refs, limits=None), temperature=1.0, window=ALWAYS, cap=math.inf
    )
    compared = 0
    for t in (0.5, 0.7, 0.9, 1.0):
        alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
        x = alpha * latents + sigma * rng.standard_normal(latents.shape)
        logits = -np.square(x[:, None] - alpha * latents).sum((2, 3, 4)) / (2 * sigma**2)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        wanted = np.einsum("bn,nhwc->bhwc", weights[:, 12:] / weights[:, 12:].sum(1, keepdims=True), safe)
        # where a state is unsafe beyond doubt the identity divides by nearly nothing
        usable = weights[:, :12].sum(1) < 100 * weights[:, 12:].sum(1)
        found = np.asarray(guarded(jnp.asarray(x), jnp.asarray(t), None))
        assert found.dtype == np.float64 and found.shape[1:] == shape
        np.testing.assert_allclose(found[usable], wanted[usable], atol=1e-10)
        mixed = usable & (weights[:, :12].sum(1) > 0.01 * weights[:, 12:].sum(1))
        compared += mixed.sum()
    assert compared > 20
