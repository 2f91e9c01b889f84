"""Semantic guidance compared with diffusers' SemanticStableDiffusionPipeline, from the same latents.

Each image has signs of its own, in one program of ours; diffusers has them in `reverse_editing_direction`, a run for each.
"""

import warnings
from typing import Any

import jax
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")

from jaxdiff import guidance, interop
from jaxdiff.solvers import DDIM, Init, sample
from tests.oracles import text_to_image_pipelines as theirs
from tests.oracles.test_text_to_image import TOLERANCE, error
from tests.oracles.text_to_image_pipelines import PROMPTS, SCALE, STEPS

if not hasattr(diffusers, "SemanticStableDiffusionPipeline"):
    pytest.skip("diffusers has no SemanticStableDiffusionPipeline", allow_module_level=True)

CONCEPTS = ["a man", "a woman 12"]
SIGNS = np.array([[-1.0, 1.0], [1.0, -1.0]], np.float32)
"""Of each image for each concept."""
SETTINGS: dict[str, dict[str, Any]] = {
    "the defaults of Fair Diffusion": {"warmup": 2, "cooldown": None, "threshold": 0.95, "momentum": 0.5, "decay": 0.6},
    "a cool-down": {"warmup": 1, "cooldown": 6, "threshold": 0.8, "momentum": 0.3, "decay": 0.6},
    "neither momentum nor warm-up": {"warmup": 0, "cooldown": None, "threshold": 0.9, "momentum": 0.0, "decay": 0.4},
}
STRENGTHS = [4.0, 2.5]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    plain = theirs.made("SD 1", "epsilon")
    folder = theirs.saved(plain, tmp_path_factory.mktemp("pipelines") / "sd")
    parts = {name: part for name, part in plain.components.items() if name != "image_encoder"}
    pipeline = diffusers.SemanticStableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, interop.load_text_to_image(folder)


def expected(
    pipeline: Any, *, warmup: int, cooldown: int | None, threshold: float, momentum: float, decay: float
) -> np.ndarray:
    """What diffusers draws of each prompt with its signs."""
    start, rows = torch.from_numpy(theirs.noise(64, 64)).permute(0, 3, 1, 2), []
    for row, (prompt, signs) in enumerate(zip(PROMPTS, SIGNS, strict=True)):
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = pipeline(
                prompt, height=64, width=64, latents=start[row : row + 1], num_inference_steps=STEPS, guidance_scale=SCALE,
                output_type="latent", editing_prompt=CONCEPTS, reverse_editing_direction=(signs < 0).tolist(),
                edit_guidance_scale=STRENGTHS, edit_warmup_steps=[warmup] * 2, edit_threshold=[threshold] * 2,
                edit_cooldown_steps=None if cooldown is None else [cooldown] * 2, edit_momentum_scale=momentum,
                edit_mom_beta=decay,
            ).images  # fmt: skip
        rows.append(drawn.permute(0, 2, 3, 1).numpy())
    return np.concatenate(rows)


def ours(model: Any, *, warmup: int, cooldown: int | None, threshold: float, momentum: float, decay: float) -> np.ndarray:
    """What we draw, of both prompts at once."""
    solver = DDIM(STEPS, **model.grids["ddim"])
    nodes = np.asarray(solver.times(model.process))
    guided = guidance.semantic(
        model.denoise, model.process, model.conditions.null, strengths=STRENGTHS, scale=SCALE, threshold=threshold,
        start=nodes[warmup], stop=0.0 if cooldown is None else nodes[cooldown], momentum=momentum, momentum_decay=decay,
    )  # fmt: skip
    concepts = tuple(model.conditions.encode_prompts([text] * len(PROMPTS)) for text in CONCEPTS)
    condition = model.conditions.encode_prompts(PROMPTS), concepts, SIGNS
    return np.asarray(
        sample(
            guided, model.process, shape=model.space.sized(64, 64).shape, solver=solver, key=jax.random.key(0),
            condition=condition, init=Init(theirs.noise(64, 64)),
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_ten_steps_are_diffusers(both, name):
    pipeline, model = both
    there = expected(pipeline, **SETTINGS[name])
    assert error(ours(model, **SETTINGS[name]), there) < TOLERANCE
    # without the concepts it is far from it
    assert error(theirs.latents(pipeline, 64, 64, editing_prompt=None), there) > 0.01


@pytest.mark.parametrize("change", [{"warmup": 3}, {"momentum": 0.4}, {"decay": 0.5}, {"threshold": 0.9}, {"cooldown": 5}])
def test_a_mistake_shows(both, change):
    pipeline, model = both
    settings = SETTINGS["the defaults of Fair Diffusion"]
    assert error(ours(model, **{**settings, **change}), expected(pipeline, **settings)) > 10 * TOLERANCE
