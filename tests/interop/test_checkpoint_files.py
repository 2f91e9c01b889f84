"""Checkpoints as people have them: variants, shards, averaged weights, wrappers, bare files; what is taken is said, and what
cannot be imported is refused by name."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy

import jaxdiff
from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop.state import REQUIRED
from jaxdiff.interop.state import find as find_state
from jaxdiff.process import ddpm
from jaxdiff.weight_file import named as by_path
from tests.interop.folders import CONFIG, GENDER, WEIGHTS, changed, model_of, parts
from tests.interop.test_interop_guided import ADM, theirs, weights
from tests.interop.test_interop_guided import CONFIG as GUIDED
from tests.interop.test_torch_file import Raw, called, code, named, program, saved, storage, tensor, zipped

STEM = "diffusion_pytorch_model"


def other(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights that are those of another network: each is one higher."""
    return {name: array + 1 for name, array in state.items()}


def written(file, state, **metadata):
    """A safetensors file as others write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    safetensors.flax.save_file(state, file, metadata={"format": "pt", **metadata})
    return file


def split(folder, state, *, variant: str = "", suffix: str = "safetensors", count: int = 3):
    """The weights in several files with an index, named as diffusers names them."""
    names, dotted = sorted(state), f".{variant}" if variant else ""
    files = [f"{STEM}{dotted}-{i + 1:05}-of-{count:05}.{suffix}" for i in range(count)]
    write = written if suffix == "safetensors" else saved
    for i, file in enumerate(files):
        write(folder / "unet" / file, {name: state[name] for name in names[i::count]})
    index = folder / "unet" / f"{STEM}.{suffix}.index{dotted}.json"
    placed = {name: files[i % count] for i, name in enumerate(names)}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


def halved(state) -> dict:
    return {name: jnp.asarray(array, jnp.float16) for name, array in state.items()}


def nested(file, networks: dict, **entries):
    """A file of `torch.save` with dictionaries of tensors, by name, and more."""
    storages, value = {}, dict(entries)
    for name, state in networks.items():
        value[name] = {}
        for key, array in state.items():
            storages[str(len(storages))] = array
            steps = [step // array.itemsize for step in array.strides]
            value[name][key] = tensor(storage("Float", str(len(storages) - 1), array.size), array.shape, steps)
    return zipped(file, value, storages)


@pytest.fixture
def state(foreign):
    """The weights of the folder."""
    return parts(foreign)[0]


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_the_whole_file_bit_for_bit(suffix, foreign, state):
    whole = interop.load(foreign)
    (foreign / WEIGHTS).unlink()
    split(foreign, state, suffix=suffix)
    assert interop.load(foreign).fingerprint == whole.fingerprint


@pytest.mark.parametrize("sharded", [False, True])
def test_a_variant_alone_is_taken_and_said(sharded, foreign, state):
    """Its numbers are those of half precision, exactly."""
    (foreign / WEIGHTS).unlink()
    if sharded:
        split(foreign, halved(state), variant="fp16")
    else:
        written(foreign / "unet" / f"{STEM}.fp16.safetensors", halved(state))
    model = interop.load(foreign)
    assert model.training == {"imported": "diffusers, out", "weights": "variant fp16"}
    bias = by_path(model.network.weights)["conv_in/bias"]
    np.testing.assert_array_equal(bias, state["conv_in.bias"].astype(np.float16).astype(np.float32))
    assert not np.array_equal(bias, state["conv_in.bias"])


def test_plain_weights_come_before_variants_which_can_be_chosen(foreign, state):
    plain = interop.load(foreign)
    written(foreign / "unet" / f"{STEM}.fp16.safetensors", halved(state))
    written(foreign / "unet" / f"{STEM}.non_ema.safetensors", other(state))
    assert interop.load(foreign).fingerprint == plain.fingerprint
    chosen = interop.load(foreign, variant="non_ema")
    np.testing.assert_array_equal(by_path(chosen.network.weights)["conv_in/bias"], state["conv_in.bias"] + 1)
    assert chosen.training["weights"] == "variant non_ema"
    with pytest.raises(InputError, match=r"no weights of `variant` bf16; its variants: fp16, non_ema"):
        interop.load(foreign, variant="bf16")
    (foreign / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"variants fp16, non_ema: choose one with `variant`"):
        interop.load(foreign)


def test_averaged_weights_come_before_others_which_can_be_chosen(foreign, state):
    shutil.copytree(foreign / "unet", foreign / "unet_ema")
    changed(foreign / "unet_ema" / "config.json", decay=0.999, optimization_step=7, use_ema_warmup=True)
    written(foreign / "unet_ema" / f"{STEM}.safetensors", other(state))
    averaged = interop.load(foreign)
    np.testing.assert_array_equal(by_path(averaged.network.weights)["conv_in/bias"], state["conv_in.bias"] + 1)
    assert averaged.training["weights"] == "unet_ema"
    chosen = interop.load(foreign, subfolder="unet")
    assert chosen.training["weights"] == "unet"
    np.testing.assert_array_equal(by_path(chosen.network.weights)["conv_in/bias"], state["conv_in.bias"])
    with pytest.raises(InputError, match=r"no UNet2DModel in .*out/vae; folders with a config.json: unet, unet_ema"):
        interop.load(foreign, subfolder="vae")


def test_a_checkpoint_of_a_training_run_has_the_scheduler_of_the_run(foreign):
    """As diffusers' training script lays them out: OUT/scheduler, and OUT/checkpoint-500/unet_ema without one."""
    expected = interop.load(foreign)
    (foreign / "checkpoint-500").mkdir()
    (foreign / "unet").rename(foreign / "checkpoint-500" / "unet_ema")
    for source in (foreign / "checkpoint-500", foreign / "checkpoint-500" / "unet_ema"):
        model = interop.load(source)
        assert (model.prediction, model.process.config()) == (expected.prediction, expected.process.config())
    (foreign / "checkpoint-500").rename(foreign / "step-500")
    with pytest.raises(InputError, match="has no scheduler_config.json"):
        interop.load(foreign / "step-500")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "unet."])
def test_names_that_wrappers_put_before_arrays_are_taken_off(prefix, foreign, state):
    expected = interop.load(foreign)
    written(foreign / WEIGHTS, {prefix + name: array for name, array in state.items()})
    assert interop.load(foreign).fingerprint == expected.fingerprint


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_numbers_of_each_precision_become_float32(kind, foreign, state):
    safetensors.numpy.save_file({name: array.astype(kind) for name, array in state.items()}, foreign / WEIGHTS)
    bias = by_path(interop.load(foreign).network.weights)["conv_in/bias"]
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, state["conv_in.bias"].astype(kind).astype(np.float32))


def test_two_networks_in_one_dictionary_are_told_apart_by_their_prefix(foreign, state):
    averaged = {f"ema_model.{name}": array for name, array in other(state).items()}
    both = {f"online_model.{name}": array for name, array in state.items()} | averaged | {"step": np.zeros(1, np.float32)}
    written(foreign / WEIGHTS, both)
    model = interop.load(foreign)
    np.testing.assert_array_equal(by_path(model.network.weights)["conv_in/bias"], state["conv_in.bias"] + 1)
    assert model.training["weights"] == "ema_model"
    model = interop.load(foreign, key="online_model")
    np.testing.assert_array_equal(by_path(model.network.weights)["conv_in/bias"], state["conv_in.bias"])


def test_a_network_beside_its_average_in_one_dictionary_is_taken_apart(foreign, state):
    """The network's own names have no prefix; the empty key is the file itself."""
    written(foreign / WEIGHTS, state | {f"ema.{name}": array for name, array in other(state).items()})
    for options, expected in (({}, state["conv_in.bias"] + 1), ({"key": ""}, state["conv_in.bias"])):
        np.testing.assert_array_equal(by_path(interop.load(foreign, **options).network.weights)["conv_in/bias"], expected)


@pytest.mark.parametrize(
    ("keys", "taken", "said"),
    [
        (("ema",), "ema", None),
        (("state_dict",), "state_dict", None),
        (("model", "ema"), "ema", "ema"),
        (("state_dict_ema", "state_dict"), "state_dict_ema", "state_dict_ema"),
        (("net", "cinema"), None, "net, cinema"),
        (("ema_1", "ema_2"), None, "ema_1, ema_2"),
    ],
)
def test_a_network_in_a_dictionary_is_found_and_chosen_by_its_key(keys, taken, said, foreign, state):
    """`cinema` does not say `ema`; of two that do not differ so, none is taken."""
    config = json.loads((foreign / "unet" / "config.json").read_text())
    file = foreign / "unet" / "trained.pt"
    states = {key: state if key in ("net", taken) else other(state) for key in keys}
    nested(file, states, epoch=3, optimizer={"lr": 1})
    if taken is None:
        with pytest.raises(InputError, match=f"trained.pt holds 2 networks, {said}: choose one with `key`"):
            interop.load(file)
        taken = keys[0]
        model = interop.load(file, key=taken)
    else:
        model = interop.load(file)
        assert model.training == {"imported": "diffusers, trained.pt", **({"weights": said} if said else {})}
    bias = by_path(model.network.weights)["conv_in/bias"]
    np.testing.assert_array_equal(bias, states[taken]["conv_in.bias"])
    assert config["num_class_embeds"] == len(model.conditions.attributes[0].values)
    with pytest.raises(InputError, match=rf"no network under `key` absent; its networks: {', '.join(keys)}"):
        interop.load(file, key="absent")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_bare_file_is_read_with_the_configuration_beside_it(suffix, foreign, state, tmp_path):
    folder = interop.load(foreign)
    file = foreign / "unet" / f"mine.{suffix}"
    (written if suffix == "safetensors" else saved)(file, state)
    model = interop.load(file)
    assert (model.config, model.prediction) == (folder.config, folder.prediction)
    bare = tmp_path / "elsewhere" / file.name
    bare.parent.mkdir()
    shutil.move(file, bare)
    with pytest.raises(InputError, match=r"only the weights of a UNet2DModel: put the network's config.json beside it"):
        interop.load(bare)
    shutil.copy(foreign / "unet" / "config.json", bare.parent)
    with pytest.raises(InputError, match=r"elsewhere has no scheduler_config.json: give the `process` and `prediction`"):
        interop.load(bare)
    assert interop.load(bare, process=ddpm(), prediction="eps").process.name == "ddpm_cosine"
    with pytest.raises(InputError, match="`variant` is for folders, got the file"):
        interop.load(bare, variant="fp16")
    (bare.parent / "config.json").unlink()
    with pytest.raises(InputError, match=rf"to import a file of weights, name it: {file.name}"):
        interop.load(bare.parent)


def test_guided_diffusion_is_read_from_safetensors_and_under_a_key(tmp_path):
    given = {"size": 8, "process": ddpm("linear"), "head_channels": GUIDED.head_channels}
    own = theirs(weights(GUIDED), ADM)
    plain = interop.load(saved(tmp_path / "model.pt", own), **given)
    bare = interop.load(written(tmp_path / "model.safetensors", {f"module.{n}": a for n, a in own.items()}), **given)
    held = interop.load(nested(tmp_path / "both.pt", {"model": other(own), "ema": own}), **given)
    assert held.training == {"imported": "guided-diffusion, both.pt", "weights": "ema"}
    for model in (bare, held):
        assert dataclasses.replace(model, training={}).config == plain.config
        one, two = (by_path(each.network.weights) for each in (model, plain))
        assert all(np.array_equal(one[name], two[name]) for name in two)
    with pytest.raises(InputError, match="model.safetensors contains only weights: give `size` and `process`"):
        interop.load(tmp_path / "model.safetensors")


def test_a_run_of_jaxdiff_is_read_as_it_is(trained, tmp_path):
    models.save(tmp_path / "run", trained)
    for source in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
        assert interop.load(source).fingerprint == trained.fingerprint
        with pytest.raises(InputError, match="is a model of jaxdiff, which stores `null_label` itself: leave it out"):
            interop.load(source, null_label=True)
    with pytest.raises(InputError, match="which stores `variant` itself"):
        interop.load(tmp_path / "run", variant="fp16")


def test_the_library_loads_a_folder_of_diffusers_as_it_loads_a_run(foreign, trained, tmp_path):
    models.save(tmp_path / "run", trained)
    assert jaxdiff.load(foreign).fingerprint == interop.load(foreign).fingerprint
    assert jaxdiff.load(tmp_path / "run").fingerprint == trained.fingerprint


# What is done to a folder or beside it, the source to import, and the error.
def latents(index=None, part="vae", kind="AutoencoderKL"):
    """Makes a folder that of a pipeline of latents."""

    def make(folder, state):
        if index is None:
            (folder / part).mkdir()
            (folder / part / "config.json").write_text(json.dumps({"_class_name": kind}))
        else:
            (folder / "model_index.json").write_text(json.dumps(index))

    return make


LDM = {"_class_name": "LDMPipeline", "unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]}
OWN_NAME = {"_class_name": "MyPipeline", "unet": ["diffusers", "UNet2DModel"], "decoder": ["diffusers", "AutoencoderTiny"]}


@pytest.mark.parametrize("make", [latents(LDM), latents(OWN_NAME), latents(), latents(part="vqvae")])
@pytest.mark.parametrize("source", ["", "unet", WEIGHTS])
def test_a_network_of_latents_is_not_taken_for_one_of_pixels(make, source, foreign, state):
    make(foreign, state)
    with pytest.raises(InputError, match=r"draws latents, which its (vae|vqvae|decoder) turns into images"):
        interop.load(foreign / source)


def test_a_pipeline_whose_autoencoder_is_left_out_draws_pixels(foreign, state):
    latents({**LDM, "vqvae": [None, None]})(foreign, state)
    assert interop.load(foreign).space.shape == (4, 4, 3)


def test_an_autoencoder_beside_the_folder_of_another_model_is_not_its_own(foreign, state, tmp_path):
    latents()(tmp_path, state)
    (foreign / "unet").rename(foreign / "faces")
    (foreign / "faces").rename(tmp_path / "faces")
    given = {"process": ddpm(), "prediction": "eps"}
    assert interop.load(tmp_path / "faces", **given).space.shape == (4, 4, 3)


def test_channels_that_no_image_has_are_refused_by_name(foreign):
    changed(foreign / "unet" / "config.json", in_channels=16, out_channels=16)
    with pytest.raises(InputError, match=r"in_channels is 16; jaxdiff imports networks of images, with 1 \(grey\)"):
        interop.load(foreign)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_are_what_they_are(channels, tmp_path):
    model = model_of(dataclasses.replace(CONFIG, channels=channels), (GENDER,))
    interop.save(tmp_path / "out", model)
    state, _ = parts(tmp_path / "out")
    written(tmp_path / "out" / WEIGHTS, state)
    read = interop.load(tmp_path / "out")
    assert read.shape == (4, 4, channels) and str(read.space).endswith({1: "grey", 4: "RGB and transparency"}[channels])


def eights(file, name="conv_in.weight", kind="F8_E4M3"):
    """A safetensors file of 8-bit numbers."""
    header = json.dumps({name: {"dtype": kind, "shape": [2], "data_offsets": [0, 2]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\x38\x38")


def of_edm(file):
    """The beginning of a pickle of EDM: a dictionary with an object that brings its code."""
    meta = {"type": "class", "module_src": "import os"}
    file.write_bytes(program({"ema": called(named("torch_utils.persistence", "_reconstruct_persistent_obj"), meta)}))


def eight_of_torch(file):
    """A tensor of float8, as torch writes it since 2.1."""
    dtype = named("torch", "float8_e4m3fn")
    value = called(named("torch._utils", "_rebuild_tensor_v3"), Raw(code(0)), 0, (2,), (1,), False, {}, dtype)
    zipped(file, {"conv_in.weight": value}, {})


REFUSED = {
    "float8": ("x.safetensors", eights, r"has 1 arrays of F8_E4M3, 8 bits or fewer, e.g. conv_in.weight; .* not quantised"),
    "float8 of torch": ("x.pt", eight_of_torch, r"tensors of a type such as float8, .* save them as float16 or float32"),
    "EDM": ("edm.pkl", of_edm, r"pickle of EDM, EDM2 or StyleGAN, .* nothing of it has run; convert it .* safetensors"),
    "LFS": (
        "x.safetensors",
        lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        r"is a pointer of Git LFS, not the weights: run `git lfs pull`",
    ),
    **{
        what: (
            "x.safetensors",
            lambda file, names=names: written(file, {name: np.zeros(1, np.float32) for name in names}) and None,
            f"x.safetensors holds {what}.*; jaxdiff imports networks of pixels that are a UNet2DModel or of guided-diffusion",
        )
        for what, names in {
            "a latent-diffusion model": ("model.diffusion_model.out.2.weight", "first_stage_model.decoder.conv_out.weight"),
            "a UNet with cross-attention": ("conv_in.weight", "down_blocks.0.attentions.0.transformer_blocks.0.norm1.weight"),
            "a network of EDM ": ("model.map_layer0.weight", "model.enc.64x64_conv.weight"),
            "a network of EDM2": ("unet.emb_fourier.freqs", "unet.emb_noise.weight"),
            "a network of score_sde": ("module.all_modules.0.weight",),
            "a network of denoising-diffusion-pytorch": ("model.init_conv.weight", "model.downs.0.0.mlp.1.weight"),
            "a diffusion transformer": ("x_embedder.proj.weight", "blocks.0.attn.qkv.weight"),
            "an autoencoder": ("decoder.conv_out.weight", "post_quant_conv.weight"),
        }.items()
    },
    "another network": (
        "x.safetensors",
        lambda file: written(file, {"layer.weight": np.zeros(1, np.float32)}),
        r"holds no UNet2DModel and no network of guided-diffusion; its arrays: layer.weight",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_imported_is_refused_by_name(what, tmp_path):
    name, make, message = REFUSED[what]
    make(tmp_path / name)
    with pytest.raises(InputError, match=message):
        interop.load(tmp_path / name)


FAULTY = {
    "missing shard": (lambda folder, index: next(folder.glob("unet/*-00002-of-*")).unlink(), r"00002-of-00003.* is missing"),
    "no map": (lambda folder, index: index.write_text('{"weight_map": []}'), "must have a weight_map"),
    "outside": (lambda folder, index: index.write_text('{"weight_map": {"a": "../x.bin"}}'), "which is outside its folder"),
    "lacking": (
        lambda folder, index: index.write_text(
            json.dumps({"weight_map": {"absent": f"{STEM}-00001-of-00003.safetensors", "conv_in.bias": "x"}})
        ),
        "lacks 1 arrays that .* places in it: absent|names x, which is missing",
    ),
    "no JSON": (lambda folder, index: index.write_text("{"), "index.json is damaged"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_shards_that_do_not_fit_their_index_are_refused(fault, foreign, state):
    (foreign / WEIGHTS).unlink()
    FAULTY[fault][0](foreign, split(foreign, state))
    with pytest.raises(InputError, match=FAULTY[fault][1]):
        interop.load(foreign)


def test_a_configuration_of_another_network_is_refused_before_weights_are_read(foreign):
    changed(foreign / "unet" / "config.json", _class_name="UNet2DConditionModel")
    (foreign / WEIGHTS).write_bytes(b"")
    with pytest.raises(InputError, match="config.json describes a UNet2DConditionModel; jaxdiff reads UNet2DModel"):
        interop.load(foreign)


def test_a_scheduler_that_is_not_read_can_be_replaced(foreign):
    changed(foreign / "scheduler" / "scheduler_config.json", _class_name="EDMEulerScheduler")
    with pytest.raises(InputError, match="EDMEulerScheduler, whose process is not a table of betas"):
        interop.load(foreign)
    assert interop.load(foreign, process=ddpm("linear"), prediction="eps").prediction == "eps"


def test_class_names_of_a_restored_model_stay(folder, trained):
    """A folder that was exported here and whose weights were averaged or cast elsewhere is one of others."""
    state, metadata = parts(folder)
    written(folder / "unet" / f"{STEM}.fp16.safetensors", halved(state), **metadata)
    assert interop.load(folder).fingerprint == trained.fingerprint
    assert interop.load(folder, variant="fp16").conditions.attributes == (Attribute("class", ("0", "1", "2")),)


def test_dictionaries_within_dictionaries_take_no_time():
    """Each holds the next a hundred times: a hundred million places in a few hundred bytes."""
    held = {"x": np.zeros(1)}
    for _ in range(4):
        held = {str(i): held for i in range(100)}
    with pytest.raises(InputError, match="a.pt holds more than 10,000 dictionaries"):
        find_state(held, "a.pt")
    arrays = {f"{i}.{name}": np.zeros(1) for i in range(200) for name in REQUIRED["UNet2DModel"]}
    with pytest.raises(InputError, match="holds 200 networks, more than 100"):
        find_state(arrays, "a.pt")
