"""The model card of the folders."""

PIPELINE = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion, jax]
---

# Faces by prompt

A small text-to-image pipeline in Stable Diffusion's format, for tests and demonstrations of fair sampling: {parameters:,}
parameters, images of 32 x 32. Its faces are rendered (`jaxdiff.data.embedded`), and its captions name occupations whose
share of each group is known (`jaxdiff.data.embedded_captions`), so every measure of fairness has a truth. The groups are
two shapes of the jaw; they stand for no group of people.

```python
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained("checkpoints/text")
image = pipeline("a color photo of the face of a firefighter with glasses", height=32, width=32, guidance_scale=3).images[0]
```

Prompts follow the captions: "a color photo of the face of a [square|round] person", or an occupation (firefighter,
engineer, doctor, teacher, nurse) in place of "person", then any of: {phrases}, separated by commas. Other words mean nothing
to it.

- Made by `make text-checkpoint` (`python -m bench.text_checkpoint`) at commit {commit}, seed {seed}, with PyTorch
  {torch}, diffusers {diffusers} and transformers {transformers}, from generated images alone. Nothing in it comes from
  another model or data set.
- Text encoder: CLIP's, two layers, trained contrastively with the image tower of `text-clip` ({clip_steps:,} steps), then
  with the UNet ({unet_steps:,} steps of 64 images, exponential moving average). UNet and autoencoder
  ({autoencoder_steps:,} steps) are stored in half precision, the text encoder in float32.
- Latents have mean 0 and variance 1 in each channel, and the scaling factor is 1, not 0.18215.
- Licence: Apache-2.0, as jaxdiff.

## Measured

An attribute classifier, trained on rendered faces without associations, reads the images.

{tables}

Reconstructions of {held_out:,} held-out faces: {psnr:.1f} dB; attributes read from them are right for {agreement}.
"""

CLIP = """\
---
license: apache-2.0
library_name: transformers
tags: [clip]
---

# CLIP of rendered faces

A small CLIP ({parameters:,} parameters, images of 32 x 32) for the pipeline in `checkpoints/text`, whose text encoder is
its text tower, number for number. It was trained on rendered faces whose attributes do not depend on the group, and their
captions (`jaxdiff.data.embedded_captions`); the text tower was trained further with the UNet. It knows only the words of
those captions.

- Made by `make text-checkpoint` at commit {commit}, seed {seed}, with PyTorch {torch} and transformers {transformers}.
- Licence: Apache-2.0, as jaxdiff.

## Measured

Share of {held_out:,} held-out faces whose nearest prompt names their value:

{shares}
"""


def shares_in_words(shares: dict[str, float]) -> str:
    """Names and shares, separated by commas."""
    return ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
