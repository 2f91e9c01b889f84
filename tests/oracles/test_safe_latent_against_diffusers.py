"""Safe Latent Diffusion compared with diffusers' StableDiffusionPipelineSafe, from the same latents.

A factor of up to 5,000 multiplies differences of eps, and with them the rounding of the network. So whole runs are compared
twice: with our network of a small folder, in float32 and compiled as users compile it, and in float64 with diffusers' UNet of
that folder on both sides, where only the guidance and the solver are left to differ.
"""

import copy
import warnings
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")

from jaxdiff import guidance, interop
from jaxdiff.defaults import SLD
from jaxdiff.model import Model
from jaxdiff.process import expand
from jaxdiff.solvers import DDIM, Init, sample
from tests.oracles import text_to_image_pipelines as theirs
from tests.oracles.test_text_to_image import error
from tests.oracles.text_to_image_pipelines import PROMPTS, SCALE, STEPS

if not hasattr(diffusers, "StableDiffusionPipelineSafe"):
    pytest.skip("diffusers has no StableDiffusionPipelineSafe", allow_module_level=True)

WIDE = 1e-7
"""Relative error in float64; the numbers of a guidance are of float32."""
CONCEPT = "woman, a photo"
WARMUP = {"weak": 3, "medium": 2, "strong": 1, "max": 0}
"""The presets' 15, 10, 7 and 0 of 50 steps, of 10."""
NAMES = {
    "strength": "sld_guidance_scale", "threshold": "sld_threshold", "momentum": "sld_momentum_scale",
    "momentum_decay": "sld_mom_beta", "warmup": "sld_warmup_steps",
}  # fmt: skip


class Both(NamedTuple):
    """A pipeline of diffusers, and the model that its folder is loaded as."""

    pipeline: Any
    model: Model


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, tuple[Any, Any]]:
    """A pipeline of diffusers of each prediction, and its folder."""
    found = {}
    for kind, prediction in {"SD 1": "epsilon", "SD 2": "v_prediction"}.items():
        plain = theirs.made(kind, prediction)
        folder = theirs.saved(plain, tmp_path_factory.mktemp("pipelines") / "sd")
        parts = {name: part for name, part in plain.components.items() if name != "image_encoder"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline = diffusers.StableDiffusionPipelineSafe(**parts, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.safety_concept = CONCEPT
        found[prediction] = pipeline, folder
    return found


def settings(preset: str, **changes: Any) -> dict[str, Any]:
    """The numbers of a preset, with the warm-up in steps."""
    own = SLD[preset]
    numbers = {name: getattr(own, name) for name in ("strength", "threshold", "momentum", "momentum_decay")}
    return {**numbers, "warmup": WARMUP[preset], **changes}


def expected(pipeline: Any, numbers: dict[str, Any]) -> np.ndarray:
    """What diffusers draws, before it is decoded: `output_type="latent"` is ignored there."""
    start, seen = torch.from_numpy(theirs.noise(64, 64)).permute(0, 3, 1, 2), []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline(
            PROMPTS, height=64, width=64, latents=start.to(pipeline.unet.dtype), num_inference_steps=STEPS,
            guidance_scale=SCALE, callback=lambda step, time, latents: seen.append(latents.numpy().copy()), output_type="np",
            **{NAMES[name]: number for name, number in numbers.items()},
        )  # fmt: skip
    return seen[-1].transpose(0, 2, 3, 1)


def ours(model: Model, denoise: Any, numbers: dict[str, Any], noise: np.ndarray, null: Any, condition: Any, concept: Any):
    """What we draw, before it is decoded."""
    numbers, solver = dict(numbers), DDIM(STEPS, **model.grids["ddim"])
    warmup = numbers.pop("warmup")
    start = solver.times(model.process)[warmup] if warmup else 1.0
    guided = guidance.safe_latent(denoise, model.process, null, concept, scale=SCALE, start=start, **numbers)
    drawn = sample(
        guided, model.process, shape=noise.shape[1:], solver=solver, key=jax.random.key(0), condition=condition,
        init=Init(noise),
    )  # fmt: skip
    return np.asarray(drawn)


@pytest.mark.optimized
@pytest.mark.parametrize("preset", ["weak", "medium"])
def test_ten_steps_of_a_folder_are_diffusers(folders, preset):
    """With our own networks, in float32; the factors of the other presets multiply its rounding by more."""
    pipeline, folder = folders["epsilon"]
    model = interop.load_text_to_image(folder)
    encoded = model.conditions.encode_prompts
    concept = jax.tree.map(lambda leaf: leaf[0], encoded([CONCEPT]))
    given = theirs.noise(64, 64), model.conditions.null, encoded(PROMPTS), concept
    there = expected(pipeline, settings(preset))
    assert error(ours(model, model.denoise, settings(preset), *given), there) < 1e-5
    # without the concept it is far from it
    assert error(ours(model, model.denoise, settings(preset, strength=0.0), *given), there) > 0.01


@pytest.fixture(scope="module")
def wide(folders, double_precision):
    """Draws of both sides in float64, through the UNet of diffusers on both."""

    def made(prediction):
        pipeline, folder = folders[prediction]
        model = interop.load_text_to_image(folder)
        pipeline = copy.deepcopy(pipeline).to(torch.float64)
        times = np.arange(1, 1001, dtype=np.float32) / np.float32(1000)
        pipeline.scheduler.alphas_cumprod = torch.from_numpy(np.asarray(model.process.alpha(times)) ** 2)
        pipeline.scheduler.final_alpha_cumprod = pipeline.scheduler.alphas_cumprod[0]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = pipeline._encode_prompt(PROMPTS, "cpu", 1, True, None, True).numpy().reshape(3, 2, 77, -1)
        predict = partial(predicted, pipeline.unet)

        def denoise(x, t, condition):
            alpha, sigma = (expand(of(t), x) for of in (model.process.alpha, model.process.sigma))
            value = jax.pure_callback(predict, jax.ShapeDtypeStruct(x.shape, x.dtype), x, t, condition)
            return alpha * x - sigma * value if prediction == "v_prediction" else (x - sigma * value) / alpha

        given = theirs.noise(64, 64).astype(np.float64), rows[0, 0], rows[1], rows[2, 0]
        return lambda **changes: ours(model, denoise, settings(**changes), *given), partial(expected, pipeline)

    return cache(made)


def predicted(network: Any, x: Any, t: Any, condition: Any) -> np.ndarray:
    """What a UNet of diffusers predicts, of arrays."""
    states, times, text = (torch.from_numpy(np.array(each)) for each in (x, t, condition))
    with torch.no_grad():
        value = network(states.permute(0, 3, 1, 2), (1000 * times).round() - 1, encoder_hidden_states=text).sample
    return value.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("preset", SLD)
def test_ten_steps_in_float64_are_diffusers(wide, preset):
    draw, there = wide("epsilon")
    assert draw(preset=preset).dtype == np.float64 and error(draw(preset=preset), there(settings(preset))) < WIDE


@pytest.mark.parametrize(
    "change",
    [{"warmup": 3}, {"momentum": 0.31}, {"momentum_decay": 0.41}, {"threshold": 0.011}, {"strength": 990.0}],
    ids=lambda change: next(iter(change)),
)
def test_a_mistake_shows(wide, change):
    draw, there = wide("epsilon")
    assert error(draw(preset="medium", **change), there(settings("medium"))) > 100 * WIDE


def test_of_models_of_v_diffusers_compares_v(wide):
    """They are the same where only the sign of the difference counts, and it has no momentum, and else they are not."""
    draw, there = wide("v_prediction")
    signs = {"strength": 1e15, "threshold": 0.0, "momentum": 0.0, "warmup": 2}
    assert error(draw(preset="max", **signs), there(settings("max", **signs))) < WIDE
    assert error(draw(preset="weak"), there(settings("weak"))) > 100 * WIDE


def test_the_presets_are_diffusers():
    from diffusers.pipelines.deprecated.stable_diffusion_safe import SafetyConfig

    for name, preset in SLD.items():
        numbers = {**settings(name), "warmup": round(50 * preset.warmup)}
        assert {NAMES[each]: number for each, number in numbers.items()} == getattr(SafetyConfig, name.upper())
