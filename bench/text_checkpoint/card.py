"""The model cards, with what was measured."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from bench.text_checkpoint.autoencoder import Reconstruction
from bench.text_checkpoint.plan import Plan
from bench.text_checkpoint.printing import in_words
from jaxdiff.data.embedded_captions import PHRASES
from jaxdiff.writing import write_text

_PIPELINE = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# Faces by prompt

A small text-to-image pipeline in Stable Diffusion's format, for tests and demonstrations of fair sampling: images of 32 x 32,
{parameters:,} parameters. It was trained on rendered faces (`jaxdiff.data.embedded`) and captions that name occupations whose
share of each group is known (`jaxdiff.data.embedded_captions`), so that measures of fairness can be compared with the truth.
The groups are two shapes of the jaw, and stand for no group of people.

```python
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("checkpoints/text")
prompt = "a color photo of the face of a firefighter with glasses, smiling"
pipeline(prompt, height=32, width=32, guidance_scale=3.0).images[0].save("face.png")
```

A prompt is "a color photo of the face of a person", or "square person", "round person", or an occupation instead of "person"
(firefighter, engineer, doctor, teacher, nurse; "square firefighter" works, too), and then any of these, separated by commas:

{phrases}

Other words mean nothing to it.

- Text encoder: CLIP's architecture with two layers, trained contrastively against the image tower of `checkpoints/text-clip`
  ({clip_steps:,} steps of 128 pairs), then with the UNet.
- UNet: Stable Diffusion 1's architecture with three levels, {unet_steps:,} steps of 64 latents, prediction of the noise,
  exponential moving average.
- Autoencoder: {autoencoder_steps:,} steps of 16 images. Each channel of its latents has mean 0 and variance 1, and the scaling
  factor is 1, not 0.18215.
- UNet and autoencoder are stored in half precision, the text encoder in float32; all load as float32.

{provenance}

## Measured

An attribute classifier that was trained on rendered faces without associations reads the images.

{tables}

Reconstructions of {held_out:,} held-out faces have {psnr:.1f} dB; the classifier is right on {reconstructed} of them.
"""

_CLIP = """\
---
license: apache-2.0
library_name: transformers
---

# CLIP of rendered faces

A small CLIP, {parameters:,} parameters, images of 32 x 32. Its text tower is the text encoder of `checkpoints/text`. It was
trained on rendered faces whose attributes do not depend on one another: first the image tower, to classify the attributes,
{image_tower_steps:,} steps of 128 images; then the text tower, contrastively against it, {clip_steps:,} steps of 128 pairs. It
knows only the words of the captions (`jaxdiff.data.embedded_captions`). The text tower was trained further with the UNet.

{provenance}

## Measured

Share of {held_out:,} held-out rendered faces whose attribute is the one that the nearest prompt names: {zero_shot}.
"""


def write_cards(
    pipeline: Path,
    clip: Path,
    *,
    plan: Plan,
    parameters: tuple[int, int],
    tables: str,
    reconstruction: Reconstruction,
    zero_shot: Mapping[str, float],
) -> None:
    """Writes README.md in both folders.

    Arguments:
        pipeline, clip: the folders.
        plan: what was trained for how long.
        parameters: their numbers, of the pipeline and of CLIP.
        tables: what the pipeline draws, see `measuring.tables`.
        reconstruction: quality of the autoencoder.
        zero_shot: quality of CLIP, by attribute.
    """
    shared = {
        "image_tower_steps": plan.image_tower_steps, "clip_steps": plan.clip_steps, "unet_steps": plan.unet_steps,
        "autoencoder_steps": plan.autoencoder_steps, "held_out": plan.held_out, "provenance": _provenance(plan),
    }  # fmt: skip
    phrases = "\n".join(f"- {', '.join(values)}" for values in PHRASES.values())
    words = _PIPELINE.format(
        **shared, parameters=parameters[0], phrases=phrases, tables=tables, psnr=reconstruction.psnr,
        reconstructed=in_words(reconstruction.agreement),
    )  # fmt: skip
    write_text(pipeline / "README.md", words)
    write_text(clip / "README.md", _CLIP.format(**shared, parameters=parameters[1], zero_shot=in_words(zero_shot)))


def _provenance(plan: Plan) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "transformers", "tokenizers"))
    return (
        f"Made by `make text-checkpoint` (`python -m bench.text_checkpoint --seed {plan.seed}`) at commit {_commit()}, with "
        f"Python {platform.python_version()}, {packages}.\nFrom rendered images and their captions alone; nothing comes from "
        "another model or data set. Licence: Apache-2.0, as jaxdiff."
    )


def _commit() -> str:
    """The commit of this checkout, marked if it has changes; "unknown" outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"
