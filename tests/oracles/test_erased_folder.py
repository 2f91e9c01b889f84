"""A model from which a concept was erased is for diffusers what it is for jaxdiff."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    import diffusers

import jaxdiff
from jaxdiff.safety import erase
from tests.oracles import text_to_image_pipelines as theirs

MAN, WOMAN = theirs.PROMPTS
TIMESTEP = 501


def outputs(pipeline, prompts, x, timestep) -> np.ndarray:
    """The UNet's outputs in diffusers (B, h, w, 4)."""
    with torch.no_grad():
        text = pipeline.encode_prompt(prompts, "cpu", 1, False)[0]
        image = torch.from_numpy(x).permute(0, 3, 1, 2)
        return pipeline.unet(image, timestep, encoder_hidden_states=text).sample.permute(0, 2, 3, 1).numpy()


def distance(one, other) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("method", ["uce", "rece", "speed"])
def test_the_unet_of_an_erased_folder_is_the_same_in_diffusers(method, tmp_path):
    """To 1e-5, where the edit moved the outputs by more than 1e-2."""
    folder = theirs.saved(theirs.made("SD 1", "epsilon"), tmp_path / "plain")
    plain = jaxdiff.load(folder)
    more = {"threshold": 0.01} if method == "speed" else {}
    model = erase(plain, [MAN], towards=WOMAN, method=method, **more).model
    jaxdiff.interop.save(tmp_path / "erased", model)
    pipelines = []
    for each in (folder, tmp_path / "erased"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipelines.append(diffusers.StableDiffusionPipeline.from_pretrained(each))
    x = np.random.default_rng(0).standard_normal((2, *model.shape)).astype(np.float32)
    before, after = (outputs(pipeline, [MAN, WOMAN], x, TIMESTEP) for pipeline in pipelines)
    found = np.asarray(
        model.network(jnp.asarray(x), jnp.full(2, (TIMESTEP + 1) / 1000), model.conditions.encode_prompts([MAN, WOMAN]))
    )
    assert distance(found, after) < 1e-5 < 1e-2 < distance(after[:1], before[:1])
