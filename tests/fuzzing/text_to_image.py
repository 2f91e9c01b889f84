"""Readers of text-to-image pipelines: their index and scheduler, files of LoRA, files in the original layout, whole folders."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.numpy

from jaxdiff import interop
from jaxdiff.boundary import read_json, reading
from jaxdiff.interop import lora, part_files, pipeline, scheduler, weights
from jaxdiff.interop.files import Folder
from jaxdiff.interop.torch_names import expected, matched
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.network import abstract, condition_unet, latent_decoder, latent_encoder, text_encoder
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.solvers import DDIM
from tests import small_pipeline
from tests.fuzzing.property import Target
from tests.interop import original_files
from tests.interop.original_files import CLIP
from tests.interop.test_torch_file import saved

MODULE = "down_blocks.0.attentions.0.to_q"
STATES = {
    "unet": {f"{MODULE}.weight": np.zeros((3, 2), np.float32)},
    "text_encoder": {"fc1.weight": np.ones((2, 2), np.float32)},
}


def _index(folder: Path) -> Path:
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    parts |= {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"]}
    (folder / "sd").mkdir()
    (folder / "sd" / pipeline.INDEX).write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **parts}))
    return folder / "sd"


def _read_index(path: Path) -> None:
    kind = None
    with reading(path):
        kind = pipeline.read_kind(Folder(path))
    assert interop.is_text_to_image(path) == (kind is not None)


def _schedule(folder: Path) -> Path:
    settings = {
        **small_pipeline.SCHEDULE,
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
        "final_sigmas_type": "zero",
    }
    (folder / "scheduler_config.json").write_text(json.dumps(settings))
    return folder / "scheduler_config.json"


def _read_schedule(path: Path) -> None:
    with reading(path):
        settings = read_json(path)
        process, _ = scheduler.read(settings, path.name)
        grids = scheduler.grids(settings, path.name)
        times = np.asarray(DDIM(3, **grids["ddim"]).times(process))
    assert np.isfinite(times).all() and 0 <= times.min() <= times.max() <= 1
    assert np.isfinite(process.log_snr(0.5))


def _lora(folder: Path, *, kohya: bool) -> Path:
    down, up = np.ones((1, 2), np.float32), np.ones((3, 1), np.float32)
    if kohya:
        module = f"lora_unet_{MODULE.replace('.', '_')}"
        held = {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up, f"{module}.alpha": np.float32(1)}
        return saved(folder / "x.pt", {name: np.asarray(array) for name, array in held.items()})
    held = {f"unet.{MODULE}.lora_A.weight": down, f"unet.{MODULE}.lora_B.weight": up}
    settings = {"unet.r": 1, "unet.lora_alpha": 2, "unet.alpha_pattern": {"to_q": 3}, "unet.use_dora": False}
    safetensors.numpy.save_file(held, folder / "x.safetensors", metadata={lora.METADATA: json.dumps(settings)})
    return folder / "x.safetensors"


def _read_lora(path: Path) -> None:
    with np.errstate(all="ignore"), reading(path):
        content = weights.read_file(path)
        found = lora.merged(STATES, lora.only(content.held, path.name), content.metadata, weight=0.5, name=path.name)
    assert all(found[part][name].shape == array.shape for part, held in STATES.items() for name, array in held.items())


TINY = {
    "unet": (ConditionUNetConfig(size=4, widths=(4, 4), blocks=1, attention=(0,), transformers=(1, 1), heads=(1, 1), groups=2,
                                 text_channels=4), (condition_unet,)),
    "vae": (AutoencoderConfig(size=8, widths=(4, 4), blocks=1, groups=2), (latent_encoder, latent_decoder)),
    "text_encoder": (TextEncoderConfig(vocabulary=5, width=4, layers=1, heads=1, inner=4, positions=3), (text_encoder,)),
}  # fmt: skip


@cache
def _shapes(part: str) -> dict[str, tuple[int, ...]]:
    config, makers = TINY[part]
    return {name: shape for make in makers for name, shape in expected(abstract(make, config)).items()}


def _single(folder: Path) -> Path:
    with TemporaryDirectory() as parts:
        for part in TINY:
            (Path(parts) / part).mkdir()
            name = "model" if part.startswith("text") else "diffusion_pytorch_model"
            arrays = {name: np.zeros(shape, np.float16) for name, shape in _shapes(part).items()}
            safetensors.numpy.save_file(arrays, Path(parts) / part / f"{name}.safetensors")
        arrays = original_files.whole(Path(parts), {"text_encoder": CLIP})
    safetensors.numpy.save_file(arrays, folder / "all.safetensors")
    return folder / "all.safetensors"


def _read_single(path: Path) -> None:
    with reading(path):
        held = weights.read_file(path).held
        for part, (config, _) in TINY.items():
            shapes = _shapes(part)
            found = matched(shapes, part_files.find(held, part, part_files.layouts(part, shapes, config), path.name), path.name)
            assert {name: array.shape for name, array in found.items()} == shapes


def _folder(folder: Path) -> Path:
    return small_pipeline.folder(folder / "sd")


def _read_folder(path: Path) -> None:
    with np.errstate(all="ignore"):
        read = interop.load_text_to_image(path)
    assert read.shape == read.space.shape and len(read.fingerprint) == 16 and read.conditions.encoders


TEXT_TO_IMAGE: dict[str, Target] = {
    "index of a pipeline": Target(_index, _read_index),
    "scheduler of a pipeline": Target(_schedule, _read_schedule, examples=60),
    "LoRA": Target(lambda folder: _lora(folder, kohya=False), _read_lora),
    "LoRA, .pt": Target(lambda folder: _lora(folder, kohya=True), _read_lora),
    "all parts in one file": Target(_single, _read_single),
    "settings of a text-to-image pipeline": Target(_folder, _read_folder, examples=20, files="*config.json"),
}
