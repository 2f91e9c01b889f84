"""Low-rank changes of weights (LoRA, Hu et al. 2022), merged into the weights of a pipeline: W + s alpha / r B A.

Two forms are read: that of kohya's scripts, with an `alpha` beside each pair of factors, and that of diffusers, whose `alpha`
is the rank unless the file's header says otherwise. Files name modules in ways that cannot be parsed (`_` for `.`), so each
name is looked up among those that the networks have.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxdiff.boundary import parse_json
from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.interop.layers import Arrays, listed
from jaxdiff.interop.state import dictionaries

METADATA = "lora_adapter_metadata"
"""What diffusers calls the settings of a LoRA in the header of its file."""
_KOHYA = {"unet": ("lora_unet",), "text_encoder": ("lora_te", "lora_te1"), "text_encoder_2": ("lora_te2",)}
# The two factors, A and B, by their names.
_FACTORS = {
    "lora_down.weight": "A",
    "lora_up.weight": "B",
    "lora.down.weight": "A",
    "lora.up.weight": "B",
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_A.default.weight": "A",
    "lora_B.default.weight": "B",
    "lora_linear_layer.down.weight": "A",
    "lora_linear_layer.up.weight": "B",
    "alpha": "alpha",
}
# Before diffusers 0.18, the layers of an attention were those of its processor; those of text encoders had the same names.
_PROCESSOR = re.compile(r"(.*?)(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
_OF_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
# What other files are, by a part of the name of an array.
_OTHER_FORMS = {
    r"hada_(w[12]|t[12])(_[ab])?": "a LoHa",
    r"lokr_(w[12]|t2)(_[ab])?": "a LoKr",
    r"dora_scale|lora_magnitude_vector": "a DoRA",
    r"lora_mid": "a LoCon with a third factor",
    r"diff(_b)?": "a difference of whole weights",
    r"[wb]_norm": "a change of norms",
    r"oft_.*": "an OFT",
    r"on_input": "an IA3",
}
_MODULE = re.compile(r"\^?[\w.]+")  # PEFT takes any regular expression; ^ is for a whole name
_ONE = np.ones(1)


class Place(NamedTuple):
    """A weight that a LoRA may change.

    Attributes:
        part: its network, a key of the states.
        name: its name there.
    """

    part: str
    name: str


def merged(
    states: Mapping[str, Arrays],
    held: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    weight: float,
    name: str,
    original: Mapping[str, str] | None = None,
) -> dict[str, Arrays]:
    """The states of a pipeline's networks with a LoRA merged in, float32 where they were changed.

    Arguments:
        states: the arrays of each network under their names in diffusers and transformers, by `unet`, `text_encoder` and
            `text_encoder_2`.
        held: the arrays of the LoRA by name.
        metadata: the strings in the header of its file.
        weight: s, by which the change is multiplied.
        name: the name of the file in errors.
        original: the names of the UNet's arrays in the original layout, which files for Stable Diffusion XL use.

    Raises:
        InputError: it is of another form, changes weights that the pipeline does not have or has in another shape, or lacks a
            factor; the error lists them.
    """
    for key in held:
        for form, what in _OTHER_FORMS.items():
            if any(re.fullmatch(form, part) for part in key.split(".")):
                raise InputError(f"{name} is {what} ({key}); jaxdiff merges LoRA alone: up and down, or A and B, with alpha")
    pairs = _pairs(held, _places(states, original or {}), name)
    alphas, changed = _alphas(metadata, name), {part: dict(state) for part, state in states.items()}
    wrong = []
    for place, factors in pairs.items():
        before = changed[place.part][place.name]
        change = _product(factors["B"], factors["A"], before.ndim)
        if change is None or change.shape != before.shape or factors.get("alpha", _ONE).size != 1:
            wrong.append(f"{place.name} {before.shape}, factors {factors['B'].shape} and {factors['A'].shape}")
            continue
        rank = len(factors["A"])
        alpha = float(factors["alpha"].item()) if "alpha" in factors else alphas.of(place, rank)
        changed[place.part][place.name] = before.astype(np.float32) + np.float32(weight * alpha / rank) * change
    if wrong:
        raise InputError(f"{name} is a LoRA of another architecture; {len(wrong)} weights have another shape: {listed(wrong)}")
    return changed


def only(held: Any, name: str) -> Arrays:
    """The arrays of a file that holds nothing else. Raises `InputError` for any other, with its name."""
    found = dictionaries(held, name)
    if list(found) != [""]:
        raise InputError(f"{name} must hold arrays by name and nothing else")
    return found[""]


def _places(states: Mapping[str, Arrays], original: Mapping[str, str]) -> dict[str, Place]:
    """All weights by the names that a LoRA may give their modules."""
    found = {}
    for part, state in states.items():
        for name in state:
            if not name.endswith(".weight"):
                continue
            module, place = name.removesuffix(".weight"), Place(part, name)
            inside = [module] if part == "unet" else [f"text_model.{module}", module]
            found |= {f"{part}.{each}": place for each in inside}
            if part == "unet":
                found[module] = place  # files of one network alone
                # before PEFT, an attention's output was named without its position in a list
                found |= {each.replace(".to_out.0", ".to_out"): place for each in (module, f"unet.{module}")}
                inside += [original[name].removesuffix(".weight")] if name in original else []
            for prefix in _KOHYA.get(part, ()):
                found |= {f"{prefix}_{each.replace('.', '_')}": place for each in inside}
    return found


def _pairs(held: Mapping[str, np.ndarray], places: Mapping[str, Place], name: str) -> dict[Place, dict[str, np.ndarray]]:
    """The factors of each weight that a LoRA changes."""
    pairs: dict[Place, dict[str, np.ndarray]] = {}
    unknown = []
    for key, array in held.items():
        module, factor = _parsed(key)
        place = places.get(module)
        if place is None or factor is None:
            unknown.append(key)
        else:
            pairs.setdefault(place, {})[factor] = array
    if unknown:
        raise InputError(
            f"{name} is a LoRA of another architecture, or no LoRA: it has {len(unknown)} arrays for which the pipeline has no "
            f"weight: {listed(sorted(unknown))}"
        )
    lacking = [place.name for place, factors in pairs.items() if not {"A", "B"} <= factors.keys()]
    if lacking or not pairs:
        what = f"one of the two factors of {len(lacking)} weights: {listed(lacking)}" if lacking else "any factors"
        raise InputError(f"{name} lacks {what}")
    return pairs


def _parsed(key: str) -> tuple[str, str | None]:
    """The name of a module, and which factor an array is; None for what is no factor."""
    if match := _PROCESSOR.fullmatch(key):
        layer = _OF_TEXT[match[2]] if key.startswith("text_encoder") else match[2]
        return f"{match[1]}.{layer}", "A" if match[3] == "down" else "B"
    for ending, factor in _FACTORS.items():
        if key.endswith(f".{ending}"):
            return key.removesuffix(f".{ending}"), factor
    return key, None


def _product(up: np.ndarray, down: np.ndarray, rank: int) -> np.ndarray | None:
    """B A, for a dense layer (O, I) or a convolution (O, I, H, W); None where the factors do not fit."""
    up, down = np.asarray(up, np.float32), np.asarray(down, np.float32)
    fitting = up.ndim in (2, 4) and down.ndim in (2, 4) and up.shape[1] == len(down) > 0 and up.shape[2:] in ((), (1, 1))
    if not fitting:
        return None
    product = up.reshape(up.shape[:2]) @ down.reshape(len(down), -1)
    product = product.reshape(len(up), *down.shape[1:])
    if product.ndim == 4 and rank == 2 and product.shape[2:] == (1, 1):
        return product[:, :, 0, 0]
    return product[:, :, None, None] if product.ndim == 2 and rank == 4 else product


class _Alphas(NamedTuple):
    """The alphas of a file in diffusers' form, by part: one for all, and those of modules that match a pattern."""

    settings: Mapping[str, Any]

    def of(self, place: Place, rank: int) -> float:
        module = place.name.removesuffix(".weight")
        for pattern, alpha in dict(self.settings.get(f"{place.part}.alpha_pattern") or {}).items():
            if not _MODULE.fullmatch(pattern):
                raise InputError(f"alpha_pattern of a LoRA must have names of modules, got {shortened(pattern)}")
            name = pattern.removeprefix("^")
            if module == name or (name == pattern and module.endswith(f".{name}")):
                return float(alpha)
        given = self.settings.get(f"{place.part}.lora_alpha")
        return float(rank if given is None else given)


def _alphas(metadata: Mapping[str, str], name: str) -> _Alphas:
    if METADATA not in metadata:
        return _Alphas({})
    settings = parse_json(metadata[METADATA], f"{name}: the {METADATA} in its header")
    unread = [key for key, value in _unread(settings) if value]
    if unread:
        raise InputError(f"{name} has settings in its header that jaxdiff does not merge: {', '.join(unread)}")
    return _Alphas(settings)


def _unread(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings of PEFT that change the product."""
    for key, value in settings.items():
        if key.rpartition(".")[2] in ("use_rslora", "use_dora", "fan_in_fan_out"):
            yield key, value
