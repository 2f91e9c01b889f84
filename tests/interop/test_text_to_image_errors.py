"""What is no pipeline that jaxdiff reads, or does not fit together, is refused before anything is computed, by its name."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

import jaxdiff
from jaxdiff import interop
from jaxdiff.errors import InputError
from jaxdiff.interop import pipeline_parts
from tests import small_pipeline
from tests.interop import original_files
from tests.interop.folders import changed
from tests.interop.original_files import CLIP, held
from tests.interop.test_torch_file import called, named, program

load = interop.load_text_to_image
UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Folders of both kinds, not to be changed."""
    place = tmp_path_factory.mktemp("folders")
    return {"SD": small_pipeline.folder(place / "SD"), "XL": small_pipeline.folder(place / "XL", xl=True)}


@pytest.fixture
def folder(folders, tmp_path) -> Path:
    return Path(shutil.copytree(folders["SD"], tmp_path / "sd"))


@pytest.fixture
def nothing_built(monkeypatch):
    """Fails where a network is filled with weights."""

    def built(*_):
        raise AssertionError("a network was built")

    monkeypatch.setattr(pipeline_parts.Part, "imported", built)


KINDS = {
    "StableDiffusion3Pipeline": "Stable Diffusion 3, whose network is a transformer",
    "FluxPipeline": "Flux, whose network is a transformer",
    "StableDiffusionInpaintPipeline": "an inpainting model, whose network takes a mask",
    "StableDiffusionXLInpaintPipeline": "an inpainting model",
    "StableDiffusionXLImg2ImgPipeline": "the refiner of Stable Diffusion XL, which takes an image",
    "StableDiffusionInstructPix2PixPipeline": "an editing model",
    "StableDiffusionUpscalePipeline": "an upscaling model",
    "StableDiffusionDepth2ImgPipeline": "a depth-to-image model",
    "StableDiffusionControlNetPipeline": "a ControlNet model",
    "LatentConsistencyModelPipeline": "a latent consistency model",
    "KandinskyV22Pipeline": "Kandinsky",
    "SomethingNewPipeline": "a SomethingNewPipeline",
}


@pytest.mark.parametrize("name", KINDS)
def test_other_pipelines_are_called_what_they_are(name, folder, nothing_built):
    changed(folder / "model_index.json", _class_name=name)
    for read in (load, jaxdiff.load):
        with pytest.raises(InputError, match=f"is {KINDS[name]}.*reads Stable Diffusion 1 or 2 .StableDiffusionPipeline., "):
            read(folder)


CONFIGS = {
    "the mask of inpainting": ("unet", {"in_channels": 9}, "as that of an inpainting model"),
    "another class": ("unet", {"_class_name": "UNet3DConditionModel"}, "describes a UNet3DConditionModel"),
    "another width of texts": (
        "unet", {"cross_attention_dim": 12}, r"unet/config.json takes texts of 12 channels, and the text encoders give 8",
    ),
    "another number of latent channels": (
        "vae", {"latent_channels": 3}, r"unet/config.json takes latents of 4 channels, and those of .*vae/config.json have 3",
    ),
    "the conditions of XL": (
        "unet",
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 29},
        "takes a pooled text embedding of 5 channels, and Stable Diffusion 1 or 2 has no pooled text embedding",
    ),
    "a mean of latents": ("vae", {"latents_mean": [0.1, 0.0, 0.0, 0.0]}, "vae/config.json: latents_mean is .*; our auto"),
    "a scale of 0": ("vae", {"scaling_factor": 0.0}, "scaling_factor must be above 0"),
    "an activation": ("text_encoder", {"hidden_act": "relu"}, "hidden_act is 'relu'; our text encoder takes quick_gelu"),
    "a mask of texts": ("text_encoder", {"use_attention_mask": True}, "use_attention_mask is True"),
    "a smaller vocabulary": ("text_encoder", {"vocab_size": 500}, "has 522 tokens, and the text encoder takes 500"),
    "fewer positions": ("text_encoder", {"max_position_embeddings": 10}, "have 12 tokens, and the text encoder takes 10"),
    "a scheduler without a table": (
        "scheduler", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "is of FlowMatchEulerDiscreteScheduler, whose process",
    ),
    "a prediction": ("scheduler", {"prediction_type": "flow"}, "prediction_type is 'flow'; jaxdiff reads epsilon"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_does_not_fit_is_refused(name, folder, nothing_built):
    part, settings, message = CONFIGS[name]
    changed(folder / part / f"{'scheduler_config' if part == 'scheduler' else 'config'}.json", **settings)
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize(
    "missing, message",
    [
        ("scheduler", r"sd lacks scheduler/scheduler_config.json"),
        ("unet", r"sd lacks unet/config.json"),
        ("vae/config.json", r"sd lacks vae/config.json"),
        ("text_encoder", r"sd lacks text_encoder/config.json"),
        ("tokenizer", r"sd has no tokenizer: copy the tokenizer of the pipeline that it was made from"),
        ("tokenizer/merges.txt", r"tokenizer has no tokenizer: neither tokenizer.json nor merges.txt"),
        (UNET, r"sd/unet has no weights, neither diffusion_pytorch_model.safetensors nor diffusion_pytorch_model.bin"),
        (TEXT, r"sd/text_encoder has no weights, neither model.safetensors nor pytorch_model.bin; it has config.json"),
        ("model_index.json", r"sd is no text-to-image pipeline: a folder with a model_index.json of one is read"),
    ],
)
def test_what_is_missing_is_named(missing, message, folder, nothing_built):
    place = folder / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize("part, got", [("vae", ["diffusers", "AutoencoderTiny"]), ("unet", [None, None]), ("text_encoder", 3)])
def test_a_part_of_another_class_is_named(part, got, folder, nothing_built):
    changed(folder / "model_index.json", **{part: got})
    without = "a AutoencoderTiny" if part == "vae" else "none"
    with pytest.raises(InputError, match=f"Stable Diffusion 1 or 2, must have a .* as its {part}, got {without}"):
        load(folder)


def test_all_arrays_of_all_parts_that_do_not_match_are_in_one_error(folder, nothing_built):
    for file, gone, other in ((UNET, "conv_out.bias", "time.weight"), (TEXT, "text_model.final_layer_norm.bias", "x.weight")):
        arrays = safetensors.numpy.load_file(folder / file)
        arrays[other] = arrays.pop(gone)
        safetensors.numpy.save_file(arrays, folder / file)
    arrays = safetensors.numpy.load_file(folder / VAE)
    arrays["decoder.conv_in.weight"] = arrays["decoder.conv_in.weight"][:4]
    arrays["encoder.conv_in.bias"] = np.zeros(8, np.int32)
    safetensors.numpy.save_file(arrays, folder / VAE)
    with pytest.raises(InputError) as raised:
        load(folder)
    text = str(raised.value)
    for found in (
        "unet/diffusion_pytorch_model.safetensors does not match the network; arrays: 1 missing: conv_out.bias; 1 unexpected: "
        "time.weight",
        "1 of wrong shape: decoder.conv_in.weight (4, 4, 3, 3) instead of (16, 4, 3, 3)",
        "1 not floating point: encoder.conv_in.bias int32",
        "text_encoder/model.safetensors does not match the network; arrays: 1 missing: final_layer_norm.bias; 1 unexpected: x.",
    ):
        assert found in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(value, folder, nothing_built):
    for file, name in ((UNET, "conv_out.bias"), (TEXT, "text_model.final_layer_norm.bias")):
        arrays = safetensors.numpy.load_file(folder / file)
        arrays[name][1] = value
        safetensors.numpy.save_file(arrays, folder / file)
    with pytest.raises(
        InputError, match=r"no finite numbers, 1 of the unet: conv_out.bias; 1 of the text_encoder: final_layer"
    ):
        load(folder)


def test_overflowing_half_precision_is_named(folder, nothing_built):
    arrays = safetensors.numpy.load_file(folder / UNET)
    arrays = {name: (1e6 * array if name == "conv_out.weight" else array) for name, array in arrays.items()}
    with np.errstate(over="ignore"):
        safetensors.numpy.save_file({name: array.astype(np.float16) for name, array in arrays.items()}, folder / UNET)
    with pytest.raises(InputError, match=r"no finite numbers, 1 of the unet: conv_out.weight"):
        load(folder)


def test_a_file_with_code_in_it_runs_none(folder, tmp_path):
    """A pickle that would create a file."""
    made, file = tmp_path / "made", tmp_path / "model.ckpt"
    file.write_bytes(program({"state_dict": called(named("os", "mkdir"), str(made))}))
    (folder / UNET).unlink()
    file_in_folder = Path(shutil.copy(file, folder / "unet" / "diffusion_pytorch_model.bin"))
    for give in ({}, {"single": file}, {"replaced": {"vae": file}}, {"loras": [(file, 1.0)]}, {"embeddings": [file]}):
        with pytest.raises(InputError, match=rf"({file.name}|{file_in_folder.name}).*mkdir"):
            load(folder if not give or "single" in give else small_pipeline.folder(tmp_path / f"{next(iter(give))}"), **give)
    assert not made.exists()


CHANGES = {
    "a part that is not there": ({"replaced": {"image_encoder": "x"}}, "`replaced` takes the parts unet, vae, .*image_encoder"),
    "the second text encoder of SD": (
        {"replaced": {"text_encoder_2": "{UNET}"}}, "Stable Diffusion 1 or 2, which has no text_encoder_2 to replace",
    ),
    "a file that is not there": ({"replaced": {"unet": "absent.pt"}}, "file absent.pt does not exist"),
    "a LoRA that is not there": ({"loras": [("absent.pt", 1.0)]}, "file absent.pt does not exist"),
    "a weight that is no number": ({"loras": [("{UNET}", np.nan)]}, "weight of diffusion_pytorch_model.safetensors in `loras`"),
    "a token that is not there": ({"embeddings": ["absent.pt"]}, "file absent.pt does not exist"),
    "a file of all parts that is not there": ({"single": "absent.ckpt"}, "file absent.ckpt does not exist"),
    "a file of all parts and a variant": ({"single": "{UNET}", "variant": "fp16"}, "`variant` is for folders, and `single`"),
    "a variant that is not there": ({"variant": "fp16"}, "unet has no weights of `variant` fp16; its variants: none"),
    "a dtype": ({"dtype": "float16"}, "`dtype` must be one of float32, bfloat16, got 'float16'"),
    "sizes that are no multiple": ({"size": (17, 16)}, "must be multiples of 2, .*; got 17x16"),
    "the weights of another part": ({"replaced": {"unet": "{VAE}"}}, r"diffusion_pytorch_model.safetensors does not match"),
    "no weights of the part": ({"replaced": {"text_encoder": "{UNET}"}}, "holds no CLIPTextModel, the text_encoder of"),
    "one part in place of all": ({"single": "{UNET}"}, "no AutoencoderKL, .*; .*holds no CLIPTextModel"),
    "LoRA of weights": ({"loras": [("{UNET}", 1.0)]}, "of another architecture, or no LoRA: it has .* conv_in.bias, "),
    "an embedding of weights": ({"embeddings": ["{UNET}"]}, "textual inversion has a token, string_to_param, .*; got"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_does_not_fit_is_refused(name, folders, monkeypatch, tmp_path):
    given, message = CHANGES[name]
    monkeypatch.chdir(tmp_path)
    files = {"{UNET}": folders["SD"] / UNET, "{VAE}": folders["SD"] / VAE}
    given = jax.tree.map(lambda value: files.get(value, value) if isinstance(value, str) else value, given)
    with pytest.raises(InputError, match=message):
        load(folders["SD"], **given)


def test_several_networks_in_one_file_are_told_apart_or_listed(folders, tmp_path):
    arrays = held(folders["SD"], "unet")
    both = {f"{name}.{key}": array for name in ("first", "second") for key, array in arrays.items()}
    safetensors.numpy.save_file(both, tmp_path / "both.safetensors")
    with pytest.raises(
        InputError, match="both.safetensors holds several UNet2DConditionModel, and one unet is taken: first, second"
    ):
        load(folders["SD"], replaced={"unet": tmp_path / "both.safetensors"})


def test_a_single_file_without_a_part_names_it(folders, tmp_path):
    arrays = original_files.whole(folders["SD"], {"text_encoder": CLIP})
    pruned = {name: array for name, array in arrays.items() if not name.startswith("first_stage_model.")}
    safetensors.numpy.save_file(pruned, tmp_path / "pruned.safetensors")
    with pytest.raises(InputError, match="pruned.safetensors holds no AutoencoderKL, the vae of the pipeline"):
        load(folders["SD"], single=tmp_path / "pruned.safetensors")
    del pruned["model.diffusion_model.out.2.bias"]
    safetensors.numpy.save_file(pruned, tmp_path / "pruned.safetensors")
    with pytest.raises(InputError, match=r"1 missing: conv_out.bias"):
        load(folders["SD"], single=tmp_path / "pruned.safetensors", replaced={"vae": folders["SD"] / "vae"})


def test_what_is_no_folder_of_a_pipeline_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match="absent does not exist"):
        load(tmp_path / "absent")
    with pytest.raises(InputError, match="is no text-to-image pipeline: a folder with a model_index.json of one is read"):
        load(folders["SD"] / "unet")
    with pytest.raises(InputError, match="is a text-to-image pipeline, which takes no `process`"):
        interop.load(folders["SD"], process=small_pipeline.model().process)


def test_a_model_whose_text_encoders_skip_layers_is_not_written(tmp_path):
    model = small_pipeline.model()
    skipping = jaxdiff.model.Model(**{**vars(model), "conditions": model.conditions.skipping(1)})
    with pytest.raises(InputError, match="leave out layers, which a folder of diffusers cannot say"):
        interop.save(tmp_path / "out", skipping)
    with pytest.raises(InputError, match=r"`clip_skip` must lie in 0 .. 2, the layers of the text encoder, got 3"):
        model.conditions.skipping(3)
    with pytest.raises(InputError, match="a text-to-image model is no single file: write its folder"):
        jaxdiff.model.save(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()
