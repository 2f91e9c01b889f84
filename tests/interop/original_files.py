"""Pipelines in the original layout of Stable Diffusion: one file, whose names count blocks as its code builds them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

Arrays = dict[str, np.ndarray]
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
OF_XL = ("conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model.")


def held(folder: Path, part: str) -> Arrays:
    """The arrays of a part of a folder."""
    name = "model" if part.startswith("text") else "diffusion_pytorch_model"
    return safetensors.numpy.load_file(folder / part / f"{name}.safetensors")


def moved(arrays: Mapping[str, np.ndarray], places: Mapping[str, str], names: Mapping[str, str]) -> Arrays:
    """Arrays under other names: the longest place that a name begins with, and the first name within that it has."""
    found = {}
    for name, array in arrays.items():
        place = max((each for each in places if name.startswith(f"{each}.")), key=len)
        rest = name.removeprefix(f"{place}.")
        inner = next((each for each in names if rest.startswith(f"{each}.")), None)
        rest = rest if inner is None else names[inner] + rest.removeprefix(inner)
        found[f"{places[place]}.{rest}"] = array
    assert len(found) == len(arrays)
    return found


def unet(arrays: Arrays) -> Arrays:
    """The UNet: its blocks in the order in which they are made, each a list of a residual block, a transformer, a resampler."""
    there = lambda module: any(name.startswith(f"{module}.") for name in arrays)  # noqa: E731
    places = {
        "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0",
        "conv_out": "out.2", "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }  # fmt: skip
    for way, ours, first in (("input_blocks", "down_blocks", 1), ("output_blocks", "up_blocks", 0)):
        level, count = 0, first
        while there(f"{ours}.{level}"):
            block = 0
            while there(f"{ours}.{level}.resnets.{block}"):
                places[f"{ours}.{level}.resnets.{block}"] = f"{way}.{count}.0"
                places[f"{ours}.{level}.attentions.{block}"] = f"{way}.{count}.1"
                block, count = block + 1, count + 1
            if there(f"{ours}.{level}.downsamplers.0"):
                places[f"{ours}.{level}.downsamplers.0.conv"] = f"{way}.{count}.0.op"
                count += 1
            # the upsampler is the last of the list of the last block
            last = 2 if there(f"{ours}.{level}.attentions.0") else 1
            places[f"{ours}.{level}.upsamplers.0.conv"] = f"{way}.{count - 1}.{last}.conv"
            level += 1
    names = {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
        "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
    }  # fmt: skip
    transformers = {name: array for name, array in arrays.items() if ".attentions." in name}
    rest = {name: array for name, array in arrays.items() if name not in transformers}
    return moved(rest, places, names) | (moved(transformers, places, {}) if transformers else {})


def autoencoder(arrays: Arrays) -> Arrays:
    """The autoencoder: the levels of its decoder are numbered from the finest, its attention is of 1x1 convolutions."""
    levels = 1 + max(int(name.split(".")[2]) for name in arrays if name.startswith("encoder.down_blocks."))
    places = {each: each for each in ("encoder", "decoder")}
    places |= {each: each for each in ("quant_conv", "post_quant_conv")}
    for level in range(levels):
        for block in range(9):
            places[f"encoder.down_blocks.{level}.resnets.{block}"] = f"encoder.down.{level}.block.{block}"
            places[f"decoder.up_blocks.{level}.resnets.{block}"] = f"decoder.up.{levels - 1 - level}.block.{block}"
        places[f"encoder.down_blocks.{level}.downsamplers.0"] = f"encoder.down.{level}.downsample"
        places[f"decoder.up_blocks.{level}.upsamplers.0"] = f"decoder.up.{levels - 1 - level}.upsample"
    for way in ("encoder", "decoder"):
        places[f"{way}.mid_block.attentions.0"] = f"{way}.mid.attn_1"
        places |= {f"{way}.mid_block.resnets.{block}": f"{way}.mid.block_{block + 1}" for block in range(2)}
    names = {
        "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out", "group_norm": "norm", "to_q": "q", "to_k": "k",
        "to_v": "v", "to_out.0": "proj_out",
    }  # fmt: skip
    found = moved(arrays, places, names)
    return {name: array[..., None, None] if ".attn_1." in name and array.ndim == 2 else array for name, array in found.items()}


def clip(arrays: Arrays) -> Arrays:
    """A text encoder of OpenAI: with positions beside the weights."""
    own = {name.removeprefix("text_model."): array for name, array in arrays.items()}
    return own | {"embeddings.position_ids": np.arange(len(own["embeddings.position_embedding.weight"]))[None]}


def open_clip(arrays: Arrays) -> Arrays:
    """A text encoder of OpenCLIP: one array for queries, keys and values, and a layer more."""
    own = {name.removeprefix("text_model."): array for name, array in arrays.items()}
    found = {
        "token_embedding.weight": own["embeddings.token_embedding.weight"],
        "positional_embedding": own["embeddings.position_embedding.weight"],
        **{f"ln_final.{last}": own[f"final_layer_norm.{last}"] for last in ("weight", "bias")},
        "logit_scale": np.ones((), np.float32),
    }
    if "text_projection.weight" in own:
        found["text_projection"] = np.ascontiguousarray(own["text_projection.weight"].T)
    layers = 1 + max(int(name.split(".")[2]) for name in own if name.startswith("encoder.layers."))
    for layer in range(layers + 1):
        ours, theirs = f"encoder.layers.{min(layer, layers - 1)}", f"transformer.resblocks.{layer}"
        for last in ("weight", "bias"):
            found[f"{theirs}.attn.in_proj_{last}"] = np.concatenate(
                [own[f"{ours}.self_attn.{each}_proj.{last}"] for each in "qkv"]
            )
            for name, place in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("self_attn.out_proj", "attn.out_proj"),
                                ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                found[f"{theirs}.{place}.{last}"] = own[f"{ours}.{name}.{last}"] + (layer == layers)
    return found


def whole(folder: Path, texts: Mapping[str, str]) -> Arrays:
    """A pipeline's folder as one file, with what training leaves in it.

    Arguments:
        folder: the folder.
        texts: the place of each text encoder, one of those above.
    """
    return dict(_whole(folder, texts))


def _whole(folder: Path, texts: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
    for place, arrays in ((UNET, unet(held(folder, "unet"))), (VAE, autoencoder(held(folder, "vae")))):
        yield from ((place + name, array) for name, array in arrays.items())
    for part, place in texts.items():
        arrays = (open_clip if place.endswith("model.") and "transformer" not in place else clip)(held(folder, part))
        yield from ((place + name, array) for name, array in arrays.items())
    yield from (("betas", np.zeros(1000, np.float32)), ("model_ema.decay", np.ones((), np.float32)))
