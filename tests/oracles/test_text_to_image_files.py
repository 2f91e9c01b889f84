"""Files of other programs give the pipelines that diffusers makes of them: LoRA, textual inversion, one file of all parts.

LoRA are merged in diffusers by PEFT, which its loading needs.
"""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    import diffusers

from jaxdiff import interop
from jaxdiff.interop import torch_names
from jaxdiff.interop.lora import METADATA
from jaxdiff.model import Model
from tests.interop import original_files
from tests.interop.original_files import CLIP, OF_XL, OPEN_CLIP
from tests.oracles import text_to_image_pipelines as theirs

PARTS = ("unet", "text_encoder", "text_encoder_2")
CLASSES = {"SD 1": "StableDiffusionPipeline", "SD 2": "StableDiffusionPipeline", "XL": "StableDiffusionXLPipeline"}
RANK = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pipelines")
    return {kind: theirs.saved(theirs.made(kind, "epsilon"), place / kind.replace(" ", "")) for kind in CLASSES}


def opened(kind: str, folder: Path) -> Any:
    """A pipeline of diffusers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(diffusers, CLASSES[kind]).from_pretrained(folder)


def there(pipeline: Any, part: str) -> dict[str, np.ndarray]:
    """The arrays of a part of a pipeline of diffusers."""
    state = getattr(pipeline, part).state_dict()
    return {name.removeprefix("text_model.").replace(".base_layer", ""): array.numpy() for name, array in state.items()}


def here(model: Model) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a model under the same names."""
    encoders = [torch_names.to_torch(each.network) for each in model.conditions.encoders]
    vae = torch_names.to_torch(model.space.encoder) | torch_names.to_torch(model.space.decoder)
    return {"unet": torch_names.to_torch(model.network), "vae": vae, **dict(zip(PARTS[1:], encoders, strict=False))}


def error(ours: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


class Layer(NamedTuple):
    """A layer that a LoRA changes.

    Attributes:
        part: its network.
        name: its name there.
        shape: the shape of its weight.
    """

    part: str
    name: str
    shape: tuple[int, ...]


DENSE = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
CONVOLUTIONS = ("resnets.0.conv1", "downsamplers.0.conv", "conv_shortcut")


def layers(pipeline: Any) -> list[Layer]:
    """Attention and dense layers of all networks, and some convolutions."""
    return [
        Layer(part, name.removesuffix(".weight"), array.shape)
        for part in PARTS
        if getattr(pipeline, part, None) is not None
        for name, array in there(pipeline, part).items()
        if name.removesuffix(".weight").endswith((*DENSE, *CONVOLUTIONS))
    ]


def lora(
    file: Path, pipeline: Any, names: Callable, *, alpha: float | None = None, metadata: Any = None, seed: int = 0
) -> Path:
    """Writes a LoRA that changes each layer by about a third.

    Arguments:
        file, pipeline: where, and for what.
        names: the names of A, B and alpha of a layer; None leaves it out.
        alpha: beside each pair.
        metadata: the settings in the header.
        seed: of the factors.
    """
    rng, held = np.random.default_rng(seed), {}
    for layer in layers(pipeline):
        if (named := names(layer)) is None:
            continue
        outputs, *inputs = layer.shape
        spread = 0.3 / np.sqrt(RANK * np.prod(inputs))
        held[named[0]] = rng.standard_normal((RANK, *inputs)).astype(np.float32)
        held[named[1]] = (spread * rng.standard_normal((outputs, RANK, *(1,) * (len(inputs) - 1)))).astype(np.float32)
        if alpha is not None:
            held[named[2]] = np.array(alpha, np.float32)
    header = {"format": "pt"} | ({} if metadata is None else {METADATA: json.dumps(metadata)})
    safetensors.numpy.save_file(held, file, metadata=header)
    return file


KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_", "text_encoder_2": "lora_te2_text_model_"}


def kohya(layer: Layer) -> tuple[str, ...]:
    """kohya's names: the part, and the path with _."""
    module = KOHYA[layer.part] + layer.name.replace(".", "_")
    return f"{module}.lora_down.weight", f"{module}.lora_up.weight", f"{module}.alpha"


def kohya_xl(pipeline: Any) -> Callable:
    """kohya's names for XL: the UNet's are those of the original layout, and the text encoders are numbered."""
    names = list(there(pipeline, "unet"))
    moved = original_files.unet({name: np.array(place) for place, name in enumerate(names)})
    original = {names[int(place)]: name for name, place in moved.items()}

    def named(layer: Layer) -> tuple[str, ...]:
        if layer.part == "unet":
            return kohya(layer._replace(name=original[f"{layer.name}.weight"].removesuffix(".weight")))
        return tuple(name.replace("lora_te_", "lora_te1_") for name in kohya(layer))

    return named


def peft(layer: Layer) -> tuple[str, ...]:
    """diffusers' names of today."""
    module = f"{layer.part}.{'' if layer.part == 'unet' else 'text_model.'}{layer.name}"
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"


def of_layers(layer: Layer) -> tuple[str, ...]:
    """diffusers' names before PEFT."""
    inside = ("lora.down", "lora.up") if layer.part == "unet" else ("lora_linear_layer.down", "lora_linear_layer.up")
    module = f"{layer.part}.{'' if layer.part == 'unet' else 'text_model.'}{layer.name}"
    return f"{module}.{inside[0]}.weight", f"{module}.{inside[1]}.weight"


def of_processors(layer: Layer) -> tuple[str, ...] | None:
    """diffusers' first names, of the attention layers of a UNet."""
    module, _, last = layer.name.removesuffix(".0").rpartition(".")
    if layer.part != "unet" or not last.startswith("to_"):
        return None
    return f"unet.{module}.processor.{last}_lora.down.weight", f"unet.{module}.processor.{last}_lora.up.weight"


SETTINGS = {
    part: {
        f"{part}.r": RANK, f"{part}.lora_alpha": 7, f"{part}.target_modules": [*DENSE, "conv1", "conv", "conv_shortcut"],
        f"{part}.alpha_pattern": {"attn1.to_q": 3} if part == "unet" else {}, f"{part}.peft_type": "LORA",
    }
    for part in PARTS
}  # fmt: skip
METADATAS = {
    kind: SETTINGS["unet"] | SETTINGS["text_encoder"] | (SETTINGS["text_encoder_2"] if kind == "XL" else {}) for kind in CLASSES
}
LORAS: dict[str, tuple[str, Callable | None, dict[str, Any]]] = {
    "kohya": ("SD 1", kohya, {"alpha": 3.0}),
    "kohya without alpha": ("SD 2", kohya, {}),
    "kohya for XL": ("XL", None, {"alpha": 1.5}),
    "diffusers": ("SD 1", peft, {}),
    "diffusers with settings": ("SD 2", peft, {"metadata": METADATAS["SD 2"]}),
    "diffusers for XL": ("XL", peft, {}),
    "diffusers before PEFT": ("SD 1", of_layers, {}),
    "diffusers of processors": ("SD 2", of_processors, {}),
}


def merged(pipeline: Any, files: list[tuple[Path, float]]) -> Any:
    """A pipeline of diffusers with LoRA merged in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (file, weight) in enumerate(files):
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=f"a{number}")
            pipeline.fuse_lora(lora_scale=weight, adapter_names=[f"a{number}"])
            pipeline.unload_lora_weights()
    return pipeline


def compare(model: Model, pipeline: Any, before: Any, least: float = 0.1) -> None:
    """Whether the networks have the same weights, and others than before."""
    moved = []
    for part, arrays in here(model).items():
        expected, own = there(pipeline, part), there(before, part)
        assert arrays.keys() == expected.keys()
        assert max(error(arrays[name], expected[name]) for name in expected) < 2e-6, part
        moved += [error(own[name], expected[name]) for name in expected]
    assert max(moved) > least


@pytest.mark.parametrize("name", LORAS)
def test_lora_are_merged_as_in_diffusers(name, folders, tmp_path):
    pytest.importorskip("peft")
    kind, names, how = LORAS[name]
    pipeline = opened(kind, folders[kind])
    file = lora(tmp_path / "x.safetensors", pipeline, kohya_xl(pipeline) if names is None else names, **how)
    pipeline = merged(opened(kind, folders[kind]), [(file, 0.7)])
    compare(interop.load_text_to_image(folders[kind], loras=[(file, 0.7)]), pipeline, opened(kind, folders[kind]))


def test_several_lora_are_merged_in_a_row(folders, tmp_path):
    pytest.importorskip("peft")
    first = lora(tmp_path / "a.safetensors", opened("SD 1", folders["SD 1"]), kohya, alpha=2.0)
    second = lora(tmp_path / "b.safetensors", opened("SD 1", folders["SD 1"]), of_layers, seed=1)
    files = [(first, 1.3), (second, -0.4)]
    pipeline = merged(opened("SD 1", folders["SD 1"]), files)
    compare(interop.load_text_to_image(folders["SD 1"], loras=files), pipeline, opened("SD 1", folders["SD 1"]))


SINGLES = {"SD 1": {"text_encoder": CLIP}, "SD 2": {"text_encoder": OPEN_CLIP}, "XL": dict(zip(PARTS[1:], OF_XL, strict=True))}


@pytest.mark.parametrize("kind", SINGLES)
def test_one_file_of_all_parts_is_what_diffusers_makes_of_it(kind, folders, tmp_path):
    """And what the folder was that it was made of."""
    file = tmp_path / "all.safetensors"
    safetensors.numpy.save_file(original_files.whole(folders[kind], SINGLES[kind]), file)
    without = Path(shutil.copytree(folders[kind], tmp_path / "sd", ignore=shutil.ignore_patterns("*.safetensors")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single = getattr(diffusers, CLASSES[kind]).from_single_file(str(file), config=str(folders[kind]))
    own = opened(kind, folders[kind])
    for part, arrays in here(interop.load_text_to_image(without, single=file)).items():
        for expected in (there(single, part), there(own, part)):
            assert arrays.keys() == expected.keys()
            assert all(np.array_equal(arrays[name], expected[name]) for name in expected), part


@pytest.mark.parametrize("form", ["diffusers", "embeddings alone", "torch"])
def test_textual_inversion_is_that_of_diffusers(form, folders, tmp_path):
    """With two embeddings of a token; the prompts' states, where the token is not the last."""
    rows = np.random.default_rng(0).standard_normal((2, 32)).astype(np.float32)
    file = tmp_path / "face.safetensors"
    if form == "torch":
        file = file.with_suffix(".pt")
        torch.save({"string_to_param": {"*": torch.from_numpy(rows)}, "name": "<face>", "step": 3}, file)
    else:
        safetensors.numpy.save_file({"<face>" if form == "diffusers" else "emb_params": rows}, file)
    token = "face" if form == "embeddings alone" else "<face>"
    pipeline = opened("SD 1", folders["SD 1"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.load_textual_inversion(str(file), token=token if form == "embeddings alone" else None)
    model = interop.load_text_to_image(folders["SD 1"], embeddings=[file])
    prompts = [f"a photo of {token} man", f"{token}", "a man", f"photo,{token}{token}!"]
    with torch.no_grad():
        expected = pipeline.encode_prompt(prompts, "cpu", 1, False)[0].numpy()
    ours = np.asarray(model.conditions.encode_prompts(prompts)["text"])
    assert error(ours, expected) < 2e-6
    plain = interop.load_text_to_image(folders["SD 1"]).conditions.encode_prompts(prompts)["text"]
    assert error(np.asarray(plain), expected) > 0.05


VARIANTS = {
    "plain": {},
    "fp16": {"variant": "fp16"},
    "sharded": {"max_shard_size": "20KB"},
    "torch": {"safe_serialization": False},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_folders_that_diffusers_writes_are_the_plain_one(name, folders, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened("SD 2", folders["SD 2"]).save_pretrained(tmp_path / "sd", **VARIANTS[name])
    files = [file.name for file in (tmp_path / "sd").rglob("*") if file.is_file()]
    marks = {"plain": "diffusion_pytorch_model.safetensors", "fp16": "diffusion_pytorch_model.fp16.safetensors",
             "sharded": "diffusion_pytorch_model.safetensors.index.json", "torch": "diffusion_pytorch_model.bin"}  # fmt: skip
    assert marks[name] in files
    found, expected = here(interop.load_text_to_image(tmp_path / "sd")), here(interop.load_text_to_image(folders["SD 2"]))
    assert all(np.array_equal(array, found[part][key]) for part, arrays in expected.items() for key, array in arrays.items())


@pytest.mark.parametrize("kind", CLASSES)
def test_a_folder_that_we_write_is_drawn_from_by_diffusers_alike(kind, folders, tmp_path):
    interop.save(tmp_path / "sd", interop.load_text_to_image(folders[kind]))
    ours, own = opened(kind, tmp_path / "sd"), opened(kind, folders[kind])
    for pipeline in (ours, own):
        pipeline.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(*(theirs.latents(pipeline, 64, 64, steps=3) for pipeline in (ours, own)))


def test_skipped_layers_are_those_of_transformers(folders):
    """diffusers' own option fails with this transformers."""
    pipeline, model = opened("SD 1", folders["SD 1"]), interop.load_text_to_image(folders["SD 1"])
    ids = pipeline.tokenizer(
        theirs.PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    for layers in range(3):
        with torch.no_grad():
            states = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states[-1 - layers]
            expected = pipeline.text_encoder.final_layer_norm(states).numpy()
        assert error(np.asarray(model.conditions.skipping(layers).encode_prompts(theirs.PROMPTS)["text"]), expected) < 2e-6
