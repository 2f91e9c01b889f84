"""What `jaxdiff train export` and `jaxdiff train import` take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Export:
    """Writes a trained model as a folder of diffusers: unet/ (UNet2DModel), scheduler/ (DDIMScheduler), and for a model without
    attributes model_index.json (DDIMPipeline).

    In PyTorch `UNet2DModel.from_pretrained(OUT, subfolder="unet")` and `DDIMScheduler.from_pretrained(OUT,
    subfolder="scheduler")` read it, or `DDIMPipeline.from_pretrained(OUT)`. A class label there is the label here, and the null
    label comes last; of several attributes it counts their combinations, the last attribute fastest.

    UNet2DModel has no stem: the presets faces64 and faces128 can be exported, tiny and small can not.

    Examples:

      jaxdiff train export --model runs/celeba --out exported/celeba
    """

    model: Path
    """The run, or its model.safetensors."""
    out: Path
    """The folder, which must not be there yet or be empty."""


@dataclass(frozen=True)
class Import:
    """Reads a model of diffusers (UNet2DModel) or of guided-diffusion, and writes it as a run, which the other programs take.

    A folder of diffusers says all that is needed; the DDPM kind (CIFAR-10, CelebA-HQ) and the ADM kind are read, from
    safetensors or .bin. A .pt file of guided-diffusion, or of P2 weighting, holds weights alone: say --size, --process, and
    --head-channels where they are not 64. No code in any file is run.

    Class labels become the attribute `class` with the values 0, 1, ..., unless --value-names names them. Such a model has no
    null label, without which there is no classifier-free guidance, unless --null-label says that the last class is one.

    Examples:

      jaxdiff train import ~/models/ddpm-celebahq-256 --out runs/celebahq

      jaxdiff train import ~/models/my-classes --value-names gender=male,female --null-label --out runs/mine

      jaxdiff train import ~/models/ffhq_p2.pt --size 256 --process ddpm_linear --out runs/p2
    """

    source: Annotated[Path, tyro.conf.Positional]
    """A folder of diffusers, or a .pt file."""
    out: Path
    """Folder of the run, which must not be there yet or be empty."""
    value_names: tuple[str, ...] = ()
    """The attribute that the class labels are, and its values: gender=male,female."""
    null_label: bool = False
    """The last class is the null label."""
    size: str | None = None
    """Size of the images in pixels, a number or HEIGHTxWIDTH, where the source does not say."""
    process: Literal["vp_linear", "vp_cosine", "ddpm_linear", "ddpm_scaled_linear", "ddpm_cosine"] | None = None
    """Forward process, in place of the source's or where it does not say."""
    timesteps: int = 1000
    """T of a --process ddpm_*."""
    prediction: Literal["eps", "v", "x0"] | None = None
    """What the network predicts, in place of the source's; eps for a .pt file."""
    head_channels: int = 64
    """.pt: channels of an attention head (num_head_channels)."""
    attention_order: Literal["heads", "projections"] = "heads"
    """.pt: projections for a network with use_new_attention_order."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Computation type, by default float32; parameters are float32."""
