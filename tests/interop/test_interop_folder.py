"""Folders of diffusers: a model is restored exactly, and an incomplete folder is an error that names what is missing."""

import dataclasses
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy

from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.process import ddpm, ve, vp_cosine
from jaxdiff.weight_file import named as by_path
from tests.interop.folders import CONFIG, GENDER, WEIGHTS, changed, model_of, parts, same
from tests.interop.test_torch_file import called, named, program, saved, zipped


@pytest.mark.parametrize(
    ("config", "attributes", "process", "prediction"),
    [
        (CONFIG, (GENDER,), vp_cosine(), "v"),
        (dataclasses.replace(CONFIG, values=(2, 3)), (GENDER, Attribute("hair", ("dark", "fair", "red"))), ddpm(), "eps"),
        (
            dataclasses.replace(CONFIG, values=(), embedding="shift", time_offset=-1, timesteps=500),
            (),
            ddpm("linear", 500),
            "x0",
        ),
    ],
    ids=["one attribute", "two attributes", "unconditional"],
)
def test_a_model_is_restored_bit_for_bit(config, attributes, process, prediction, tmp_path):
    """Weights, attributes, process, provenance and so the fingerprint, which its files have too."""
    model = model_of(config, attributes, process, prediction)
    interop.save(tmp_path / "out", model)
    back = interop.load(tmp_path / "out")
    assert same(back.network, model.network) and back.network.structure == model.network.structure
    for name in ("config", "prediction", "space", "conditions", "training", "fingerprint"):
        assert getattr(back, name) == getattr(model, name)
    np.testing.assert_array_equal(back.process.coefficients, model.process.coefficients)
    assert models.save(tmp_path / "run", back) == model.fingerprint == models.load(tmp_path / "run").fingerprint

    interop.save(tmp_path / "again", back)
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    index = {"model_index.json"} if not attributes else set()
    assert files == {"unet/config.json", WEIGHTS, "scheduler/scheduler_config.json"} | index
    assert all((tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files - {WEIGHTS})
    (arrays, header), (again, repeated) = (parts(tmp_path / name) for name in ("out", "again"))
    assert header == repeated and arrays.keys() == again.keys()
    assert all(arrays[name].tobytes() == again[name].tobytes() for name in arrays)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again", "out", "run"]


def test_a_folder_of_others_is_read_from_its_files(foreign, trained):
    """The class label is `class`, and every embedding is one of its values; only weights that read the time are others'."""
    model = interop.load(foreign)
    assert model.conditions.attributes == (Attribute("class", ("0", "1", "2")),)
    assert model.config == dataclasses.replace(CONFIG, values=(3,), null_label=False, time_offset=-1, dtype="float32")
    assert (model.prediction, model.process.name, model.process.timesteps) == ("v", "ddpm_betas", 1000)
    own, read = by_path(trained.network.weights), by_path(model.network.weights)
    assert [name for name in own if not np.array_equal(own[name], read[name])] == ["time_in/kernel"]
    assert interop.load(foreign / "unet").fingerprint != "" and model.training == {"imported": "diffusers, out"}
    with pytest.raises(InputError, match="no null label"):
        model.conditions.encode(np.asarray([-1, 0]))


def test_arguments_override_what_a_folder_of_others_says(foreign, trained):
    model = interop.load(foreign, attribute=GENDER, null_label=True, process=ddpm("linear"), prediction="eps", size=8)
    assert model.conditions.attributes == (GENDER,) and (model.config.values, model.config.null_label) == ((2,), True)
    assert (model.config.size, model.config.attention, model.process.name, model.prediction) == (8, (4,), "ddpm_linear", "eps")
    with pytest.raises(InputError, match="`attribute` gender has 2 values, the network 3 classes"):
        interop.load(foreign, attribute=GENDER)


@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json", WEIGHTS])
def test_a_folder_that_was_changed_since_is_read_anew(file, folder):
    """What jaxdiff left in the header is not believed then."""
    if file == WEIGHTS:
        state, metadata = parts(folder)
        state["conv_in.bias"] = state["conv_in.bias"] + 1
        safetensors.numpy.save_file(state, folder / file, metadata=metadata)
    else:
        changed(folder / file, **({"norm_eps": 1e-3} if "unet" in file else {"prediction_type": "sample"}))
    model = interop.load(folder)
    assert model.conditions.attributes == (Attribute("class", ("0", "1", "2")),) and model.training == {
        "imported": "diffusers, out"
    }
    assert model.config.epsilon == (1e-3 if "unet/config" in file else 1e-5)
    assert model.prediction == ("x0" if "scheduler" in file else "v")


def test_how_the_scheduler_samples_is_no_change(folder, trained):
    changed(folder / "scheduler" / "scheduler_config.json", clip_sample=False, _class_name="DPMSolverMultistepScheduler")
    assert interop.load(folder).fingerprint == trained.fingerprint


def test_a_network_alone_needs_its_process(foreign, trained, tmp_path):
    (foreign / "unet").rename(tmp_path / "alone")
    with pytest.raises(InputError, match=r"has no scheduler_config.json: give the `process` and `prediction`"):
        interop.load(tmp_path / "alone")
    model = interop.load(tmp_path / "alone", process=ddpm(), prediction="eps")
    assert (model.process.name, model.prediction) == ("ddpm_cosine", "eps")
    (foreign / "scheduler" / "scheduler_config.json").rename(tmp_path / "alone" / "scheduler_config.json")
    assert interop.load(tmp_path / "alone").prediction == "v"


def test_a_network_alone_that_was_saved_here_is_enough(folder, trained, tmp_path):
    (folder / "unet").rename(tmp_path / "alone")
    assert interop.load(tmp_path / "alone").fingerprint == trained.fingerprint


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_weights_of_half_precision_become_float32(half, foreign):
    state, _ = parts(foreign)
    halved = {name: jnp.asarray(array, half) for name, array in state.items()}
    safetensors.flax.save_file(halved, foreign / WEIGHTS, metadata={"format": "pt"})
    read = by_path(interop.load(foreign).network.weights)
    expected = np.asarray(halved["mid_block.attentions.0.to_v.bias"], np.float32)
    np.testing.assert_array_equal(read["middle/0/attention/query_key_value/bias"][64:], expected)
    assert all(leaf.dtype == np.float32 for leaf in read.values())


def test_files_of_pytorch_and_old_names_are_read(foreign):
    expected = interop.load(foreign)
    state, _ = parts(foreign)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        state = {re.sub(rf"(attentions\.\d\.){re.escape(new)}\.", rf"\1{name}.", key): array for key, array in state.items()}
    assert sum(".proj_attn." in key for key in state) == 8
    (foreign / WEIGHTS).unlink()
    saved(foreign / "unet" / "diffusion_pytorch_model.bin", state)
    assert interop.load(foreign).fingerprint == expected.fingerprint


def test_weights_that_do_not_fit_are_listed(foreign):
    state, _ = parts(foreign)
    moved = state.pop("mid_block.resnets.0.conv1.weight")
    state["mid_block.resnets.7.conv1.weight"], state["conv_out.bias"] = moved, np.zeros(5, np.float32)
    state["conv_in.bias"] = np.zeros(32, np.int32)
    safetensors.numpy.save_file(state, foreign / WEIGHTS)
    with pytest.raises(InputError) as caught:
        interop.load(foreign)
    assert str(caught.value) == (
        "diffusion_pytorch_model.safetensors does not match the network; arrays: 1 missing: mid_block.resnets.0.conv1.weight; "
        "1 unexpected: mid_block.resnets.7.conv1.weight; "
        "1 of wrong shape: conv_out.bias (5,) instead of (3,); "
        "1 not floating point: conv_in.bias int32"
    )


def test_a_long_list_is_cut_off(foreign):
    safetensors.numpy.save_file({"x": np.zeros(400_000, np.float32)}, foreign / WEIGHTS)
    with pytest.raises(InputError, match=r"arrays: 1\d\d missing: class_embedding.weight, .* and 1\d\d more"):
        interop.load(foreign)


def damaged(text):
    return lambda folder: (folder / "unet" / "config.json").write_text(text)


BAD = {
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "neither .*safetensors nor .*bin; it has config.json"),
    "cut off": (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]), "damaged: .*incomplete"),
    "no configuration": (lambda folder: (folder / "unet" / "config.json").unlink(), "neither unet/config.json nor config.json"),
    "no JSON": (damaged('{"sample_size": '), r"config.json is damaged: Expecting value"),
    "another JSON": (damaged("[1]"), r"config.json must hold a JSON object, got list"),
    "unknown block": (
        lambda folder: changed(folder / "unet" / "config.json", down_block_types=["DownBlock2D", "KDownBlock2D"]),
        "config.json: down_block_types has KDownBlock2D; our UNet takes DownBlock2D, ResnetDownsampleBlock2D, AttnDownBlock2D",
    ),
    "unknown schedule": (
        lambda folder: changed(folder / "scheduler" / "scheduler_config.json", beta_schedule="exp", trained_betas=None),
        "scheduler_config.json: beta_schedule is 'exp'",
    ),
}


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("of", ["folder", "foreign"])
def test_an_incomplete_folder_is_refused(fault, of, request):
    folder = request.getfixturevalue(of)
    BAD[fault][0](folder)
    with pytest.raises(InputError, match=BAD[fault][1]):
        interop.load(folder)


def test_a_header_that_is_damaged_is_refused(folder):
    state, metadata = parts(folder)
    for left, match in (
        ("{", "damaged"),
        ('{"model": {}, "weights": {}}', "the jaxdiff metadata in its header is damaged: it has no 'network'"),
    ):
        safetensors.numpy.save_file(state, folder / WEIGHTS, metadata={**metadata, "jaxdiff": left})
        with pytest.raises(InputError, match=match):
            interop.load(folder)


def test_no_code_in_a_pickle_is_run(foreign, tmp_path):
    (foreign / WEIGHTS).unlink()
    value = called(named("os", "mkdir"), str(tmp_path / "made"))
    zipped(foreign / "unet" / "diffusion_pytorch_model.bin", value, {})
    with pytest.raises(InputError, match=r"names os.mkdir, which is neither tensor nor dictionary"):
        interop.load(foreign)
    assert not (tmp_path / "made").exists() and program(value)
    zipped(foreign / "unet" / "diffusion_pytorch_model.bin", {"epoch": 3}, {})
    with pytest.raises(InputError, match=r"must hold a network's state_dict\(\)"):
        interop.load(foreign)


def test_nothing_is_overwritten_or_left_half_written(trained, folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="already exists and is not empty"):
        interop.save(folder, trained)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="process ve does not"):
        interop.save(tmp_path / "new", dataclasses.replace(trained, process=ve()))
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "rest").write_text("of a run that was cut off")
    interop.save(tmp_path / "new", trained)
    assert interop.load(tmp_path / "new").fingerprint == trained.fingerprint
    assert not (tmp_path / "new.partial").exists() and not (tmp_path / "new" / "rest").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path / 'absent'} does not exist"):
        interop.load(tmp_path / "absent")


def test_the_reader_of_runs_knows_what_must_be_imported_first(folder):
    with pytest.raises(InputError, match=r"import a model of the Hugging Face hub with `jaxdiff train import OWNER/NAME"):
        models.load(Path("hf://someone/faces"))
    with pytest.raises(InputError, match=r"diffusers folder: convert it with `jaxdiff train import .* --out RUN`"):
        models.load(folder)
