"""Whole text-to-image pipelines compared with diffusers': loaded from its folders, drawn from the same latents.

Errors are relative to the size of the latents, in the Euclidean norm. Each single mistake that a port may make must push the
error over the tolerance.
"""

import copy
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    import diffusers

from jaxdiff import guidance, interop
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.model import Model
from jaxdiff.solvers import SOLVERS, Init, sample
from jaxdiff.spaces import Latents
from tests.interop.folders import changed
from tests.oracles import text_to_image_pipelines as theirs
from tests.oracles.text_to_image_pipelines import PROMPTS, SCALE, STEPS

TOLERANCE = 2e-5
SIZES = [(64, 64), (40, 72)]  # latents of 8x8, and of 5x9
PREDICTIONS = {"SD 1": "epsilon", "SD 2": "v_prediction", "XL": "epsilon"}
"""The kinds of pipelines, with what they predict."""
NEGATIVE = "man, blurred"


class Both(NamedTuple):
    """A pipeline of diffusers, its folder, and the model that it is loaded as."""

    pipeline: Any
    folder: Any
    model: Model


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Both]:
    found = {}
    for kind, prediction in PREDICTIONS.items():
        pipeline = theirs.made(kind, prediction)
        folder = theirs.saved(pipeline, tmp_path_factory.mktemp("pipelines") / kind.replace(" ", ""))
        found[kind] = Both(pipeline, folder, interop.load_text_to_image(folder))
    return found


@pytest.fixture(params=PREDICTIONS)
def both(request, made) -> Both:
    return made[request.param]


def latents(model: Model, height: int, width: int, *, solver: str = "ddim", steps: int = STEPS, scale: float = SCALE,
            prompts=PROMPTS, negative=None, start=None, told=None) -> np.ndarray:  # fmt: skip
    """What we draw, before it is decoded."""
    space = model.space.sized(height, width)
    conditions = replace(model.conditions, size=told or (height, width)).with_negative(negative)
    denoise = model.denoise
    if scale > 1:
        denoise = guidance.classifier_free(denoise, conditions.null, scale)
    init = Init(theirs.noise(height, width) if start is None else start)
    drawn = sample(
        denoise, model.process, shape=space.shape, solver=SOLVERS[solver](steps, **model.grids[solver]),
        key=jax.random.key(0), condition=conditions.encode_prompts(prompts), init=init,
    )  # fmt: skip
    return np.asarray(drawn)


def error(ours: np.ndarray, expected: np.ndarray) -> float:
    """The largest relative error of a sample."""
    norm = lambda x: np.linalg.norm(np.asarray(x, np.float64).reshape(len(x), -1), axis=1)  # noqa: E731
    return float((norm(ours - expected) / norm(expected)).max())


@pytest.mark.parametrize("height, width", SIZES)
def test_ten_steps_are_diffusers(both, height, width):
    expected = theirs.latents(both.pipeline, height, width)
    ours = latents(both.model, height, width)
    assert ours.shape == (2, height // 8, width // 8, 4) and error(ours, expected) < TOLERANCE
    images = both.model.space.sized(height, width).decode(ours).astype(int)
    there = theirs.images(both.pipeline, expected).astype(int)
    assert np.abs(images - there).max() <= 2 and np.ptp(images) > 60


@pytest.mark.parametrize("negative", [NEGATIVE, ""])
def test_negative_prompts_are_diffusers(both, negative):
    """The empty text, too: for XL it is not the default, which is zero."""
    expected = theirs.latents(both.pipeline, 64, 64, negative_prompt=[negative] * 2)
    assert error(latents(both.model, 64, 64, negative=negative), expected) < TOLERANCE
    plain = error(latents(both.model, 64, 64), expected)
    assert plain > 0.01 if negative or both.model.conditions.zeros else plain < TOLERANCE


def test_without_guidance_it_is_diffusers_too(both):
    expected = theirs.latents(both.pipeline, 64, 64, guidance_scale=1.0)
    assert error(latents(both.model, 64, 64, scale=1.0), expected) < TOLERANCE


def test_guided_latents_heed_the_prompt(both):
    expected = theirs.latents(both.pipeline, 64, 64)
    assert error(latents(both.model, 64, 64, prompts=["a photo of a woman", PROMPTS[1]]), expected) > 0.01


# --- single mistakes ---


def gridded(model: Model, **changes: Any) -> Model:
    """With another grid; None takes an argument out."""
    grid = {name: value for name, value in {**model.grids["ddim"], **changes}.items() if value is not None}
    return replace(model, grids={"ddim": grid})


def timed(model: Model, wrong: Callable) -> Model:
    """With a network that is told other times."""

    class Timed(Model):
        @property
        def denoise(self):
            told = jax.tree_util.Partial(lambda network, x, t, condition: network(x, wrong(t), condition), self.network)
            return NetworkDenoiser(told, self.process, self.prediction)

    return Timed(**vars(model))


def encoded(model: Model, place: int = 0, **changes: Any) -> Model:
    """With a text encoder of other settings."""
    encoders = list(model.conditions.encoders)
    encoders[place] = replace(encoders[place], **changes)
    return replace(model, conditions=replace(model.conditions, encoders=tuple(encoders)))


def padded(model: Model) -> Model:
    """With the end token where another one pads."""
    tokenizer = model.conditions.encoders[0].tokenizer
    return encoded(model, tokenizer=replace(tokenizer, pad=tokenizer.end))


MISTAKES = {
    "no offset": ("XL", lambda model: gridded(model, offset=None)),
    "ends at clean data": ("XL", lambda model: gridded(model, end=None)),
    "spaced from the last timestep": ("XL", lambda model: gridded(model, spacing="trailing", offset=None)),
    "timesteps from 1": ("XL", lambda model: timed(model, lambda t: t + 0.001)),
    "timesteps over T - 1": ("XL", lambda model: timed(model, lambda t: (1000 * t - 1) / 999)),
    "timesteps rounded to tens": ("XL", lambda model: timed(model, lambda t: jnp.round(t * 100) / 100)),
    "clipped latents": ("XL", lambda model: replace(model, space=Clipping(**vars(model.space)))),
    "the other prediction": ("XL", lambda model: replace(model, prediction="v")),
    "the null condition is the empty prompt": (
        "XL", lambda model: replace(model, conditions=replace(model.conditions, zeros=False)),
    ),
    "the last layer of XL": ("XL", lambda model: encoded(model, skip=0)),
    "the last layer of XL's second": ("XL", lambda model: encoded(model, 1, skip=0)),
    "the final norm of XL": ("XL", lambda model: encoded(model, 1, normalised=True)),
    "no final norm": ("SD 1", lambda model: encoded(model, normalised=False)),
    "a layer less": ("SD 2", lambda model: encoded(model, skip=1)),
    "padded by the end token": ("SD 2", padded),
}  # fmt: skip


class Clipping(Latents):
    """Latents that are clipped as pixels are."""

    policy = guidance.Clip(-1.0, 1.0)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows(mistake, made):
    kind, wrong = MISTAKES[mistake]
    model, expected = made[kind].model, theirs.latents(made[kind].pipeline, 64, 64)
    assert error(latents(model, 64, 64), expected) < TOLERANCE < error(latents(wrong(model), 64, 64), expected)


def test_the_size_of_the_image_is_part_of_xls_condition(made):
    pipeline, _, model = made["XL"]
    expected = theirs.latents(pipeline, 40, 72)
    assert error(latents(model, 40, 72, told=(72, 40)), expected) > TOLERANCE


@pytest.mark.parametrize("kind", ["SD 1", "XL"])
def test_the_scale_of_latents_shows_in_images(kind, made):
    """Multiplied in place of divided by, or that of another model."""
    pipeline, _, model = made[kind]
    drawn = theirs.latents(pipeline, 64, 64)
    there, space = theirs.images(pipeline, drawn).astype(int), model.space.sized(64, 64)
    for wrong in (1 / space.scaling_factor, 0.18215 if kind == "XL" else 0.13025):
        other = replace(space, scaling_factor=wrong)
        assert np.abs(other.decode(drawn).astype(int) - there).max() > 2


def test_images_are_encoded_by_the_mean_and_scaled(both):
    """diffusers multiplies by the scale where it encodes."""
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 72, 3), np.uint8)
    pixels = torch.from_numpy(images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        mean = both.pipeline.vae.encode(pixels).latent_dist.mean * both.pipeline.vae.config.scaling_factor
    assert error(both.model.space.sized(40, 72).encode(images), mean.permute(0, 2, 3, 1).numpy()) < 1e-5


@pytest.fixture(scope="module")
def euler(made, tmp_path_factory) -> tuple[Model, np.ndarray, np.ndarray]:
    """The model of a folder with Euler's scheduler, whose timesteps are fractions; its start, and what diffusers draws."""
    pipeline, folder, _ = made["XL"]
    pipeline = copy.copy(pipeline)
    pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config({**theirs.SCHEDULE, "prediction_type": "epsilon"})
    copied = tmp_path_factory.mktemp("euler") / "sd"
    shutil.copytree(folder, copied)
    changed(copied / "scheduler" / "scheduler_config.json", _class_name="EulerDiscreteScheduler", timestep_spacing=None)
    model = interop.load_text_to_image(copied)
    start = theirs.noise(64, 64) * np.asarray(model.process.sigma(1.0))  # its states are of variance 1 + sigma² / alpha²
    return model, start, theirs.latents(pipeline, 64, 64, steps=8)


def test_eight_steps_of_euler_are_diffusers(euler):
    model, start, expected = euler
    assert error(latents(model, 64, 64, steps=8, start=start), expected) < TOLERANCE


def test_rounding_the_timesteps_of_euler_shows(euler):
    model, start, expected = euler
    rounded = timed(model, lambda t: jnp.round(1000 * t) / 1000)
    assert error(latents(rounded, 64, 64, steps=8, start=start), expected) > TOLERANCE
