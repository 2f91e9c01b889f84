"""DiffEdit compared with diffusers' StableDiffusionDiffEditPipeline: the mask, the encoding, and whole edits.

That pipeline departs from the paper in two places, which the test undoes to compare the rest. A step of its encoding tells the
network the time at which the step ends, not the state's own (section 3.2, step 2: eps(x_r, r)). And its decoding replaces what
is outside of the mask, after each step, by the encoded state one step noisier than the state inside (step 3: the same step).
"""

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")

from jaxdiff import editing, interop, probability_flow
from jaxdiff.solvers import DDIM
from jaxdiff.solvers.driver import sample_keys
from tests.oracles import text_to_image_pipelines as theirs
from tests.oracles.test_text_to_image import error
from tests.oracles.text_to_image_pipelines import STEPS

if not hasattr(diffusers, "StableDiffusionDiffEditPipeline"):
    pytest.skip("diffusers has no StableDiffusionDiffEditPipeline", allow_module_level=True)

TOLERANCE = 1e-5
KEY, DRAWS, STRENGTH = jax.random.key(4), 3, 0.8
SOURCES, TARGETS = ["a photo of a man", "photo, woman 12"], ["a woman", "a man"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The pipeline, and the model that its folder is loaded as."""
    plain = theirs.made("SD 1", "epsilon")
    folder = theirs.saved(plain, tmp_path_factory.mktemp("pipelines") / "sd")
    parts = {name: part for name, part in plain.components.items() if name != "image_encoder"}
    inverse = diffusers.DDIMInverseScheduler.from_config(plain.scheduler.config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = diffusers.StableDiffusionDiffEditPipeline(**parts, inverse_scheduler=inverse, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, interop.load_text_to_image(folder)


def to_torch(x: Any) -> Any:
    return torch.from_numpy(np.moveaxis(np.array(x), -1, 1).copy())


def to_numpy(x: Any) -> np.ndarray:
    return np.moveaxis(x.numpy(), -3, -1)


def images() -> np.ndarray:
    """Latents to edit."""
    return 0.7 * theirs.noise(64, 64)


def ours(model: Any) -> tuple[Any, Any]:
    """The edit, and the path of the encoding."""
    solver, encoded = DDIM(STEPS, **model.grids["ddim"]), model.conditions.encode_prompts
    times = np.asarray(solver.times(model.process))
    strength = float(times[STEPS - int(STEPS * STRENGTH)])
    given = {"source": encoded(SOURCES), "target": encoded(TARGETS), "key": KEY, "draws": DRAWS}
    middle, shown = float(times[STEPS // 2]), jnp.asarray(images())
    edited = editing.edit(model.denoise, model.process, shown, solver=solver, strength=strength, at=middle, **given)
    path = probability_flow.encode(
        model.denoise, model.process, shown, solver=solver, condition=given["source"], strength=strength, path=True
    )
    return edited, path


def masks(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The masks of the pipeline under our noise, image by image, since its threshold is of a whole batch."""
    from diffusers.pipelines.deprecated.stable_diffusion_diffedit import pipeline_stable_diffusion_diffedit as module

    keys, found = sample_keys(KEY, jnp.arange(2)), []
    for row in range(2):
        first = jax.random.fold_in(keys[row], 0)
        noise = np.stack([jax.random.normal(jax.random.fold_in(first, draw + 1), (8, 8, 4)) for draw in range(DRAWS)])
        monkeypatch.setattr(module, "randn_tensor", lambda *_, noise=noise, **__: to_torch(noise))
        found.append(
            pipeline.generate_mask(
                to_torch(images()[row : row + 1]), target_prompt=TARGETS[row], source_prompt=SOURCES[row],
                num_maps_per_mask=DRAWS, num_inference_steps=STEPS,
            )
        )  # fmt: skip
    return np.concatenate(found)[..., None].astype(bool)


def encoded(pipeline: Any, monkeypatch: pytest.MonkeyPatch, *, own_time: bool) -> Any:
    """The states of the pipeline's encoding, from the noisiest on (B, steps, C, h, w)."""
    network = pipeline.unet.forward
    if own_time:
        earlier = lambda x, t, **given: network(x, (t - 1000 // STEPS).clamp(min=0), **given)  # noqa: E731
        monkeypatch.setattr(pipeline.unet, "forward", earlier)
    found = pipeline.invert(
        SOURCES, to_torch(images()), num_inference_steps=STEPS, inpaint_strength=STRENGTH, guidance_scale=1.0
    ).latents
    monkeypatch.setattr(pipeline.unet, "forward", network)
    return found


def edited(pipeline: Any, mask: np.ndarray, states: Any, *, same_step: bool) -> np.ndarray:
    """The pipeline's edit, before it is decoded to pixels."""
    place = to_torch(mask.astype(np.float32))
    outside = torch.cat([states[:, 1:], to_torch(images())[:, None]], 1)

    def mend(step: int, time: Any, latents: Any) -> None:
        latents.copy_(latents * place + outside[:, step] * (1 - place))

    drawn = pipeline(
        TARGETS, mask_image=place, image_latents=states, inpaint_strength=STRENGTH, num_inference_steps=STEPS,
        guidance_scale=1.0, output_type="latent", callback=mend if same_step else None,
    ).images  # fmt: skip
    return to_numpy(drawn)


@pytest.fixture
def quiet():
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("quiet")
def test_whole_edits_are_diffusers(both, monkeypatch):
    pipeline, model = both
    (found, mask), path = ours(model)
    there = masks(pipeline, monkeypatch)
    np.testing.assert_array_equal(mask, there)
    assert 0.05 < there.mean() < 0.95
    states = encoded(pipeline, monkeypatch, own_time=True)
    # the path begins at the data
    assert error(np.asarray(path.states)[1:][::-1], to_numpy(states).swapaxes(0, 1)) < TOLERANCE
    whole = partial(edited, pipeline, there)
    assert error(np.asarray(found), whole(states, same_step=True)) < TOLERANCE
    # its own departures from the paper are not rounding, and a mask that is not used shows
    assert error(np.asarray(found), whole(states, same_step=False)) > 100 * TOLERANCE
    late = encoded(pipeline, monkeypatch, own_time=False)
    assert error(np.asarray(found), whole(late, same_step=True)) > 100 * TOLERANCE
    assert error(np.asarray(found), edited(pipeline, ~there, states, same_step=True)) > 100 * TOLERANCE
