"""Every form in which users have the weights of a text-to-image pipeline gives the arrays of the plain folder, bit for bit."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy

from jaxdiff import interop
from jaxdiff.errors import InputError
from jaxdiff.interop import original_layout
from jaxdiff.interop.torch_names import expected
from jaxdiff.model import Model
from jaxdiff.models.network import abstract, condition_unet
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from tests import small_pipeline
from tests.conditions.bpe import whole
from tests.interop import original_files
from tests.interop.folders import changed
from tests.interop.original_files import CLIP, OF_XL, OPEN_CLIP, held
from tests.interop.test_torch_file import saved

STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
KINDS = {"SD": {}, "XL": {"xl": True}}
load = interop.load_text_to_image


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The folders of both kinds, not to be changed."""
    place = tmp_path_factory.mktemp("folders")
    return {kind: small_pipeline.folder(place / kind, **of) for kind, of in KINDS.items()}


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def folder(kind, folders, tmp_path) -> Path:
    """A copy of a folder."""
    return Path(shutil.copytree(folders[kind], tmp_path / "sd"))


def plain(kind: str) -> Model:
    return small_pipeline.model(**KINDS[kind])


def parts_of(folder: Path) -> list[str]:
    return [part for part in STEMS if (folder / part).is_dir()]


def file_of(folder: Path, part: str, *, variant: str = "", suffix: str = "safetensors") -> Path:
    return folder / part / f"{STEMS[part]}{f'.{variant}' if variant else ''}.{suffix}"


def write(folder: Path, part: str, arrays, **name) -> None:
    """Writes the weights of a part again, alone."""
    file_of(folder, part).unlink(missing_ok=True)
    safetensors.flax.save_file({key: jnp.asarray(array) for key, array in arrays.items()}, file_of(folder, part, **name))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_the_rounded_weights(dtype, kind, folder):
    for part in parts_of(folder):
        write(folder, part, {name: array.astype(dtype) for name, array in held(folder, part).items()})
    read, expected = small_pipeline.parts(load(folder, dtype="float32")), small_pipeline.parts(plain(kind))
    for part, arrays in expected.items():
        for path, array in arrays.items():
            assert read[part][path].dtype == np.float32
            np.testing.assert_array_equal(read[part][path], array.astype(dtype).astype(np.float32))
    by_default = load(folder)
    stored = "bfloat16" if dtype is ml_dtypes.bfloat16 else "float32"
    assert by_default.config.dtype == stored == by_default.conditions.encoders[0].config.dtype
    assert by_default.training.get("dtype", "float32") == stored and by_default.space.autoencoder.dtype == "float32"


def test_names_of_a_variant_are_taken_where_there_are_no_others(kind, folder):
    for part in parts_of(folder):
        file_of(folder, part).rename(file_of(folder, part, variant="fp16"))
    read = load(folder)
    assert small_pipeline.same(read, plain(kind)) and read.training["weights"].startswith("unet fp16, vae fp16, text_encoder")
    # plain weights come before those of a variant
    small = {name: array / 2 for name, array in held(small_pipeline.folder(folder.parent / "b", **KINDS[kind]), "unet").items()}
    safetensors.numpy.save_file(small, file_of(folder, "unet"))
    assert not small_pipeline.same(load(folder), plain(kind))
    assert small_pipeline.same(load(folder, variant="fp16"), plain(kind))
    file_of(folder, "unet").rename(file_of(folder, "unet", variant="ema"))
    with pytest.raises(InputError, match=r"unet has weights of the variants ema, fp16: choose one with `variant`"):
        load(folder)


def test_files_of_torch_are_read(kind, folder):
    for part in parts_of(folder):
        name = "pytorch_model" if part.startswith("text") else STEMS[part]
        saved(folder / part / f"{name}.bin", held(folder, part))
        file_of(folder, part).unlink()
    assert small_pipeline.same(load(folder), plain(kind))


def test_weights_in_several_files_are_read(kind, folder):
    for part in parts_of(folder):
        arrays, stem = held(folder, part), STEMS[part]
        files = [f"{stem}-{place + 1:05}-of-00003.safetensors" for place in range(3)]
        for place, file in enumerate(files):
            safetensors.numpy.save_file({name: arrays[name] for name in sorted(arrays)[place::3]}, folder / part / file)
        placed = {name: files[place % 3] for place, name in enumerate(sorted(arrays))}
        (folder / part / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
        file_of(folder, part).unlink()
    assert small_pipeline.same(load(folder), plain(kind))


def test_names_of_text_encoders_with_and_without_prefix_are_read(kind, folder):
    for part in parts_of(folder)[2:]:
        arrays = held(folder, part)
        assert all(name.startswith(("text_model.", "text_projection.")) for name in arrays)
        arrays["text_model.embeddings.position_ids"] = np.arange(12)[None]
        write(folder, part, arrays)
        assert small_pipeline.same(load(folder), plain(kind))
        write(folder, part, {name.removeprefix("text_model."): array for name, array in arrays.items()})
        assert small_pipeline.same(load(folder), plain(kind))


def test_a_tokenizer_in_one_file_makes_the_same_of_prompts(folders, tmp_path):
    folder = Path(shutil.copytree(folders["SD"], tmp_path / "sd"))
    shutil.rmtree(folder / "tokenizer")
    whole(folder / "tokenizer", pad="!", model_max_length=12)
    prompts = ["a photo of a man!", "", "woman <|endoftext|> 12"]
    ours, read = (model.conditions.encoders[0].tokenizer(prompts) for model in (plain("SD"), load(folder)))
    np.testing.assert_array_equal(ours.ids, read.ids)


@pytest.mark.parametrize("dense", [True, False])
def test_old_names_of_the_autoencoders_attention_are_read(dense, folders, tmp_path):
    folder = Path(shutil.copytree(folders["SD"], tmp_path / "sd"))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    arrays = {}
    for name, array in held(folder, "vae").items():
        for modern, before in old.items():
            if f".attentions.0.{modern}." in name:
                name = name.replace(modern, before)
                array = array[..., None, None] if array.ndim == 2 and not dense else array
        arrays[name] = array
    assert sum(".query." in name for name in arrays) == 4
    write(folder, "vae", arrays)
    assert small_pipeline.same(load(folder), plain("SD"))


def test_a_scale_of_latents_that_is_missing_is_that_of_sd_1(folders, tmp_path):
    folder = Path(shutil.copytree(folders["SD"], tmp_path / "sd"))
    assert load(folder).space.scaling_factor == small_pipeline.SCALE
    changed(folder / "vae" / "config.json", scaling_factor=None)
    read = load(folder)
    assert read.space.scaling_factor == 0.18215 and small_pipeline.same(read, plain("SD"))
    assert read.fingerprint != load(folders["SD"]).fingerprint


# --- one part from elsewhere ---


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A folder of other weights."""
    return small_pipeline.folder(tmp_path_factory.mktemp("other") / "sd", seed=7)


OTHER = {"seed": 7}


def nested(arrays, file):
    """A file of torch with the weights in a dictionary beside others."""
    from tests.interop.test_torch_file import storage, tensor, zipped

    inner, storages = {}, {}
    for place, (name, array) in enumerate(arrays.items()):
        strides = [step // array.itemsize for step in array.strides]
        inner[name] = tensor(storage("Float", str(place), array.size), array.shape, strides)
        storages[str(place)] = array
    zipped(file, {"epoch": 3, "state_dict": inner}, storages)


FORMS = {
    "safetensors": lambda arrays, file: safetensors.numpy.save_file(arrays, file),
    "torch": lambda arrays, file: saved(file.with_suffix(".pt"), arrays),
    "nested": lambda arrays, file: nested(arrays, file.with_suffix(".pt")),
    "a wrapper's names": lambda arrays, file: safetensors.numpy.save_file(
        {f"module.unet.{name}": array for name, array in arrays.items()}, file
    ),
    "beside its average": lambda arrays, file: safetensors.numpy.save_file(
        {f"model.{name}": array + 1 for name, array in arrays.items()}
        | {f"model_ema.{name}": array for name, array in arrays.items()},
        file,
    ),
    "original": lambda arrays, file: safetensors.numpy.save_file(
        {original_files.UNET + name: array for name, array in original_files.unet(arrays).items()}, file
    ),
    "original without prefix": lambda arrays, file: safetensors.numpy.save_file(original_files.unet(arrays), file),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_takes_the_place_of_the_unet(form, folders, other, tmp_path):
    FORMS[form](held(other, "unet"), tmp_path / "unet.safetensors")
    (file,) = tmp_path.iterdir()
    read = load(folders["SD"], replaced={"unet": file})
    expected, own = (small_pipeline.parts(small_pipeline.model(**of)) for of in (OTHER, {}))
    found = small_pipeline.parts(read)
    assert all(np.array_equal(found["unet"][path], array) for path, array in expected["unet"].items())
    assert all(np.array_equal(found["decoder"][path], array) for path, array in own["decoder"].items())
    assert read.training["replaced"] == {"unet": file.name} and read.fingerprint != load(folders["SD"]).fingerprint


def test_a_file_of_some_weights_replaces_these_alone(folders, other, tmp_path):
    """As those of models from which a concept was erased: the keys and values of texts."""
    some = {name: array for name, array in held(other, "unet").items() if ".attn2.to_k." in name or ".attn2.to_v." in name}
    safetensors.numpy.save_file(some, tmp_path / "erased.safetensors")
    read = load(folders["SD"], replaced={"unet": tmp_path / "erased.safetensors"})
    found, own, theirs = (small_pipeline.parts(model)["unet"] for model in (read, plain("SD"), small_pipeline.model(**OTHER)))
    for path, array in found.items():
        changed_here = "attn2/to_k" in path or "attn2/to_v" in path
        np.testing.assert_array_equal(array, (theirs if changed_here else own)[path])
    count = len(held(other, "unet"))
    assert read.training["replaced"] == {"unet": f"erased.safetensors ({len(some)} of {count} arrays)"} and len(some) == 8


@pytest.mark.parametrize("whole_pipeline", [True, False])
def test_a_folder_takes_the_place_of_the_autoencoder(whole_pipeline, folders, other):
    read = load(folders["SD"], replaced={"vae": other if whole_pipeline else other / "vae"})
    found, theirs = small_pipeline.parts(read), small_pipeline.parts(small_pipeline.model(**OTHER))
    own = small_pipeline.parts(plain("SD"))
    for part in ("encoder", "decoder"):
        assert all(np.array_equal(found[part][path], array) for path, array in theirs[part].items())
    assert all(np.array_equal(found["unet"][path], array) for path, array in own["unet"].items())


@pytest.mark.parametrize("prefixed", [True, False])
def test_files_take_the_places_of_the_autoencoder_and_a_text_encoder(prefixed, folders, other, tmp_path):
    vae = original_files.autoencoder(held(other, "vae"))
    safetensors.numpy.save_file(
        {("first_stage_model." if prefixed else "") + name: vae[name] for name in vae}, tmp_path / "v.safetensors"
    )
    text = {name: 2 * array for name, array in held(other, "text_encoder").items()}
    safetensors.numpy.save_file(
        {("text_encoder." if prefixed else "") + name: text[name] for name in text}, tmp_path / "t.safetensors"
    )
    read = load(folders["SD"], replaced={"vae": tmp_path / "v.safetensors", "text_encoder": tmp_path / "t.safetensors"})
    found, theirs = small_pipeline.parts(read), small_pipeline.parts(small_pipeline.model(**OTHER))
    assert all(np.array_equal(found["decoder"][path], array) for path, array in theirs["decoder"].items())
    assert all(np.array_equal(found["text 0"][path], 2 * array) for path, array in theirs["text 0"].items())


SINGLES = {
    "SD 1": ("SD", {"text_encoder": CLIP}),
    "SD 1 without text_model": ("SD", {"text_encoder": "cond_stage_model.transformer."}),
    "SD 2": ("SD", {"text_encoder": OPEN_CLIP}),
    "XL": ("XL", dict(zip(("text_encoder", "text_encoder_2"), OF_XL, strict=True))),
}


@pytest.mark.parametrize("of", SINGLES)
def test_one_file_of_all_parts_is_the_folder_that_it_was_made_of(of, folders, tmp_path):
    kind, texts = SINGLES[of]
    arrays = original_files.whole(folders[kind], texts)
    safetensors.numpy.save_file(arrays, tmp_path / "all.safetensors")
    saved(tmp_path / "all.ckpt", arrays)
    # the folder's own weights are not read
    empty = Path(shutil.copytree(folders[kind], tmp_path / "sd", ignore=shutil.ignore_patterns("*.safetensors")))
    for name in ("all.safetensors", "all.ckpt"):
        read = load(empty, single=tmp_path / name)
        assert small_pipeline.same(read, plain(kind)) and read.training["single"] == name


def test_a_part_is_replaced_beside_one_file_of_all(folders, other, tmp_path):
    safetensors.numpy.save_file(original_files.whole(folders["SD"], {"text_encoder": CLIP}), tmp_path / "all.safetensors")
    read = load(folders["SD"], single=tmp_path / "all.safetensors", replaced={"vae": other / "vae"})
    found, theirs, own = (small_pipeline.parts(each) for each in (read, small_pipeline.model(**OTHER), plain("SD")))
    assert all(np.array_equal(found["decoder"][path], array) for path, array in theirs["decoder"].items())
    assert all(np.array_equal(found["unet"][path], array) for path, array in own["unet"].items())


def test_the_names_of_a_deep_unet_in_the_original_layout():
    """With levels that have both transformers and an upsampler; some names are those of published files."""
    each = {"transformers": (1, 1, 1), "heads": (1, 1, 1), "groups": 4, "text_channels": 4}
    config = ConditionUNetConfig(size=8, widths=(8, 8, 8), blocks=2, attention=(0, 1), **each)
    names = list(expected(abstract(condition_unet, config)))
    there = original_files.unet({name: np.array(place) for place, name in enumerate(names)})
    ours = original_layout.unet_names(names, config.blocks)
    assert ours == {names[int(place)]: name for name, place in there.items()}
    assert ours["up_blocks.1.upsamplers.0.conv.weight"] == "output_blocks.5.2.conv.weight"
    assert ours["up_blocks.0.upsamplers.0.conv.weight"] == "output_blocks.2.1.conv.weight"
    assert ours["down_blocks.1.downsamplers.0.conv.bias"] == "input_blocks.6.0.op.bias"
    query = "attentions.1.transformer_blocks.0.attn2.to_k.weight"
    assert ours[f"down_blocks.1.{query}"] == "input_blocks.5.1.transformer_blocks.0.attn2.to_k.weight"
