"""The original layout of Stable Diffusion: one file with the weights of all parts, under the names of latent-diffusion.

Each function maps the names of diffusers or transformers to those of the file; nothing is guessed from the names in the file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.interop.layers import Arrays

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
"""Where the text encoder of OpenAI lies: of Stable Diffusion 1, and the first of XL. `text_model.` follows, or not."""
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
"""Where the text encoder of OpenCLIP lies: of Stable Diffusion 2, and the second of XL."""

_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_IN_UNET = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_IN_VAE = re.compile(r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)")
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_AROUND_LAYERS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def is_original(names: Iterable[str]) -> bool:
    """Whether arrays of these names are a file in the original layout."""
    return any(name.startswith(UNET) for name in names)


def unet_names(names: Iterable[str], blocks: int) -> dict[str, str]:
    """The names in the file of the arrays of a UNet2DConditionModel.

    Arguments:
        names: its names in diffusers.
        blocks: its residual blocks per level of the encoder.
    """
    names = list(names)
    attending = {match[2] for name in names if (match := _IN_UNET.match(name)) and (match[1], match[3]) == ("up", "attentions")}
    return {name: UNET + _unet_name(name, blocks, attending) for name in names}


def _unet_name(name: str, blocks: int, attending: set[str]) -> str:
    module, _, last = name.rpartition(".")
    if module in _ENDS:
        return f"{_ENDS[module]}.{last}"
    if name.startswith("mid_block."):
        _, kind, position, rest = name.split(".", 3)
        return f"middle_block.{_MIDDLE[f'{kind}.{position}']}.{_residual(rest)}"
    match = _IN_UNET.match(name)
    if match is None:
        raise InputError(f"{name} has no name in the original layout of Stable Diffusion")
    way, level, kind, position, rest = match.groups()
    first = (blocks + 1) * int(level)
    if kind == "downsamplers":
        return f"input_blocks.{first + blocks + 1}.0.{rest.replace('conv.', 'op.')}"
    if kind == "upsamplers":
        return f"output_blocks.{first + blocks}.{2 if level in attending else 1}.{rest}"
    place = f"input_blocks.{first + int(position) + 1}" if way == "down" else f"output_blocks.{first + int(position)}"
    return f"{place}.{0 if kind == 'resnets' else 1}.{_residual(rest)}"


def _residual(rest: str) -> str:
    module, _, last = rest.rpartition(".")
    return f"{_RESIDUAL.get(module, module)}.{last}"


def autoencoder_names(names: Iterable[str], levels: int) -> dict[str, str]:
    """The names in the file of the arrays of an AutoencoderKL.

    Arguments:
        names: its names in diffusers.
        levels: its levels, which the decoder numbers from the other end there.
    """
    return {name: VAE + _autoencoder_name(name, levels) for name in names}


def _autoencoder_name(name: str, levels: int) -> str:
    if match := _IN_VAE.match(name):
        way, level, kind, position, rest = match.groups()
        rest = rest.replace("conv_shortcut.", "nin_shortcut.")
        place = f"encoder.down.{level}" if way == "encoder" else f"decoder.up.{levels - 1 - int(level)}"
        inside = {"resnets": f"block.{position}", "downsamplers": "downsample", "upsamplers": "upsample"}[kind]
        return f"{place}.{inside}.{rest}"
    way, middle, rest = name.partition(".mid_block.")
    if not middle:
        return name.replace("conv_norm_out", "norm_out")
    kind, position, rest = rest.split(".", 2)
    if kind == "resnets":
        return f"{way}.mid.block_{int(position) + 1}.{rest}"
    module, _, last = rest.rpartition(".")
    return f"{way}.mid.attn_1.{_ATTENTION[module]}.{last}"


def text_encoder(names: Iterable[str], held: Mapping[str, np.ndarray], second: bool = False) -> Arrays:
    """The arrays of a text encoder in a file, under their names in transformers without `text_model.`; those that lack are
    left out.

    Arguments:
        names: the names of the text encoder.
        held: the arrays of the file.
        second: whether it is the second text encoder of XL.
    """
    names = list(names)
    place = next((each for each in OPEN_CLIP if any(name.startswith(each) for name in held)), None)
    of_open_clip = second or not any(name.startswith(CLIP) for name in held)
    found = dict(_from_open_clip(names, held, place or "") if of_open_clip else _from_clip(names, held))
    return {name: array for name, array in found.items() if array is not None}


def _from_clip(names: list[str], held: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray | None]]:
    for name in names:
        places = (f"{place}{prefix}{name}" for place in CLIP for prefix in ("text_model.", ""))
        yield name, next((held[each] for each in places if each in held), None)


def _from_open_clip(names: list[str], held: Mapping[str, np.ndarray], place: str) -> Iterator[tuple[str, np.ndarray | None]]:
    """OpenCLIP has one projection for queries, keys and values, and more layers at the end than are used."""
    for name in names:
        match = _LAYER.fullmatch(name)
        if name == "text_projection.weight":
            array = held.get(f"{place}text_projection")
            yield name, None if array is None else array.T
        elif match is None:
            yield name, held.get(place + _AROUND_LAYERS.get(name, name))
        elif match[2] in _PROJECTIONS:
            joined = held.get(f"{place}transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}")
            yield name, None if joined is None else np.split(joined, 3)[_PROJECTIONS.index(match[2])]
        else:
            inside = _IN_LAYER.get(match[2], match[2])
            yield name, held.get(f"{place}transformer.resblocks.{match[1]}.{inside}.{match[3]}")
