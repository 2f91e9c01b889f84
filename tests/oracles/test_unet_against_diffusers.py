"""Our UNet compared with diffusers' UNet2DModel with the same weights, in both directions, and in whole runs.

Every weight is drawn at random, so that no branch of either is zero. Errors are relative to the size of the whole output.
"""

import dataclasses
import json
import logging
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from jaxdiff import interop
from jaxdiff.data import Attribute
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.interop import scheduler, unet2d, unet2d_config
from jaxdiff.model import Model, fingerprinted, image_model
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.presets import PRESETS
from jaxdiff.process import ddpm, vp_cosine
from jaxdiff.solvers import DDIM, sample
from jaxdiff.weight_file import named

FACES64 = dataclasses.replace(PRESETS["faces64"].network, size=32, attention=(16, 8, 4), blocks=1)
FACES128 = dataclasses.replace(PRESETS["faces128"].network, size=32, attention=(8, 4, 2), blocks=1, dtype="float32")
SMALL = UNetConfig(size=16, base=32, multipliers=(1, 2), blocks=1, attention=(), head_channels=32, dropout=0.0)
CONFIGS = {
    "faces64": dataclasses.replace(FACES64, values=(2,)),
    "faces128": FACES128,
    "unconditional": SMALL,
    "one head": dataclasses.replace(SMALL, attention=(16, 8), head_channels=64, values=(5,)),
    "several attributes": dataclasses.replace(SMALL, attention=(8,), values=(2, 3)),
    "sines first": dataclasses.replace(SMALL, sines_first=True, frequency_shift=1, values=(2,)),
    "grey, three levels": dataclasses.replace(SMALL, multipliers=(1, 2, 1), channels=1, blocks=2),
}
DDPM_LIKE = {
    "norm_eps": 1e-6, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "attention_head_dim": None,
    "layers_per_block": 1,
}  # fmt: skip
ADM_LIKE = {
    "resnet_time_scale_shift": "scale_shift", "downsample_type": "resnet", "upsample_type": "resnet", "attention_head_dim": 32,
    "attn_norm_num_groups": 32, "layers_per_block": 1,
}  # fmt: skip
THEIRS = {
    "cifar10": {
        **DDPM_LIKE, "sample_size": 16, "block_out_channels": (32, 64, 64, 64),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "celebahq": {
        **DDPM_LIKE, "sample_size": 32, "block_out_channels": (32, 32, 64, 64, 96, 96),
        "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    },
    "their defaults, fewer groups": {
        "sample_size": 16, "block_out_channels": (16, 24), "norm_num_groups": 8, "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    },
    "adm": {
        **ADM_LIKE, "sample_size": 16, "block_out_channels": (32, 64, 64), "num_class_embeds": 10,
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    },
    "adm, as its names suggest": {
        **ADM_LIKE, "sample_size": 16, "block_out_channels": (32, 64, 64), "attn_norm_num_groups": None, "num_class_embeds": 3,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "no attention": {
        **ADM_LIKE, "sample_size": 8, "block_out_channels": (32, 32), "add_attention": False, "in_channels": 1,
        "out_channels": 1, "down_block_types": ("ResnetDownsampleBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2,
    },
}  # fmt: skip
# those with settings that change nothing, which come back as ours would be
WITH_IDLE_SETTINGS = ("adm, as its names suggest", "no attention")
# without it diffusers complains that accelerate is not installed
QUIETLY = {"low_cpu_mem_usage": False}
SCHEDULERS = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "sigmoid": {"beta_schedule": "sigmoid"},
    "zero terminal SNR": {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    "x0, 100 timesteps": {"num_train_timesteps": 100, "prediction_type": "sample"},
}


def drawn(config: UNetConfig, seed: int = 0) -> Network:
    """A network with every weight drawn: kernels so that activations keep their size, scales around 1."""
    made, rng = jax.eval_shape(partial(unet, config), jax.random.key(0)), np.random.default_rng(seed)
    draws = {name: draw(name, leaf.shape, np.prod(leaf.shape[:-1]), rng) for name, leaf in named(made.weights).items()}
    tree = jax.tree.structure(made.weights)
    return Network(jax.tree.unflatten(tree, [jnp.asarray(value) for value in draws.values()]), made.structure)


def draw(name: str, shape: tuple[int, ...], fan_in: float, rng) -> np.ndarray:
    """A weight."""
    normal = rng.standard_normal(shape)
    if len(shape) == 1:
        return (("norm" in name and name.endswith(("scale", "weight"))) + 0.3 * normal).astype(np.float32)
    return (normal if "label" in name or "class" in name else normal / np.sqrt(fan_in)).astype(np.float32)


def random_model(settings, seed: int = 1) -> UNet2DModel:
    """A UNet2DModel with every weight drawn."""
    model, rng = UNet2DModel(**settings), np.random.default_rng(seed)
    state = model.state_dict()
    drawn = {name: draw(name, tuple(w.shape), np.prod(w.shape[1:]), rng) for name, w in state.items()}
    model.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()}, strict=True)
    return model.eval()


def theirs(config: UNetConfig, network: Network) -> UNet2DModel:
    """The UNet2DModel of an exported network."""
    settings, state = unet2d.exported(config, network)
    model = UNet2DModel(**{key: value for key, value in settings.items() if not key.startswith("_")})
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    return model.eval()


@pytest.fixture
def complaints():
    """What diffusers logs as a warning or worse."""
    logger, heard = logging.getLogger("diffusers"), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())
    logger.addHandler(handler)
    yield heard
    logger.removeHandler(handler)


def to_theirs(x) -> "torch.Tensor":
    """NHWC as NCHW."""
    return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2).contiguous()


def to_ours(x) -> np.ndarray:
    """NCHW as NHWC."""
    return x.permute(0, 2, 3, 1).numpy()


def relative(ours, expected) -> float:
    """The size of the difference beside that of what is expected."""
    assert np.std(expected) > 0.1
    return float(np.linalg.norm(np.asarray(ours) - expected) / np.linalg.norm(expected))


apply = jax.jit(Network.__call__)


@pytest.mark.parametrize("name", CONFIGS)
def test_unet2dmodel_computes_what_our_network_does(name, rng):
    config = CONFIGS[name]
    network = drawn(config)
    x = rng.standard_normal((3, config.size, config.size, config.channels)).astype(np.float32)
    timestep = np.asarray([0, 511, 999])
    labels = classes = None
    if config.values:
        labels = np.stack([rng.integers(-1, count, 3) for count in config.values], 1)
        labels[0] = -1
        places = [np.where(labels[:, i] < 0, count, labels[:, i]) for i, count in enumerate(config.values)]
        classes = torch.from_numpy(np.ravel_multi_index(places, [count + 1 for count in config.values]))
    ours = apply(network, x, jnp.asarray((timestep + 1) / 1000, jnp.float32), labels)
    with torch.no_grad():
        expected = to_ours(theirs(config, network)(to_theirs(x), torch.from_numpy(timestep), classes).sample)
    assert relative(ours, expected) < 1e-5


@pytest.mark.parametrize("name", THEIRS)
def test_a_unet2dmodel_runs_here_and_is_exported_unchanged(name, rng, tmp_path, complaints):
    model = random_model(THEIRS[name])
    model.save_pretrained(tmp_path / "there" / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "there" / "scheduler")
    ours = interop.load(tmp_path / "there")
    size, channels = model.config.sample_size, model.config.in_channels
    x = rng.standard_normal((3, size, size, channels)).astype(np.float32)
    timestep, classes = np.asarray([0, 511, 999]), model.config.num_class_embeds
    assert [(each.name, len(each.values)) for each in ours.conditions.attributes] == ([("class", classes)] if classes else [])
    labels = rng.integers(0, classes, 3) if classes else None
    given = apply(ours.network, x, jnp.asarray((timestep + 1) / 1000, jnp.float32), labels)
    with torch.no_grad():
        classes = None if labels is None else torch.from_numpy(labels)
        expected = to_ours(model(to_theirs(x), torch.from_numpy(timestep), classes).sample)
    assert relative(given, expected) < 1e-5

    interop.save(tmp_path / "back", ours)
    again = UNet2DModel.from_pretrained(tmp_path / "back", subfolder="unet", **QUIETLY)
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    before, after = ({key: value for key, value in each.config.items() if key[0] != "_"} for each in (model, again))
    assert unet2d_config.read(before) == unet2d_config.read(after)
    written = [json.dumps(each, sort_keys=True) for each in (before, after)]
    assert (written[0] == written[1]) == (name not in WITH_IDLE_SETTINGS)
    assert complaints == []


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_table_of_a_scheduler_is_the_process(name):
    theirs = DDPMScheduler(**SCHEDULERS[name])
    process, prediction = scheduler.read(theirs.config)
    count = theirs.config.num_train_timesteps
    alpha = np.asarray(process.alpha((np.arange(count) + 1) / count))
    np.testing.assert_allclose(alpha[:-1] ** 2, theirs.alphas_cumprod.numpy()[:-1], rtol=2e-4)
    assert scheduler.PREDICTIONS[theirs.config.prediction_type] == prediction
    # and back: floats that diffusers reads as its own
    again = DDIMScheduler.from_config(scheduler.written(process, prediction, count))
    np.testing.assert_allclose(again.alphas_cumprod, theirs.alphas_cumprod, rtol=2e-4, atol=1e-7)
    assert again.config.prediction_type == theirs.config.prediction_type


def started(model: Model, denoise, condition=None, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The noise that a run of DDIM began with, and what it led to."""
    path = sample(
        denoise, model.process, shape=model.shape, solver=DDIM(50), key=jax.random.key(3), condition=condition,
        indices=np.arange(count), path=True,
    )  # fmt: skip
    return np.asarray(path[0]), np.asarray(path[-1])


def by_diffusers(network, scheduler, noise: np.ndarray, labels=None, **options) -> np.ndarray:
    """A run of fifty steps of a scheduler."""
    scheduler.set_timesteps(50)
    x = to_theirs(noise)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t, labels).sample, t, x, **options).prev_sample
    return to_ours(x)


@pytest.mark.parametrize(
    ("network", "name", "clipped"),
    [("cifar10", "linear", False), ("adm", "zero terminal SNR", True), ("celebahq", "x0, 100 timesteps", False)],
)
def test_fifty_steps_of_ddim_lead_to_the_same_images(network, name, clipped, tmp_path):
    model = random_model(THEIRS[network])
    model.save_pretrained(tmp_path / "unet")
    settings = {"timestep_spacing": "trailing", "clip_sample": clipped, **SCHEDULERS[name]}
    DDIMScheduler(**settings).save_pretrained(tmp_path / "scheduler")
    ours = interop.load(tmp_path)
    denoise = ours.denoise if clipped else NetworkDenoiser(ours.network, ours.process, ours.prediction)
    labels = np.asarray([7, 2]) if ours.conditions.attributes else None
    noise, drawn = started(ours, denoise, labels)
    there = DDIMScheduler.from_pretrained(tmp_path / "scheduler")
    classes = None if labels is None else torch.from_numpy(labels)
    # diffusers leaves eps as it was where it clips x0, by default
    assert relative(drawn, by_diffusers(model, there, noise, classes, use_clipped_model_output=clipped)) < 1e-4


@pytest.mark.parametrize(("values", "process"), [((), ddpm("cosine")), ((2, 3), vp_cosine())])
def test_a_model_trained_here_is_a_pipeline_there(values, process, tmp_path, complaints):
    config = dataclasses.replace(SMALL, size=8, attention=(8,), dropout=0.1, values=values)
    attributes = tuple(Attribute(f"a{i}", tuple(map(str, range(count)))) for i, count in enumerate(values))
    model = fingerprinted(image_model(config, drawn(config), process, "v", attributes, {"step": 7}))
    interop.save(tmp_path / "out", model)
    condition = np.asarray([[1, 2], [-1, 0]]) if values else None
    noise, here = started(model, NetworkDenoiser(model.network, model.process, "v"), condition)
    network = UNet2DModel.from_pretrained(tmp_path / "out", subfolder="unet", **QUIETLY)
    there = DDIMScheduler.from_pretrained(tmp_path / "out", subfolder="scheduler", clip_sample=False)
    labels = torch.tensor([1 * 4 + 2, 2 * 4 + 0]) if values else None
    assert relative(here, by_diffusers(network, there, noise, labels)) < 1e-4
    if not values:
        for kind in (DDIMPipeline, DDPMPipeline):
            pipeline = kind.from_pretrained(tmp_path / "out", **QUIETLY)
            pipeline.set_progress_bar_config(disable=True)
            images = pipeline(batch_size=2, num_inference_steps=2, output_type="np").images
            assert images.shape == (2, 8, 8, 3) and np.isfinite(images).all()
    assert complaints == []


def halved(model: UNet2DModel, dtype) -> UNet2DModel:
    """The same network with rounded weights."""
    rounded = UNet2DModel(**{key: value for key, value in model.config.items() if key[0] != "_"})
    rounded.load_state_dict(model.state_dict())
    return rounded.to(dtype)


# How diffusers writes a network: the options of `save_pretrained`, of `from_pretrained`, and the type of its numbers.
SAVED = {
    "one file": ({}, {}, None),
    "one .bin": ({"safe_serialization": False}, {}, None),
    "shards": ({"max_shard_size": "300KB"}, {}, None),
    "shards of .bin": ({"max_shard_size": "300KB", "safe_serialization": False}, {"use_safetensors": False}, None),
    "half precision": ({"variant": "fp16"}, {"variant": "fp16"}, torch.float16),
    "half precision, .bin": ({"variant": "fp16", "safe_serialization": False}, {"variant": "fp16"}, torch.float16),
    "half precision, shards": ({"variant": "fp16", "max_shard_size": "200KB"}, {"variant": "fp16"}, torch.float16),
    "bfloat16 in the plain file": ({}, {}, torch.bfloat16),
    "double precision": ({}, {}, torch.float64),
}


@pytest.mark.parametrize("how", SAVED)
def test_weights_are_those_that_diffusers_wrote(how, rng, tmp_path, complaints):
    """Bit for bit, as float32; and so is what the network computes that diffusers itself reads from the same files."""
    saving, loading, dtype = SAVED[how]
    model = random_model(THEIRS["adm"])
    written = model if dtype is None else halved(model, dtype)
    written.save_pretrained(tmp_path / "unet", **saving)
    files = [each.name for each in (tmp_path / "unet").iterdir()]
    assert (len(files) > 3) == ("shards" in how) and any("fp16" in file for file in files) == ("half" in how)
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    ours = interop.load(tmp_path)
    expected = unet2d.imported(ours.config, {name: weight.float().numpy() for name, weight in written.state_dict().items()})
    one, other = named(ours.network.weights), named(expected.weights)
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    assert ours.training.get("weights") == ("variant fp16" if "half" in how else None)

    there = UNet2DModel.from_pretrained(tmp_path, subfolder="unet", **loading, **QUIETLY).float()
    x, timestep = rng.standard_normal((2, 16, 16, 3)).astype(np.float32), np.asarray([3, 800])
    given = apply(ours.network, x, jnp.asarray((timestep + 1) / 1000, jnp.float32), np.asarray([7, 2]))
    with torch.no_grad():
        out = there(to_theirs(x), torch.from_numpy(timestep), torch.tensor([7, 2])).sample
    assert relative(given, to_ours(out)) < 1e-5


def test_averaged_weights_are_those_of_their_training_script(tmp_path, complaints):
    """`EMAModel` writes `unet_ema` beside `unet`, with settings of its own in the `config.json`."""
    from diffusers.training_utils import EMAModel

    first, last = random_model(THEIRS["no attention"], 1), random_model(THEIRS["no attention"], 2)
    averaged = EMAModel(first.parameters(), decay=0.5, model_cls=UNet2DModel, model_config=first.config)
    averaged.step(last.parameters())
    checkpoint = tmp_path / "checkpoint-500"
    first.save_pretrained(checkpoint / "unet")
    averaged.save_pretrained(checkpoint / "unet_ema")
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    for options, name in (({}, "unet_ema"), ({"subfolder": "unet"}, "unet")):
        model = UNet2DModel.from_pretrained(checkpoint, subfolder=name, **QUIETLY)
        ours = interop.load(checkpoint, **options)
        expected = unet2d.imported(ours.config, {name: weight.numpy() for name, weight in model.state_dict().items()})
        one, other = named(ours.network.weights), named(expected.weights)
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_what_torch_saves_of_a_training_run_is_read(tmp_path):
    """`torch.save` of the network, its average, and wrappers around them, with an optimizer that holds no network."""
    model, average = random_model(THEIRS["no attention"], 1), random_model(THEIRS["no attention"], 2)
    model.save_pretrained(tmp_path)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 1, 8, 8), 3).sample.sum().backward()
    optimizer.step()
    wrapped = torch.nn.DataParallel(model).state_dict()
    saved = {"step": 3, "optimizer": optimizer.state_dict(), "model": wrapped, "ema": average.state_dict()}
    for legacy in (False, True):
        torch.save(saved, tmp_path / "run.pt", _use_new_zipfile_serialization=not legacy)
        for options, expected in (({}, average), ({"key": "model"}, model)):
            ours = interop.load(tmp_path / "run.pt", process=ddpm("linear"), prediction="eps", **options)
            network = unet2d.imported(ours.config, {name: weight.numpy() for name, weight in expected.state_dict().items()})
            one, other = named(ours.network.weights), named(network.weights)
            assert all(np.array_equal(one[name], other[name]) for name in one)


def test_float8_that_torch_saves_is_refused_by_name(tmp_path):
    from safetensors.torch import save_file

    state = {"conv_in.weight": torch.zeros(4).to(torch.float8_e4m3fn)}
    torch.save(state, tmp_path / "x.pt")
    save_file(state, tmp_path / "x.safetensors")
    for name, message in (("x.pt", "of a type such as float8"), ("x.safetensors", "1 arrays of F8_E4M3, 8 bits or fewer")):
        with pytest.raises(InputError, match=message):
            interop.load(tmp_path / name)
