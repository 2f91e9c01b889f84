"""The original layout of Stable Diffusion: one file with the weights of all parts, under the names of latent-diffusion.

Each function maps the names of diffusers or transformers to those of the file, after the prefix of the part there:
`model.diffusion_model` of the UNet, `first_stage_model` of the autoencoder, `cond_stage_model` or `conditioner.embedders` of
text encoders. Those of OpenAI have the names of transformers, those of OpenCLIP others. Nothing is guessed from names in the
file.
"""

import re
from collections.abc import Iterable

import numpy as np

from jaxdiff.errors import InputError

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
_PROJECTION = "text_projection.weight"
_AROUND_LAYERS = {
    _PROJECTION: "text_projection",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def unet_names(names: Iterable[str], blocks: int) -> dict[str, str]:
    """The names in the file of the arrays of a UNet2DConditionModel.

    Arguments:
        names: its names in diffusers.
        blocks: its residual blocks per level of the encoder.
    """
    names = list(names)
    attending = {match[2] for name in names if (match := _IN_UNET.match(name)) and (match[1], match[3]) == ("up", "attentions")}
    return {name: _unet_name(name, blocks, attending) for name in names}


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
    return {name: _autoencoder_name(name, levels) for name in names}


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


def open_clip_names(names: Iterable[str]) -> dict[str, str]:
    """The names in the file of the arrays of a text encoder of OpenCLIP: that of Stable Diffusion 2, and the second of XL.

    The file may have more layers at the end, which are not used.

    Arguments:
        names: its names in transformers, without `text_model.`.
    """
    return {name: _open_clip_name(name) for name in names}


def _open_clip_name(name: str) -> str:
    match = _LAYER.fullmatch(name)
    if match is None:
        return _AROUND_LAYERS.get(name, name)
    number, module, last = match.groups()
    # one array for queries, keys and values
    inside = f"attn.in_proj_{last}" if module in _PROJECTIONS else f"{_IN_LAYER.get(module, module)}.{last}"
    return f"transformer.resblocks.{number}.{inside}"


def of_open_clip(name: str, array: np.ndarray) -> np.ndarray:
    """An array of a text encoder from that of the file, by its name in transformers."""
    if name == _PROJECTION:
        return array.T
    match = _LAYER.fullmatch(name)
    joined = match is not None and match[2] in _PROJECTIONS
    return np.array_split(array, 3)[_PROJECTIONS.index(match[2])] if joined and array.ndim else array
