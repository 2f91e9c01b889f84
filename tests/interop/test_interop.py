"""Conversion of networks and processes to diffusers and back: names, layouts, settings, and what has no counterpart."""

import dataclasses
import json
from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.interop import scheduler, unet2d, unet2d_config
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.layers import sinusoids
from jaxdiff.models.network import Network, unet
from jaxdiff.process import ddpm, ddpm_betas, flow, from_config, ve, vp_cosine, vp_linear
from jaxdiff.solvers import SOLVERS
from jaxdiff.weight_file import named

CONFIG = UNetConfig(size=8, base=32, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=32, dropout=0.0, values=(2,))
DDPM = dataclasses.replace(
    CONFIG, multipliers=(1, 1.5), groups=16, epsilon=1e-6, embedding="shift", downsampling="convolution",
    upsampling="convolution", time_offset=-1, sines_first=True, frequency_shift=1, head_channels=48, values=(),
)  # fmt: skip


@cache
def drawn(config: UNetConfig) -> Network:
    """A network with every weight drawn."""
    rng, abstract = np.random.default_rng(7), jax.eval_shape(partial(unet, config), jax.random.key(0))
    weights = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32), abstract.weights)
    return Network(weights, abstract.structure)


def residual(path: str, inputs: int, outputs: int, time: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a residual block of PyTorch's."""
    layers = {
        "norm1": (inputs,), "conv1": (outputs, inputs, 3, 3), "time_emb_proj": (time, 128), "norm2": (outputs,),
        "conv2": (outputs, outputs, 3, 3), **({"conv_shortcut": (outputs, inputs, 1, 1)} if inputs != outputs else {}),
    }  # fmt: skip
    return {f"{path}.{name}": shape for name, shape in layers.items()}


def attention(path: str, channels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of an attention of PyTorch's."""
    square = (channels, channels)
    return {f"{path}.group_norm": (channels,), **{f"{path}.{name}": square for name in ("to_q", "to_k", "to_v", "to_out.0")}}


def ends(time_in: int, out: int) -> dict[str, tuple[int, ...]]:
    """The shapes of what stands around the blocks."""
    return {
        "conv_in": (32, 3, 3, 3), "time_embedding.linear_1": (128, time_in), "time_embedding.linear_2": (128, 128),
        "conv_norm_out": (out,), "conv_out": (3, out, 3, 3),
    }  # fmt: skip


ADM_SHAPES = {
    **ends(32, 32),
    **residual("down_blocks.0.resnets.0", 32, 32, 64),
    **residual("down_blocks.0.downsamplers.0", 32, 32, 64),
    **residual("down_blocks.1.resnets.0", 32, 64, 128),
    **attention("down_blocks.1.attentions.0", 64),
    **residual("mid_block.resnets.0", 64, 64, 128),
    **attention("mid_block.attentions.0", 64),
    **residual("mid_block.resnets.1", 64, 64, 128),
    **residual("up_blocks.0.resnets.0", 128, 64, 128),
    **attention("up_blocks.0.attentions.0", 64),
    **residual("up_blocks.0.resnets.1", 96, 64, 128),
    **attention("up_blocks.0.attentions.1", 64),
    **residual("up_blocks.0.upsamplers.0", 64, 64, 128),
    **residual("up_blocks.1.resnets.0", 96, 32, 64),
    **residual("up_blocks.1.resnets.1", 64, 32, 64),
}
DDPM_SHAPES = {
    **ends(32, 32),
    **residual("down_blocks.0.resnets.0", 32, 32, 32),
    "down_blocks.0.downsamplers.0.conv": (32, 32, 3, 3),
    **residual("down_blocks.1.resnets.0", 32, 48, 48),
    **attention("down_blocks.1.attentions.0", 48),
    **residual("mid_block.resnets.0", 48, 48, 48),
    **attention("mid_block.attentions.0", 48),
    **residual("mid_block.resnets.1", 48, 48, 48),
    **residual("up_blocks.0.resnets.0", 96, 48, 48),
    **attention("up_blocks.0.attentions.0", 48),
    **residual("up_blocks.0.resnets.1", 80, 48, 48),
    **attention("up_blocks.0.attentions.1", 48),
    "up_blocks.0.upsamplers.0.conv": (48, 48, 3, 3),
    **residual("up_blocks.1.resnets.0", 80, 32, 32),
    **residual("up_blocks.1.resnets.1", 64, 32, 32),
}


@pytest.mark.parametrize(
    ("config", "layers", "more"),
    [(CONFIG, ADM_SHAPES, {"class_embedding.weight": (3, 128)}), (DDPM, DDPM_SHAPES, {})],
    ids=["adm", "ddpm"],
)
def test_names_and_shapes_are_those_of_pytorch(config, layers, more):
    expected = {f"{name}.weight": shape for name, shape in layers.items()} | more
    expected |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    _, state = unet2d.exported(config, drawn(config))
    assert {name: array.shape for name, array in state.items()} == expected
    assert all(array.flags.writeable and array.flags.owndata and array.dtype == np.float32 for array in state.values())


def test_layouts_are_those_of_pytorch():
    """out = sum over inputs: of a convolution (O, I, H, W), of a dense layer (O, I), and of one projection three."""
    own, (_, state) = {name: np.asarray(leaf) for name, leaf in named(drawn(DDPM).weights).items()}, exported(DDPM)
    kernel, weight = own["down/0/residual/conv_in/kernel"], state["down_blocks.0.resnets.0.conv1.weight"]
    assert weight[5, 3, 0, 2] == kernel[0, 2, 3, 5]
    assert state["time_embedding.linear_2.weight"][9, 4] == own["time_out/kernel"][4, 9]
    joint, where = own["down/2/attention/query_key_value/kernel"][0, 0], "down_blocks.1.attentions.0"
    for place, name in enumerate(("to_q", "to_k", "to_v")):
        assert state[f"{where}.{name}.weight"][7, 2] == joint[2, 48 * place + 7]
        assert state[f"{where}.{name}.bias"][7] == own["down/2/attention/query_key_value/bias"][48 * place + 7]
    assert state[f"{where}.to_out.0.weight"][7, 2] == own["down/2/attention/out/kernel"][0, 0, 2, 7]
    assert state["conv_norm_out.weight"][3] == own["norm_out/scale"][3]


def exported(config: UNetConfig):
    return unet2d.exported(config, drawn(config))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"sines_first": True, "frequency_shift": 1},
        {"time_offset": -0.25},
    ],
    ids=str,
)
def test_the_weights_of_the_time_embedding_take_timesteps(changed):
    """W' sinusoids(i) = W sinusoids(i + 1 + offset)."""
    config = dataclasses.replace(CONFIG, **changed)
    _, state = exported(config)
    own = np.asarray(named(drawn(config).weights)["time_in/kernel"], np.float64)
    timestep = np.asarray([0.0, 1, 37, 999])
    how = {"shift": config.frequency_shift, "sines_first": config.sines_first}
    read = lambda position: np.asarray(sinusoids(jnp.asarray(position, jnp.float32), 32, **how), np.float64)  # noqa: E731
    expected = read(timestep + 1 + config.time_offset) @ own
    np.testing.assert_allclose(read(timestep) @ state["time_embedding.linear_1.weight"].T, expected, atol=2e-3)
    assert np.abs(read(timestep) @ own - expected).max() > 0.1


def test_several_attributes_are_all_their_combinations():
    config = dataclasses.replace(CONFIG, values=(2, 3))
    table, rows = exported(config)[1]["class_embedding.weight"], np.asarray(drawn(config).weights["label_table"][...])
    assert table.shape == (12, 128)
    for first in range(3):
        for second in range(4):
            place = np.ravel_multi_index((first, second), (3, 4))
            np.testing.assert_allclose(table[place], rows[first] + rows[3 + second], rtol=1e-6, atol=1e-6)


# --- back ---


RESAMPLINGS, EMBEDDINGS, LABELS = (
    ("convolution", "centred_convolution", "residual"), ("shift", "scale_shift"), (((), True), ((4,), False), ((4,), True)),
)  # fmt: skip


def restored():
    """Every network; `make test` has each choice beside each of the two others' in turn."""
    for (i, resampling), (j, embedding), (k, labels) in product(*map(enumerate, (RESAMPLINGS, EMBEDDINGS, LABELS))):
        yield pytest.param(resampling, embedding, *labels, marks=[] if (i + j + k) % 3 == 0 else pytest.mark.slow)


@pytest.mark.parametrize(("resampling", "embedding", "values", "null_label"), list(restored()))
def test_a_network_with_timesteps_is_restored_bit_for_bit(resampling, embedding, values, null_label):
    config = dataclasses.replace(
        DDPM, downsampling=resampling, upsampling="residual" if resampling == "residual" else "convolution",
        embedding=embedding, values=values, null_label=null_label,
    )  # fmt: skip
    settings, state = exported(config)
    read = unet2d_config.read(json.loads(json.dumps(settings)), null_label=null_label and values != ())
    assert read == config
    back, own = (named(network.weights) for network in (unet2d.imported(read, state), drawn(config)))
    assert back.keys() == own.keys()
    assert all(np.asarray(back[name]).tobytes() == np.asarray(own[name]).tobytes() for name in own)
    again = unet2d.exported(read, unet2d.imported(read, state))
    assert again[0] == settings
    assert all(again[1][name].tobytes() == state[name].tobytes() for name in state)


ADM_JSON = {
    "_class_name": "UNet2DModel", "sample_size": 64, "block_out_channels": [192, 384, 576, 768], "layers_per_block": 3,
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "downsample_type": "resnet", "upsample_type": "resnet", "attention_head_dim": 64, "attn_norm_num_groups": 32,
    "num_class_embeds": 1000, "resnet_time_scale_shift": "scale_shift",
}  # fmt: skip
CIFAR_JSON = {
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256], "center_input_sample": False, "downsample_padding": 0,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"], "flip_sin_to_cos": False,
    "freq_shift": 1, "in_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-6,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 32, "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip


def test_the_published_configurations_are_read():
    cifar = UNetConfig(
        size=32, base=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(16,), head_channels=256, dropout=0.0, epsilon=1e-6,
        embedding="shift", downsampling="convolution", upsampling="convolution", time_offset=-1, sines_first=True,
        frequency_shift=1,
    )  # fmt: skip
    assert unet2d_config.read(CIFAR_JSON) == cifar
    imagenet = UNetConfig(
        size=64, base=192, multipliers=(1, 2, 3, 4), blocks=3, attention=(32, 16, 8), head_channels=64, dropout=0.0,
        time_offset=-1, values=(1000,), null_label=False,
    )  # fmt: skip
    assert unet2d_config.read(ADM_JSON) == imagenet
    assert unet2d_config.read(ADM_JSON, null_label=True) == dataclasses.replace(imagenet, values=(999,), null_label=True)
    mixed = {**ADM_JSON, "down_block_types": ["DownBlock2D", *ADM_JSON["down_block_types"][1:]], "attn_norm_num_groups": None}
    assert unet2d_config.read({**mixed, "decay": 0.999, "_name_or_path": "there"}) == dataclasses.replace(
        imagenet, downsampling=("centred_convolution", "residual", "residual"), middle_attention="plain"
    )
    assert unet2d_config.read({**CIFAR_JSON, "sample_size": None}, size=64, timesteps=500) == dataclasses.replace(
        cifar, size=64, attention=(32,), timesteps=500
    )


def test_images_that_are_not_square_are_read_and_written():
    read = unet2d_config.read({**CIFAR_JSON, "sample_size": [24, 40], "in_channels": 1, "out_channels": 1})
    assert (read.shape, read.resolutions, read.attention) == ((24, 40, 1), (24, 12, 6, 3), (12,))
    written = unet2d_config.written(read, {128, 256}, None)
    assert (written["sample_size"], written["in_channels"]) == ([24, 40], 1)
    assert unet2d_config.read(written) == read
    assert unet2d_config.read({**CIFAR_JSON, "sample_size": None}, size=(16, 32)).shape == (16, 32, 3)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "describes a UNet2DConditionModel; jaxdiff reads UNet2DModel"),
        (
            {"down_block_types": ["DownBlock2D", "AttnSkipDownBlock2D"] * 2},
            "AttnSkipDownBlock2D; our UNet takes DownBlock2D",
        ),
        ({"up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"] * 2}, "up_block_types has CrossAttnUpBlock2D"),
        ({"up_block_types": ["UpBlock2D"] * 4}, "attention at different levels"),
        ({"up_block_types": ["UpBlock2D"] * 3}, "up_block_types has 3 blocks, block_out_channels 4"),
        ({"encoder_hid_dim": 4, "addition": 1}, "settings that UNet2DModel lacks: addition, encoder_hid_dim"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type is 'fourier'; our UNet takes 'positional'"),
        ({"mid_block_type": None}, "mid_block_type is None"),
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
        ({"act_fn": "gelu"}, "act_fn is 'gelu'; our UNet takes 'silu' or 'swish'"),
        ({"downsample_type": "avg"}, "downsample_type is 'avg'; our UNet takes 'conv' or 'resnet'"),
        ({"out_channels": 6}, "in_channels 3 must be out_channels 6"),
        ({"sample_size": None}, "sample_size None: give the height and width"),
        ({"sample_size": [32, 64, 3]}, r"sample_size \[32, 64, 3\]: give the height and width"),
        ({"attention_head_dim": 96}, r"attention_head_dim 96 does not divide the \[256\] channels"),
        ({"norm_num_groups": 24}, r"norm_num_groups 24 does not divide block_out_channels"),
        ({"attn_norm_num_groups": 16}, "attn_norm_num_groups is 16; our UNet takes norm_num_groups, 32"),
        ({"time_embedding_dim": 100}, "time_embedding_dim is 100; our UNet takes 512"),
        (
            {"block_out_channels": "wide"},
            "block_out_channels must be a list of at most 16 whole numbers from 1 to 65,536, got 'wide'",
        ),
        ({"norm_eps": "1e-6"}, "norm_eps must be a finite number, got '1e-6'"),
        ({"sample_size": 36}, r"`size` \(=36\) must be divisible by 8"),
    ],
)
def test_an_unsupported_configuration_is_refused(changed, match):
    with pytest.raises(InputError, match=match):
        unet2d_config.read({**CIFAR_JSON, **changed}, name="config.json")
    with pytest.raises(InputError, match="at least two class embeddings"):
        unet2d_config.read(CIFAR_JSON, null_label=True)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"stem": 2, "attention": ()}, "no space-to-depth stem: `stem` must be 1, got 2"),
        ({"multipliers": (2, 2)}, "`multipliers` must begin with 1, got 2"),
        ({"base": 48}, "one number of groups .* 16 at 48 channels, 32 at 96 channels"),
        (
            {"head_channels": 64, "multipliers": (1, 4), "attention": (8,)},
            r"heads of \[32, 64\] channels at the widths",
        ),
        ({"middle_attention": "plain", "embedding": "shift"}, "`embedding` is shift"),
        (
            {"multipliers": (1, 1, 1), "attention": (), "downsampling": ("convolution", "centred_convolution")},
            "pads all its convolutions alike",
        ),
        (
            {"multipliers": (1, 1, 1), "attention": (8, 4), "downsampling": ("convolution", "residual")},
            "one kind of `downsampling` for all levels with attention",
        ),
    ],
)
def test_what_unet2dmodel_lacks_is_named(changed, match):
    config = dataclasses.replace(CONFIG, **changed)
    with pytest.raises(InputError, match=match):
        exported(config)


# --- processes ---


@pytest.mark.parametrize(
    ("process", "prediction"),
    [
        (ddpm("linear"), "eps"),
        (ddpm("scaled_linear"), "v"),
        (ddpm("cosine"), "x0"),
        (ddpm("linear", 500), "eps"),
        (ddpm("cosine", zero_terminal_snr=True), "v"),
        (ddpm_betas(np.linspace(0.001, 0.03, 40).tolist()), "eps"),
        (ddpm_betas([0.5, 0.25, 0.5], True), "v"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.name}-{value.timesteps}",
)
def test_a_table_is_written_to_a_scheduler_and_read_back(process, prediction):
    there = json.loads(json.dumps(scheduler.written(process, prediction, process.timesteps)))
    back, predicted = scheduler.read(there)
    assert (back.config(), predicted) == (process.config(), prediction)
    np.testing.assert_array_equal(from_config(json.loads(json.dumps(back.config()))).coefficients, process.coefficients)


@pytest.mark.parametrize("process", [vp_linear(), vp_cosine(), ddpm("cosine", 250)], ids=lambda process: process.name)
def test_another_process_is_written_as_its_betas(process):
    """abar at the nodes is the process's."""
    betas = np.asarray(scheduler.written(process, "eps", 1000)["trained_betas"])
    abar = np.cumprod(1 - betas)
    expected = np.exp(2 * np.asarray(process.log_alpha(np.arange(1, 1001) / 1000), np.float64))
    np.testing.assert_allclose(abar, expected, rtol=1e-5)
    np.testing.assert_allclose(scheduler.read({"trained_betas": betas.tolist()})[0].alpha(0.5), process.alpha(0.5), rtol=1e-5)


def test_custom_betas_are_a_table():
    betas = [0.1, 0.2, 0.4]
    process = ddpm_betas(betas)
    assert process.timesteps == 3
    np.testing.assert_allclose(process.alpha(np.arange(4) / 3) ** 2, [1, 0.9, 0.72, 0.432], rtol=1e-6)
    with pytest.raises(InputError, match=r"`betas` above 0 and below 1, got 2 in \(0.1,\) .. \(1.0,\)"):
        ddpm_betas([0.1, 1.0])
    with pytest.raises(InputError, match="got 0 in"):
        ddpm_betas([])


@pytest.mark.parametrize(
    ("given", "process", "prediction"),
    [
        ({}, ddpm("linear"), "eps"),
        ({"predict_epsilon": False}, ddpm("linear"), "x0"),
        ({"_class_name": "PNDMScheduler", "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "leading"}, ddpm(), "eps"),
        ({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}, ddpm("scaled_linear"), "eps"),
        ({"num_train_timesteps": 500}, ddpm_betas(np.linspace(1e-4, 0.02, 500).tolist()), "eps"),
    ],
    ids=str,
)
def test_defaults_of_a_scheduler_are_those_of_diffusers(given, process, prediction):
    read, predicted = scheduler.read(given)
    assert (read.config(), predicted) == (process.config(), prediction)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler, whose process is not a table of betas; jaxdiff reads DDIM"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow'; jaxdiff reads epsilon, v_prediction, sample"),
        ({"beta_schedule": "laplace"}, "beta_schedule is 'laplace'; jaxdiff reads linear, scaled_linear"),
        ({"num_train_timesteps": "many"}, "num_train_timesteps, a whole number .* got 'many'"),
        ({"beta_end": 2.0}, "beta_end < 1, got 0.0001 and 2.0"),
        ({"trained_betas": ["a"]}, "trained_betas must be a list of numbers"),
    ],
)
def test_an_unsupported_scheduler_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        scheduler.read(given)


STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("solver", "first", "last", "end"),
    [
        ("ddim", [951, 901, 851], [51, 1], 0),
        ("ddpm", [951, 901, 851], [51, 1], -1),
        ("dpm_solver", [999, 949, 899], [100, 50], -1),
        ("unipc", [999, 949, 899], [100, 50], -1),
        ("heun", [999, 946.4211, 893.8421], [52.5789, 0], -1),
    ],
)
def test_one_file_of_a_scheduler_gives_each_sampler_its_own_timesteps(solver, first, last, end):
    """20 steps of Stable Diffusion 1; those of diffusers, where -1 is the data and 0 the first timestep."""
    process, _ = scheduler.read(STABLE_DIFFUSION)
    timesteps = 1000 * SOLVERS[solver](20, **scheduler.grids(STABLE_DIFFUSION)[solver]).times(process) - 1
    np.testing.assert_allclose(timesteps, [*timesteps[:20], end], atol=1e-3)
    np.testing.assert_allclose(timesteps[:3], first, atol=1e-3)
    np.testing.assert_allclose(timesteps[-3:-1], last, atol=1e-3)


def test_a_scheduler_that_steps_in_sigma_gives_ddim_the_grid_of_euler():
    euler = {**STABLE_DIFFUSION, "_class_name": "EulerDiscreteScheduler"}
    assert scheduler.grids(euler)["ddim"] == {"spacing": "linspace_exact"}
    assert scheduler.grids({**euler, "timestep_spacing": "leading"})["ddim"] == {"spacing": "leading", "offset": 1}
    assert scheduler.grids({**euler, "final_sigmas_type": "sigma_min"})["ddim"]["end"] == "timestep"


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"timestep_spacing": "cubic"}, "timestep_spacing is 'cubic'; jaxdiff reads leading, linspace and trailing"),
        ({"steps_offset": -1}, "steps_offset must be a whole number from 0, got -1"),
        ({"steps_offset": 1.5}, "steps_offset must be a whole number from 0, got 1.5"),
    ],
)
def test_unknown_timesteps_of_a_scheduler_are_refused(given, match):
    with pytest.raises(InputError, match=match):
        scheduler.grids(given)


@pytest.mark.parametrize(
    ("process", "prediction", "match"),
    [(ve(), "eps", "process ve does not"), (flow(), "v", "process flow does not"), (ddpm(), "edm", "predicts edm")],
)
def test_a_process_without_a_scheduler_is_refused(process, prediction, match):
    with pytest.raises(InputError, match=match):
        scheduler.written(process, prediction, 1000)
