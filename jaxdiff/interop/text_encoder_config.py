"""Conversion between the `config.json` of a CLIP text encoder in transformers and our configuration."""

from collections.abc import Mapping
from typing import Any

from jaxdiff.boundary import reading
from jaxdiff.bounds import check_values, shortened
from jaxdiff.errors import InputError
from jaxdiff.models.text_encoder import ACTIVATIONS, TextEncoderConfig

PROJECTED = "CLIPTextModelWithProjection"
CLASSES = ("CLIPTextModel", PROJECTED)
"""The classes of text encoders."""
MODEL_TYPE = "clip_text_model"
# Our arguments by their names there, with the defaults of CLIPTextConfig.
ARGUMENTS: dict[str, tuple[str, Any]] = {
    "vocab_size": ("vocabulary", 49408),
    "hidden_size": ("width", 512),
    "num_hidden_layers": ("layers", 12),
    "num_attention_heads": ("heads", 8),
    "intermediate_size": ("inner", 2048),
    "max_position_embeddings": ("positions", 77),
    "hidden_act": ("activation", "quick_gelu"),
    "layer_norm_eps": ("epsilon", 1e-5),
    "projection_dim": ("projection", 512),
}
# Settings for which our text encoder supports only these values. An attention mask would hide the tokens that pad a prompt.
FIXED: dict[str, tuple[Any, ...]] = {"model_type": (MODEL_TYPE,), "use_attention_mask": (False, None)}
# Settings of training, of files and of transformers itself. Tokens are those of the tokenizer: the numbers in published files
# are wrong (2 for the end token 49407).
IDLE = {
    "architectures", "attention_dropout", "bos_token_id", "chunk_size_feed_forward", "dropout", "dtype", "eos_token_id",
    "gradient_checkpointing", "id2label", "initializer_factor", "initializer_range", "is_decoder", "is_encoder_decoder",
    "label2id", "name_or_path", "output_attentions", "output_hidden_states", "pad_token_id", "problem_type", "return_dict",
    "task_specific_params", "tie_word_embeddings", "tokenizer_class", "torch_dtype", "torchscript", "transformers_version",
    "use_bfloat16", "use_cache",
}  # fmt: skip


def read(given: Mapping[str, Any], *, kind: str | None = None, name: str = "config.json") -> TextEncoderConfig:
    """Our configuration of the text encoder described by a `config.json`.

    Arguments:
        given: the `config.json`.
        kind: its class, as in a pipeline's `model_index.json`; by default the one that the `config.json` names.
        name: the name of the `config.json` in errors.

    Raises:
        InputError: it is of another class, or has a setting that our text encoder does not support, which is named.
    """
    kind = _kind(given, name) if kind is None else kind
    if kind not in CLASSES:
        raise InputError(f"{name} describes a {shortened(kind)}; jaxdiff reads {' and '.join(CLASSES)}")
    public = {key: value for key, value in given.items() if not key.startswith("_") and key not in IDLE}
    if unknown := sorted(public.keys() - ARGUMENTS.keys() - FIXED.keys()):
        raise InputError(f"{name} has settings that {kind} lacks: {', '.join(map(shortened, unknown))}")
    for key, values in FIXED.items():
        if key in public and public[key] not in values:
            taken = " or ".join(map(repr, values))
            raise InputError(f"{name}: {key} is {shortened(public[key])}; our text encoder takes {taken}")
    settings: dict[str, Any] = {ours: public.get(theirs, default) for theirs, (ours, default) in ARGUMENTS.items()}
    if not isinstance(settings["activation"], str) or settings["activation"] not in ACTIVATIONS:
        taken = " or ".join(ACTIVATIONS)
        raise InputError(f"{name}: hidden_act is {shortened(settings['activation'])}; our text encoder takes {taken}")
    if kind != PROJECTED:
        settings["projection"] = None
    elif settings["projection"] is None:
        raise InputError(f"{name}: projection_dim of a {PROJECTED} must be a whole number, got None")
    with reading(name):
        check_values(TextEncoderConfig, settings)
        settings["epsilon"] = float(settings["epsilon"])
        return TextEncoderConfig(**settings)


def _kind(given: Mapping[str, Any], name: str) -> str:
    """The class that a `config.json` names."""
    match given.get("architectures"):
        case [str(kind)]:
            return kind
        case other:
            raise InputError(f"{name} must name one class in architectures, {' or '.join(CLASSES)}; got {shortened(other)}")


def written(config: TextEncoderConfig, *, begin: int, end: int, pad: int) -> dict[str, Any]:
    """The `config.json` of our text encoder.

    Arguments:
        config: the text encoder's configuration.
        begin, end, pad: tokens of its tokenizer. transformers finds the pooled state by `end`.
    """
    settings = {theirs: getattr(config, ours) for theirs, (ours, _) in ARGUMENTS.items()}
    if config.projection is None:
        settings["projection_dim"] = config.width  # of no use in this class; files of others have the width
    return {
        "architectures": [CLASSES[config.projection is not None]],
        "model_type": MODEL_TYPE,
        **settings,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": pad,
        "attention_dropout": 0.0,
    }
