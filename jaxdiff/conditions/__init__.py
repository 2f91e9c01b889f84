"""Condition encoders: labels to the conditions of a denoiser."""

from collections.abc import Sequence
from typing import Any

from jaxdiff.bounds import shortened
from jaxdiff.conditions.encoder import ConditionEncoder
from jaxdiff.conditions.labels import Labels
from jaxdiff.conditions.series import SeriesConditions
from jaxdiff.conditions.text import PromptEncoder, Prompts
from jaxdiff.conditions.tokenizer import Tokenizer
from jaxdiff.conditions.unconditional import Unconditional
from jaxdiff.data.attributes import Attribute, attribute_of
from jaxdiff.errors import InputError


def of_attributes(attributes: Sequence[Attribute], has_null: bool = True) -> ConditionEncoder:
    """The encoder of a model with these attributes, `Unconditional` if there are none."""
    return Labels(tuple(attributes), has_null) if attributes else Unconditional()


def from_config(config: Any) -> ConditionEncoder:
    """The encoder described by `ConditionEncoder.config`. Raises `InputError` for an unknown kind."""
    if not isinstance(config, dict):
        raise InputError(f"conditions are described by an object, got {shortened(config)}")
    match config.get("name"):
        case Unconditional.name:
            return Unconditional()
        case Labels.name:
            named = tuple(map(attribute_of, config["attributes"]))
            if not isinstance(config["has_null"], bool):
                raise InputError(f"`has_null` must be true or false, got {config['has_null']!r}")
            return Labels(named, config["has_null"])
        case SeriesConditions.name:
            return SeriesConditions(from_config(config.get("labels")))
        case Prompts.name:
            raise InputError("conditions of prompts need the text encoders: read the folder of the text-to-image model")
        case name:
            raise InputError(f"unknown conditions {name!r}; this version of jaxdiff knows {Labels.name}, {Unconditional.name}")


__all__ = [
    "ConditionEncoder", "Labels", "PromptEncoder", "Prompts", "SeriesConditions", "Tokenizer", "Unconditional", "from_config",
    "of_attributes",
]  # fmt: skip
