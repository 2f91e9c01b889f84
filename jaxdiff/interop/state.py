"""Finds the state dictionary of a network in what a file of weights holds.

Programs save a network by itself or beside its averaged weights, its optimizer and more, and wrappers put their names before
those of its arrays: `{"model": .., "ema": {"module.conv_in.weight": .., ..}}`.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.interop.layers import Arrays

Family = Literal["UNet2DModel", "guided-diffusion"]
# Arrays that every network of a family has. The first one is looked for.
REQUIRED: dict[Family, tuple[str, ...]] = {
    "UNet2DModel": ("conv_in.weight", "time_embedding.linear_1.weight", "conv_out.weight"),
    "guided-diffusion": (
        "time_embed.0.weight",
        "input_blocks.0.0.weight",
        "out.2.weight",
        "output_blocks.0.0.emb_layers.1.weight",
    ),
}
# Networks that are refused by name, by an array that only they have; the first ones have the arrays in `REQUIRED`, too.
RESEMBLING = {
    r"(^|\.)first_stage_model\.": "a latent-diffusion model, which draws the latents of its first_stage_model and not pixels",
    r"\.transformer_blocks\.\d": "a UNet with cross-attention, such as that of Stable Diffusion",
}
FOREIGN = {
    r"(^|\.)map_layer0\.weight$": "a network of EDM (SongUNet or DhariwalUNet)",
    r"(^|\.)emb_fourier\.freqs$": "a network of EDM2",
    r"(^|\.)all_modules\.\d+\.": "a network of score_sde (NCSN++ or DDPM++)",
    r"(^|\.)downs\.0\.0\.": "a network of denoising-diffusion-pytorch",
    r"(^|\.)x_embedder\.proj\.weight$": "a diffusion transformer",
    r"(^|\.)(post_quant_conv|decoder\.conv_out)\.weight$": "an autoencoder",
}
AVERAGED = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
"""The places of averaged weights."""
_DEPTH = 4  # maximum nesting of dictionaries
_MOST = 10_000  # maximum number of dictionaries
MOST_NETWORKS = 100
"""The most networks of one dictionary that are looked at."""


class Found(NamedTuple):
    """The state dictionary of a network.

    Attributes:
        arrays: its arrays by the network's own names.
        family: which network it is.
        key: where it was; empty where it is all that the file holds.
        chosen: whether the file holds other networks, too.
    """

    arrays: Arrays
    family: Family
    key: str
    chosen: bool


def find(held: Any, name: str, key: str | None = None, expected: Family | None = None) -> Found:
    """The state dictionary of a network in what a file holds.

    Of several networks the only one whose name says `ema`, averaged weights, is taken.

    Arguments:
        held: the content of the file.
        name: its name in errors.
        key: the network to take: its place, such as `ema` or `state_dict.unet`.
        expected: the family, where it is known: a state dictionary that lacks arrays of it is returned, too.

    Raises:
        InputError: there is no network that jaxdiff imports, none under the key, or several.
    """
    by_place = dictionaries(held, name)
    _refuse(RESEMBLING, by_place, name)
    networks = {place: found for path, arrays in by_place.items() for place, found in _networks(path, arrays)}
    if not networks:
        _refuse(FOREIGN, by_place, name)
        if expected is not None and key is None and list(by_place) == [""]:
            return Found(by_place[""], expected, "", False)
        raise InputError(_nothing(held, by_place, name))
    matching = [place for place in networks if key is None or place == key or place.startswith(f"{key}.")]
    if key is None and len(matching) > 1:
        matching = [place for place in matching if AVERAGED.search(place)] or matching
    if len(matching) != 1:
        listed = ", ".join(place or "the whole file" for place in matching or networks)
        if not matching:
            raise InputError(f"{name} has no network under `key` {key}; its networks: {listed}")
        raise InputError(f"{name} holds {len(matching)} networks, {listed}: choose one with `key`")
    family, arrays = networks[matching[0]]
    return Found(arrays, family, matching[0], len(networks) > 1)


def dictionaries(held: Any, name: str) -> dict[str, Arrays]:
    """The arrays of each dictionary in what a file holds that has some, by its place; that of the whole is empty.

    Arguments:
        held: the content of the file.
        name: its name in errors.

    Raises:
        InputError: there are too many.
    """
    found = dict(islice(_dictionaries(held), _MOST + 1))
    if len(found) > _MOST:
        raise InputError(f"{name} holds more than {_MOST:,} dictionaries: save the network's state_dict() alone")
    return found


def _dictionaries(held: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Arrays]]:
    """The arrays of each dictionary that has some, by its place."""
    if not isinstance(held, Mapping) or depth > _DEPTH:
        return
    named = {key: value for key, value in held.items() if isinstance(key, str)}
    if arrays := {key: value for key, value in named.items() if isinstance(value, np.ndarray)}:
        yield path, arrays
    for key, value in named.items():
        yield from _dictionaries(value, _place(path, key), depth + 1)


def _networks(path: str, arrays: Arrays) -> Iterator[tuple[str, tuple[Family, Arrays]]]:
    """The networks in a dictionary, by place; wrappers' prefixes are part of it."""
    prefixes: dict[str, Family] = {}
    for family, (first, *others) in REQUIRED.items():
        for name in arrays:
            prefix = name.removesuffix(first)
            whole = name.endswith(first) and (not prefix or prefix.endswith("."))
            if whole and all(prefix + other in arrays for other in others):
                prefixes[prefix] = family
    if len(prefixes) > MOST_NETWORKS:
        raise InputError(f"a dictionary of {len(arrays):,} arrays holds {len(prefixes):,} networks, more than {MOST_NETWORKS}")
    for prefix, family in prefixes.items():
        inner = tuple(other for other in prefixes if len(other) > len(prefix))
        own = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix) and not name.startswith(inner)
        }
        yield _place(path, prefix.rstrip(".")), (family, own)


def _place(path: str, name: str) -> str:
    return ".".join(part for part in (path, name) if part)


def _refuse(networks: Mapping[str, str], dictionaries: Mapping[str, Arrays], name: str) -> None:
    """Raises `InputError` if the arrays are those of one of these networks.

    Arguments:
        networks: what they are, by a pattern of the name of an array.
        dictionaries: all arrays.
        name: the name of the file in errors.
    """
    for pattern, what in networks.items():
        if any(re.search(pattern, key) for arrays in dictionaries.values() for key in arrays):
            raise InputError(
                f"{name} holds {what}; jaxdiff imports networks of pixels that are a UNet2DModel or of guided-diffusion. "
                "`jaxdiff evaluate` measures images that other programs drew"
            )


def _nothing(held: Any, dictionaries: Mapping[str, Arrays], name: str) -> str:
    """The error about a file without a network."""
    if not dictionaries:
        entries = ", ".join(map(str, list(held)[:10])) if isinstance(held, Mapping) else ""
        got = f"a dictionary of {entries}" if entries else type(held).__name__
        return f"{name} must hold a network's state_dict(), got {got}"
    keys = [key for arrays in dictionaries.values() for key in arrays]
    return f"{name} holds no UNet2DModel and no network of guided-diffusion; its arrays: {', '.join(keys[:5])} .."
