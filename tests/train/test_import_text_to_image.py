"""`jaxdiff train import` and `export` of text-to-image models: the folder has the changes, and is known again once done."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import jaxdiff
from jaxdiff.sampleset import SampleSet
from sample.__main__ import main as sample
from tests import small_pipeline
from tests.interop import original_files
from tests.interop.original_files import CLIP, held
from train.__main__ import main as train

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def call(call_program, tmp_path):
    """Calls the program beside a pipeline."""
    small_pipeline.folder(tmp_path / "sd")
    return partial(call_program, train, "train")


def read(folder: Path) -> jaxdiff.model.Model:
    return jaxdiff.load(folder)


def changed_parts(folder: Path) -> set[str]:
    """The networks whose weights differ from those of the pipeline."""
    own, found = small_pipeline.parts(small_pipeline.model()), small_pipeline.parts(read(folder))
    same = lambda one, other: one.shape == other.shape and np.array_equal(one, other)  # noqa: E731
    return {part for part in own if not all(same(array, found[part][path]) for path, array in own[part].items())}


def lora(file: Path) -> Path:
    """A LoRA of the text encoder."""
    module = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    safetensors.numpy.save_file(
        {f"{module}.lora_down.weight": np.ones((1, 8), np.float32), f"{module}.lora_up.weight": np.ones((12, 1), np.float32)},
        file,
    )
    return file


def test_a_pipeline_goes_in_and_out_and_again_unchanged(call, tmp_path, capsys):
    assert call("import", "sd", "--out", "run") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert (
        "M parameters of the UNet for 16x16 images as latents of 8x8x4, prompts, ddpm_scaled_linear and eps, in run" in output
    )
    assert not changed_parts(tmp_path / "run") and read(tmp_path / "run").fingerprint == read(tmp_path / "sd").fingerprint
    index = json.loads((tmp_path / "run" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline" and index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert call("export", "--model", "run", "--out", "exported") == 0
    assert "as a StableDiffusionPipeline in exported" in " ".join(capsys.readouterr().out.split())
    for folder in ("run", "exported"):
        assert read(tmp_path / folder).training == {"imported": "diffusers, sd"}
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    assert call("import", "sd", "--out", "run") == 0 and call("export", "--model", "run", "--out", "exported") == 0
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()} == before


def test_all_changes_are_in_the_folder_and_its_provenance(call, tmp_path, capsys):
    other = small_pipeline.folder(tmp_path / "other", seed=7)
    some = {name: array for name, array in held(other, "unet").items() if ".attn2.to_k." in name}
    safetensors.numpy.save_file(some, tmp_path / "erased.safetensors")
    safetensors.numpy.save_file({"<face>": np.ones((2, 8), np.float32)}, tmp_path / "face.safetensors")
    lora(tmp_path / "style=1.safetensors")
    arguments = (
        "--unet", "erased.safetensors", "--vae", "other/vae", "--lora", "style=1.safetensors=0.5", "style=1.safetensors",
        "--embedding", "face.safetensors",
    )  # fmt: skip
    assert call("import", "sd", "--out", "run", *arguments) == 0
    assert f"unet: erased.safetensors ({len(some)} of " in " ".join(capsys.readouterr().out.split())
    assert changed_parts(tmp_path / "run") == {"unet", "encoder", "decoder", "text 0"}
    model = read(tmp_path / "run")
    assert model.training == {
        "imported": "diffusers, sd",
        "replaced": {"unet": f"erased.safetensors ({len(some)} of {len(held(other, 'unet'))} arrays)", "vae": "vae"},
        "loras": [["style=1.safetensors", 0.5], ["style=1.safetensors", 1.0]],
        "embeddings": ["face.safetensors"],
    }
    own, found = (small_pipeline.parts(each)["text 0"] for each in (small_pipeline.model(), model))
    kernel = "encoder/layers/0/mlp/fc1/kernel"
    np.testing.assert_allclose(found[kernel] - own[kernel], 1.5, atol=1e-6)
    tokens = model.conditions.encoders[0].tokenizer(["a <face>"])
    assert set(tokens.ids[0]) >= {522, 523} and len(found["embeddings/token_embedding/embedding"]) == 524
    assert call("import", "sd", "--out", "run", *arguments) == 0  # known again
    assert call("import", "sd", "--out", "run", "--unet", "erased.safetensors") == 2
    assert "run already exists and is not empty" in " ".join(capsys.readouterr().err.split())
    assert call("import", "run", "--out", "more", "--dtype", "bfloat16") == 0
    assert read(tmp_path / "more").training == {"imported": "diffusers, run", "dtype": "bfloat16", "before": model.training}


def test_a_single_file_and_a_variant_are_taken(call, tmp_path, capsys):
    other = small_pipeline.folder(tmp_path / "other", seed=7)
    safetensors.numpy.save_file(original_files.whole(other, {"text_encoder": CLIP}), tmp_path / "all.safetensors")
    assert call("import", "sd", "--out", "run", "--single", "all.safetensors") == 0
    assert small_pipeline.same(read(tmp_path / "run"), small_pipeline.model(seed=7))
    (tmp_path / "other" / UNET).rename((tmp_path / "sd" / UNET).with_suffix(".ema.safetensors"))
    for part in ("vae/diffusion_pytorch_model", "text_encoder/model"):
        file = tmp_path / "sd" / f"{part}.safetensors"
        file.rename(file.with_suffix(".ema.safetensors"))
    assert call("import", "sd", "--out", "average", "--variant", "ema") == 0
    assert "weights: unet ema, vae ema, text_encoder ema; --variant chooses others" in " ".join(capsys.readouterr().out.split())
    assert changed_parts(tmp_path / "average") == {"unet"}


def test_bfloat16_halves_the_files_and_is_computed_in(call, tmp_path):
    assert call("import", "sd", "--out", "run", "--dtype", "bfloat16") == 0
    model = read(tmp_path / "run")
    assert model.config.dtype == "bfloat16" == model.conditions.encoders[0].config.dtype
    with safetensors.safe_open(tmp_path / "run" / UNET, framework="flax") as opened:
        kinds = {opened.get_slice(name).get_dtype() for name in opened.keys() if "conv" in name and "weight" in name}  # noqa: SIM118
    assert "BF16" in kinds
    assert (tmp_path / "run" / UNET).stat().st_size < 0.7 * (tmp_path / "sd" / UNET).stat().st_size
    assert call("import", "sd", "--out", "run", "--dtype", "bfloat16") == 0  # known again
    assert call("import", "run", "--out", "wide", "--dtype", "float32") == 0
    wide = read(tmp_path / "wide")
    rounded = {path: np.asarray(leaf, np.float32) for path, leaf in small_pipeline.parts(model)["unet"].items()}
    assert all(np.array_equal(array, rounded[path]) for path, array in small_pipeline.parts(wide)["unet"].items())
    assert wide.config.dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sd", "--out", "sd"), "--out sd is the source; choose another folder"),
        (("sd", "--out", "new", "--size", "32"), "--size is not for text-to-image models, as sd is"),
        (("sd", "--out", "new", "--process", "ddpm_linear"), "--process is not for text-to-image models"),
        (("sd", "--out", "new", "--null-label"), "--null-label is not for text-to-image models"),
        (("sd", "--out", "new", "--lora", "a=b"), "--lora takes FILE or FILE=WEIGHT, as style.safetensors=0.8, got a=b"),
        (("sd", "--out", "new", "--lora", "a=nan"), "--lora takes FILE or FILE=WEIGHT"),
        (("sd", "--out", "new", "--lora", "a=0.5"), "file a does not exist"),
        (("sd", "--out", "new", "--text-encoder-2", "sd/" + UNET), "has no text_encoder_2 to replace"),
        (("sd", "--out", "new", "--single", "sd/" + UNET), "holds no AutoencoderKL"),
        (("absent", "--out", "new"), "absent does not exist"),
        (("other", "--out", "new", "--unet", "sd/" + UNET), "--unet is for text-to-image models, and other is none"),
        (("other", "--out", "new", "--lora", "a"), "--lora is for text-to-image models, and other is none"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_one_line(arguments, message, call, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert call("import", *arguments) == 2
    captured = " ".join(capsys.readouterr().err.split())
    assert "error: " in captured and message in captured
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_imported_folder_is_drawn_from_with_layers_skipped_or_not(call, call_program, tmp_path, capsys):
    assert call("import", "sd", "--out", "run") == 0
    arguments = ("--model", "run", "--prompt", "a photo", "--count", 2, "--batch-size", 2, "--steps", 2, "--solver", "ddim")
    images = {}
    for skip in ("0", "1"):
        assert call_program(sample, "sample", "draw", *arguments, "--clip-skip", skip, "--out", f"set{skip}") == 0
        images[skip] = SampleSet.open(tmp_path / f"set{skip}").image(0)
    assert not np.array_equal(images["0"], images["1"])
    capsys.readouterr()
    assert call_program(sample, "sample", "draw", *arguments, "--clip-skip", "3", "--out", "set3") == 2
    assert "--clip-skip must lie in 0 .. 2, the layers of the text encoder, got 3" in " ".join(capsys.readouterr().err.split())
