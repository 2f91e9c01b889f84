"""Models out of jaxdiff and into it: `python -m train export` and `python -m train import`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import jax
import tyro

from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff import process as processes
from jaxdiff._console.arguments import image_size, value_names
from jaxdiff._console.terminal import console, working
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.process import Process

ProcessName = Literal["vp_linear", "vp_cosine", "ddpm_linear", "ddpm_scaled_linear", "ddpm_cosine"]


@dataclass(frozen=True)
class Export:
    """Writes a trained model as a folder of diffusers: unet/ (UNet2DModel), scheduler/ (DDIMScheduler), and for a model without
    attributes model_index.json (DDIMPipeline).

    In PyTorch `UNet2DModel.from_pretrained(OUT, subfolder="unet")` and `DDIMScheduler.from_pretrained(OUT,
    subfolder="scheduler")` read it, or `DDIMPipeline.from_pretrained(OUT)`. A class label there is the label here, and the null
    label comes last; of several attributes it counts their combinations, the last attribute fastest.

    UNet2DModel has no stem: the presets faces64 and faces128 can be exported, tiny and small can not.

    Examples:

      python -m train export --model runs/celeba --out exported/celeba
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

      python -m train import ~/models/ddpm-celebahq-256 --out runs/celebahq

      python -m train import ~/models/my-classes --value-names gender=male,female --null-label --out runs/mine

      python -m train import ~/models/ffhq_p2.pt --size 256 --process ddpm_linear --out runs/p2
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
    process: ProcessName | None = None
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


def export_model(options: Export) -> None:
    """Runs `python -m train export`."""
    model = models.load(options.model)
    with working("exporting"):
        interop.save(options.out, model)
    console.print(f"{_about(model)} as a UNet2DModel in {options.out}")


def import_model(options: Import) -> None:
    """Runs `python -m train import`."""
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise InputError(f"--out {options.out} is there already and not empty; take another folder")
    with working("importing"):
        model = _read(options)
        if options.dtype is not None:
            model = replace(model, config=replace(model.config, dtype=options.dtype))
        models.save(options.out, model)
    console.print(f"{_about(model)}, in {options.out}")


def _read(options: Import) -> Model:
    """The model in the source."""
    names = value_names(options.value_names) or {}
    if len(names) > 1:
        raise InputError(f"--value-names names the one attribute of the class labels, got {', '.join(names)}")
    attribute = next((Attribute(name, values) for name, values in names.items()), None)
    process = _process(options)
    if options.source.is_dir():
        return interop.load(
            options.source,
            process=process,
            prediction=options.prediction,
            attribute=attribute,
            null_label=options.null_label,
            size=image_size(options.size),
        )
    if not options.source.is_file():
        raise InputError(f"there is neither a folder nor a file {options.source}")
    lacking = [f"--{name}" for name in ("size", "process") if getattr(options, name) is None]
    if lacking:
        raise InputError(f"{options.source} holds weights alone: say {' and '.join(lacking)}")
    return interop.load_guided(
        options.source,
        size=image_size(options.size),
        process=process,
        prediction=options.prediction or "eps",
        head_channels=options.head_channels,
        attention_order=options.attention_order,
        attribute=attribute,
        null_label=options.null_label,
    )


def _process(options: Import) -> Process | None:
    """The forward process that was named."""
    if options.process is None or not options.process.startswith("ddpm_"):
        if options.timesteps != Import.timesteps:
            raise InputError(f"--timesteps is for --process ddpm_*, got --process {options.process}")
        return None if options.process is None else processes.from_config({"name": options.process})
    return processes.from_config({"name": options.process, "timesteps": options.timesteps})


def _about(model: Model) -> str:
    """What a model is, in a line."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.network.weights))
    named = [f"{attribute.name} ({len(attribute.values)} values)" for attribute in model.conditions.attributes]
    labels = ", ".join(named) or "no attributes"
    return (
        f"{parameters / 1e6:.2f} M parameters for {model.space} images, {labels}, {model.process.name} and {model.prediction}"
    )


assert set(get_args(ProcessName)) <= set(processes.PROCESSES)
