"""The `config.json` of UNet2DConditionModel and AutoencoderKL: every setting is read, without effect, or refused by name."""

import json
from dataclasses import replace

import pytest

from jaxdiff.errors import InputError
from jaxdiff.interop import autoencoder_config, unet_condition_config
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from tests.models.test_unet_condition import CONFIG, REAL, SD2, SDXL, XL

CROSS, PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")
# As the folder of Stable Diffusion 1.4 has it, written by an early version.
SD1_FILE = {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.2.2", "act_fn": "silu", "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False, "cross_attention_dim": 768,
    "down_block_types": [CROSS[0]] * 3 + [PLAIN[0]], "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0,
    "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32,
    "out_channels": 4, "sample_size": 64, "up_block_types": [PLAIN[1]] + [CROSS[1]] * 3,
}  # fmt: skip
SD2_FILE = {
    **SD1_FILE, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "dual_cross_attention": False,
    "num_class_embeds": None, "only_cross_attention": False, "sample_size": 96, "upcast_attention": True,
    "use_linear_projection": True,
}  # fmt: skip
SDXL_FILE = {
    **SD1_FILE, "addition_embed_type": "text_time", "addition_embed_type_num_heads": 64, "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280], "class_embed_type": None,
    "cross_attention_dim": 2048, "down_block_types": [PLAIN[0], CROSS[0], CROSS[0]], "dropout": 0.0, "sample_size": 128,
    "projection_class_embeddings_input_dim": 2816, "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": [CROSS[1], CROSS[1], PLAIN[1]], "use_linear_projection": True, "time_cond_proj_dim": None,
}  # fmt: skip
VAE_FILE = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.2.2", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip


@pytest.mark.parametrize("file, config", [(SD1_FILE, ConditionUNetConfig()), (SD2_FILE, SD2), (SDXL_FILE, SDXL)])
def test_the_files_of_stable_diffusion(file, config):
    assert unet_condition_config.read(json.loads(json.dumps(file))) == config


@pytest.mark.parametrize(
    "config", [CONFIG, XL, *(config for config, *_ in REAL.values())], ids=lambda config: str(config.widths)
)
def test_what_is_written_is_read(config):
    assert unet_condition_config.read(json.loads(json.dumps(unet_condition_config.written(config)))) == config


def test_the_number_of_heads_is_called_their_width():
    assert unet_condition_config.read(SD1_FILE).heads == (8, 8, 8, 8)


def test_one_number_may_be_given_for_each_level():
    file = {**SD1_FILE, "layers_per_block": [2] * 4, "cross_attention_dim": [768] * 4, "sample_size": [64, 48]}
    config = unet_condition_config.read({**file, "reverse_transformer_layers_per_block": [1] * 4, "decay": 0.9999})
    assert (config.blocks, config.text_channels, config.shape) == (2, 768, (64, 48, 4))
    assert unet_condition_config.read(SD1_FILE, size=(96, 64), timesteps=100, dtype="bfloat16") == ConditionUNetConfig(
        size=(96, 64), timesteps=100, dtype="bfloat16"
    )


@pytest.mark.parametrize("key", unet_condition_config.FIXED)
def test_a_setting_that_the_unet_lacks_is_refused_by_name(key):
    value = unet_condition_config.DEFAULTS[key]
    other = "other" if isinstance(value, str) or value is None else not value if isinstance(value, bool) else value + 2
    with pytest.raises(InputError, match=f"unet/config.json: {key} is {other!r}; our UNet takes {value!r}"):
        unet_condition_config.read({**SD1_FILE, key: other}, name="unet/config.json")


@pytest.mark.parametrize("key", unet_condition_config.FREE)
@pytest.mark.parametrize("wrong", ["four", [], {}, [1.5], 2**200, float("nan")])
def test_a_setting_of_another_type_is_refused_by_name(key, wrong):
    with pytest.raises(InputError, match=rf"UNet2DConditionModel: {key} must be "):
        unet_condition_config.read({**SD1_FILE, key: wrong})


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"_class_name": "SD3Transformer2DModel"}, "describes a SD3Transformer2DModel; jaxdiff reads UNet2DConditionModel"),
        ({"new_key": 1}, "has settings that UNet2DConditionModel lacks: new_key"),
        ({"in_channels": 9}, "in_channels is 9 and out_channels 4, as that of an inpainting model, which takes a mask"),
        ({"in_channels": 8}, "in_channels is 8 and out_channels 4, as that of a model that edits by instructions"),
        ({"in_channels": 5}, "in_channels is 5 and out_channels 4, as that of a model that draws from depth maps"),
        ({"out_channels": 8}, "in_channels is 4 and out_channels 8; our UNet has as many of both"),
        ({"sample_size": None}, "has sample_size None: give the height and width of the latents as `size`"),
        ({"sample_size": [8, 8, 8]}, "has sample_size .*: give the height and width of the latents as `size`"),
        ({"norm_num_groups": 48}, r"norm_num_groups 48 does not divide block_out_channels \[320, 640, 1280, 1280\]"),
        ({"attention_head_dim": [8, 8]}, "attention_head_dim has 2 entries, block_out_channels 4"),
        ({"attention_head_dim": 7}, "`heads` 7 does not divide the 320 channels of level 0"),
        ({"layers_per_block": [2, 2, 2, 1]}, r"layers_per_block is \[2, 2, 2, 1\]; our UNet takes one number for all levels"),
        ({"cross_attention_dim": [768, 768, 768, 4]}, "cross_attention_dim is .*; our UNet takes one number for all levels"),
        ({"down_block_types": [CROSS[0]] * 3}, "down_block_types has 3 blocks, block_out_channels 4"),
        (
            {"down_block_types": ["AttnDownBlock2D"] * 4},
            "down_block_types has AttnDownBlock2D; our UNet takes DownBlock2D, Cross",
        ),
        ({"up_block_types": [CROSS[1]] * 4}, "have cross attention at different levels, which our UNet does not support"),
        ({"time_embedding_dim": 320}, "time_embedding_dim is 320; our UNet takes 1280"),
        ({"norm_eps": 0}, "`epsilon` must be above 0"),
        ({"transformer_layers_per_block": 101}, "transformer_layers_per_block must be a whole number from 1 to 100"),
        ({"reverse_transformer_layers_per_block": [1, 1, 1, 2]}, r"is \[1, 1, 1, 2\]; our UNet takes \[1, 1, 1, 1\]"),
        ({"addition_embed_type": "text"}, "addition_embed_type is 'text'; our UNet takes None or 'text_time'"),
        ({"addition_embed_type": "text_time"}, "projection_class_embeddings_input_dim None must be more than 6 times"),
    ],
)
def test_unets_that_are_not_read(wrong, message):
    with pytest.raises(InputError, match=message):
        unet_condition_config.read({**SD1_FILE, **wrong})


def test_the_refiner_is_named():
    refiner = {**SDXL_FILE, "cross_attention_dim": 1280, "projection_class_embeddings_input_dim": 2560}
    with pytest.raises(InputError, match="describes the refiner of SDXL"):
        unet_condition_config.read(refiner)


def test_a_time_that_diffusers_lacks_is_not_written():
    with pytest.raises(InputError, match="`time_offset` must be -1, got 0"):
        unet_condition_config.written(replace(CONFIG, time_offset=0))


# --- the autoencoder ---


def test_the_file_of_the_autoencoder():
    """An early one, without a scaling factor, and one that says more."""
    assert autoencoder_config.read(VAE_FILE) == (AutoencoderConfig(), 0.18215, 0.0)
    more = {**VAE_FILE, "scaling_factor": 0.13025, "shift_factor": None, "force_upcast": True, "use_quant_conv": False}
    read = autoencoder_config.read({**more, "shift_factor": 0.5}, dtype="bfloat16")
    assert read == (AutoencoderConfig(quant_conv=False, dtype="bfloat16"), 0.13025, 0.5)
    assert autoencoder_config.read(json.loads(json.dumps(autoencoder_config.written(read))), dtype="bfloat16") == read


@pytest.mark.parametrize("key", autoencoder_config.FREE)
@pytest.mark.parametrize("wrong", ["four", [], {}, [1.5], 2**200, float("inf")])
def test_a_setting_of_the_autoencoder_of_another_type_is_refused_by_name(key, wrong):
    with pytest.raises(InputError, match=rf"vae/config.json: {key} must be "):
        autoencoder_config.read({**VAE_FILE, key: wrong}, name="vae/config.json")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"_class_name": "AutoencoderTiny"}, "describes a AutoencoderTiny; jaxdiff reads AutoencoderKL"),
        ({"new_key": 1}, "has settings that AutoencoderKL lacks: new_key"),
        ({"act_fn": "gelu"}, "act_fn is 'gelu'; our autoencoder takes 'silu' or 'swish'"),
        ({"latents_mean": [0.0]}, r"latents_mean is \[0.0\]; our autoencoder takes None"),
        ({"latents_std": [1.0]}, r"latents_std is \[1.0\]; our autoencoder takes None"),
        ({"mid_block_add_attention": False}, "mid_block_add_attention is False; our autoencoder takes True"),
        ({"out_channels": 1}, "in_channels 3 must be out_channels 1"),
        ({"scaling_factor": 0}, "scaling_factor must be above 0, got 0"),
        ({"norm_num_groups": 48}, "norm_num_groups 48 does not divide block_out_channels"),
        ({"up_block_types": ["UpDecoderBlock2D"]}, "up_block_types has 1 blocks, block_out_channels 4"),
        (
            {"down_block_types": ["AttnDownEncoderBlock2D"] * 4},
            "down_block_types has AttnDownEncoderBlock2D; our autoencoder takes",
        ),
    ],
)
def test_autoencoders_that_are_not_read(wrong, message):
    with pytest.raises(InputError, match=message):
        autoencoder_config.read({**VAE_FILE, **wrong})
