"""The `config.json` of a text encoder is read key by key: used, known to be idle, or refused by its name."""

import pytest

from jaxdiff.errors import InputError
from jaxdiff.interop import text_encoder_config
from jaxdiff.models.text_encoder import TextEncoderConfig

# as Stable Diffusion 1.5 has it: the numbers of its tokens are wrong
FIRST = {
    "_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"], "attention_dropout": 0.0,
    "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768,
    "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12,
    "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "float32", "transformers_version": "4.19.2", "vocab_size": 49408,
}  # fmt: skip
SECOND = TextEncoderConfig(width=1280, layers=32, heads=20, inner=5120, activation="gelu", projection=1280)
TOKENS = {"begin": 49406, "end": 49407, "pad": 0}


def test_the_settings_of_stable_diffusion():
    assert text_encoder_config.read(FIRST) == TextEncoderConfig()
    second = FIRST | {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "intermediate_size": 4096}
    assert text_encoder_config.read(second | {"hidden_act": "gelu"}) == TextEncoderConfig(
        width=1024, layers=23, heads=16, inner=4096, activation="gelu"
    )
    projected = text_encoder_config.read(FIRST, kind="CLIPTextModelWithProjection")
    assert projected == TextEncoderConfig(projection=768)


def test_what_is_missing_is_as_in_transformers():
    assert text_encoder_config.read({"architectures": ["CLIPTextModelWithProjection"]}) == TextEncoderConfig(
        width=512, heads=8, inner=2048, projection=512
    )


@pytest.mark.parametrize("config", [TextEncoderConfig(), SECOND, TextEncoderConfig(vocabulary=49410, epsilon=1e-6)])
def test_what_is_written_is_read_as_the_same(config):
    written = text_encoder_config.written(config, **TOKENS)
    assert text_encoder_config.read(written) == config
    assert (written["bos_token_id"], written["eos_token_id"], written["pad_token_id"]) == (49406, 49407, 0)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"architectures": ["T5EncoderModel"]}, "config.json describes a 'T5EncoderModel'; jaxdiff reads CLIPTextModel and"),
        ({"architectures": None}, "must name one class in architectures, CLIPTextModel or"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'; our text encoder takes quick_gelu or gelu"),
        ({"hidden_act": ["gelu"]}, r"hidden_act is \['gelu'\]"),
        ({"use_attention_mask": True}, "use_attention_mask is True; our text encoder takes False"),
        ({"model_type": "siglip_text_model"}, "model_type is 'siglip_text_model'"),
        ({"rope_theta": 1e4, "window": 3}, "has settings that CLIPTextModel lacks: 'rope_theta', 'window'"),
        ({"num_hidden_layers": 1000}, "`layers` must be at most 100, got 1000"),
        ({"num_hidden_layers": "12"}, "`layers` must be a whole number, got '12'"),
        ({"vocab_size": [1]}, "`vocabulary` must be a whole number"),
        ({"hidden_size": None}, "`width` must be a whole number"),
        ({"num_attention_heads": 7}, "`heads` must divide the width 768, got 7"),
        ({"layer_norm_eps": 0}, "`epsilon` must be above 0"),
        ({"projection_dim": None, "architectures": ["CLIPTextModelWithProjection"]}, "projection_dim of a"),
    ],
)
def test_settings_that_do_not_fit_are_named(change, fault):
    with pytest.raises(InputError, match=fault):
        text_encoder_config.read(FIRST | change)
