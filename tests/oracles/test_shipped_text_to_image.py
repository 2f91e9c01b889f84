"""The shipped text-to-image pipeline and its CLIP, compared with diffusers and transformers on the same files."""

import os
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

import jaxdiff as jd
from jaxdiff import guidance, shipped
from jaxdiff.data import embedded
from jaxdiff.data.embedded_captions import prompt
from jaxdiff.interop import clip
from jaxdiff.solvers import DDIM, Init, sample

STEPS, SCALE = 25, 3.0
PROMPTS = [prompt("firefighter"), prompt(group="round", phrases=["with glasses"]), "smiling", ""]


def test_images_from_the_same_latents_are_those_of_diffusers():
    model = jd.load(shipped.TEXT)
    noise = np.random.default_rng(0).standard_normal((len(PROMPTS), *model.shape)).astype(np.float32)
    drawn = sample(
        guidance.classifier_free(model.denoise, model.conditions.null, SCALE), model.process, shape=model.shape,
        solver=DDIM(STEPS, **model.grids["ddim"]), key=jax.random.key(0), init=Init(noise),
        condition=model.conditions.encode_prompts(PROMPTS),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(shipped.place(shipped.TEXT))
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        expected = pipeline(
            PROMPTS, latents=torch.from_numpy(noise).permute(0, 3, 1, 2), num_inference_steps=STEPS, guidance_scale=SCALE,
            height=32, width=32, output_type="np",
        ).images  # fmt: skip
    images = model.space.decode(drawn).astype(int)
    assert np.abs(images - (expected * 255).round()).max() <= 2
    assert np.ptp(images) > 100


def test_scores_of_the_shipped_clip_are_those_of_transformers():
    folder = Path(shipped.place(shipped.CLIP))
    images = embedded.generate(np.arange(4))[0]
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1  # 32x32 images need no resizing
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=pixels)
    ours = clip.load(shipped.CLIP)
    for found, wanted in ((ours.of_images(images), expected.image_embeds), (ours.of_prompts(PROMPTS), expected.text_embeds)):
        np.testing.assert_allclose(found, wanted.numpy(), atol=5e-6)
