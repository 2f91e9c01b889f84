"""State dictionaries of guided-diffusion: names and row order of its modules, and files that cannot be read."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdiff import interop
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import abstract, unet
from jaxdiff.process import ddpm, vp_cosine
from jaxdiff.weight_file import named as by_path
from tests.interop.test_torch_file import called, named, saved, zipped

RNG = np.random.default_rng(4)
# our layers, and where in a ResBlock they stand
RESIDUAL = {
    "norm_in": "in_layers.0", "conv_in": "in_layers.2", "scale_shift": "emb_layers.1", "shift": "emb_layers.1",
    "norm_out": "out_layers.0", "conv_out": "out_layers.3", "skip": "skip_connection",
}  # fmt: skip
ATTENTION = {"norm": "norm", "query_key_value": "qkv", "out": "proj_out"}
# The blocks of a network of two levels, one block each, attention at the second: our path and theirs, and attention's.
ADM = {
    "down/0/residual": "input_blocks.1.0",
    "down/1/residual": "input_blocks.2.0",
    "down/2/residual": "input_blocks.3.0",
    "down/2/attention": "input_blocks.3.1",
    "middle/0/residual": "middle_block.0",
    "middle/0/attention": "middle_block.1",
    "middle/1/residual": "middle_block.2",
    "up/0/residual": "output_blocks.0.0",
    "up/0/attention": "output_blocks.0.1",
    "up/1/residual": "output_blocks.1.0",
    "up/1/attention": "output_blocks.1.1",
    "up/2/residual": "output_blocks.1.2",
    "up/3/residual": "output_blocks.2.0",
    "up/4/residual": "output_blocks.3.0",
}
CONFIG = UNetConfig(
    size=8, base=32, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=16, dropout=0.0, time_offset=-1, values=(5,),
    null_label=False,
)  # fmt: skip
CONVOLUTIONAL = UNetConfig(
    size=8, base=32, multipliers=(1, 1.5), blocks=1, attention=(8,), head_channels=48, dropout=0.0, time_offset=-1,
    embedding="shift", downsampling="centred_convolution", upsampling="convolution",
)  # fmt: skip


CONVOLUTIONAL_BLOCKS = {
    "down/0/residual": "input_blocks.1.0",
    "down/0/attention": "input_blocks.1.1",
    "down/1": "input_blocks.2.0.op",
    "down/2/residual": "input_blocks.3.0",
    "middle/0/residual": "middle_block.0",
    "middle/0/attention": "middle_block.1",
    "middle/1/residual": "middle_block.2",
    "up/0/residual": "output_blocks.0.0",
    "up/1/residual": "output_blocks.1.0",
    "up/2": "output_blocks.1.1.conv",
    "up/3/residual": "output_blocks.2.0",
    "up/3/attention": "output_blocks.2.1",
    "up/4/residual": "output_blocks.3.0",
    "up/4/attention": "output_blocks.3.1",
}
ENDS = {
    "conv_in": "input_blocks.0.0", "time_in": "time_embed.0", "time_out": "time_embed.2", "norm_out": "out.0",
    "conv_out": "out.2",
}  # fmt: skip


def weights(config: UNetConfig) -> dict[str, np.ndarray]:
    """Drawn weights of our network, by path."""
    named = by_path(abstract(unet, config).weights)
    return {name: RNG.standard_normal(leaf.shape).astype(np.float32) for name, leaf in named.items()}


def theirs(own: dict[str, np.ndarray], blocks: dict[str, str]) -> dict[str, np.ndarray]:
    """The same weights as guided-diffusion has them, with the rows of attention first by projection."""
    state = {}
    for path, array in own.items():
        if path == "label_table":
            state["label_emb.weight"] = array
            continue
        layer, _, last = path.rpartition("/")
        block, _, name = layer.rpartition("/")
        if layer in ENDS:
            where = ENDS[layer]
        elif name == "conv":
            where = blocks[block]
        elif block.endswith("attention"):
            where = f"{blocks[block]}.{ATTENTION[name]}"
        else:
            where = f"{blocks[block]}.{RESIDUAL[name]}"
        if last == "kernel":
            # (O, I, H, W) of a convolution, (O, I, 1) of one over a row, (O, I) of a dense layer
            array = array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)
            array = array[..., 0] if where.endswith(("qkv", "proj_out")) else array
        state[f"{where}.{'bias' if last == 'bias' else 'weight'}"] = np.ascontiguousarray(array)
    return state


def by_heads(state: dict[str, np.ndarray], head_channels: int) -> dict[str, np.ndarray]:
    """The rows of attention first by head: of head h come its queries, its keys, its values."""
    state = dict(state)
    for key in [key for key in state if ".qkv." in key]:
        queries, keys, values = np.split(state[key], 3)
        rows = []
        for first in range(0, len(queries), head_channels):
            rows += [each[first : first + head_channels] for each in (queries, keys, values)]
        state[key] = np.concatenate(rows)
    return state


@pytest.mark.parametrize("order", ["heads", "projections"])
@pytest.mark.parametrize(
    ("config", "blocks"), [(CONFIG, ADM), (CONVOLUTIONAL, CONVOLUTIONAL_BLOCKS)], ids=["adm", "convolutions"]
)
def test_a_state_dictionary_is_read_bit_for_bit(config, blocks, order, tmp_path):
    own = weights(config)
    state = theirs(own, blocks)
    state = by_heads(state, config.head_channels) if order == "heads" else state
    file = saved(tmp_path / "model.pt", state)
    given = {"size": 8, "process": ddpm("linear"), "head_channels": config.head_channels, "attention_order": order}
    model = interop.load(file, **given)
    assert model.config == config and (model.prediction, model.process.name) == ("eps", "ddpm_linear")
    read = by_path(model.network.weights)
    assert read.keys() == own.keys()
    assert all(np.asarray(read[name]).tobytes() == own[name].tobytes() for name in own)
    assert [(each.name, len(each.values)) for each in model.conditions.attributes] == ([("class", 5)] if config.values else [])
    assert model.training == {"imported": "guided-diffusion, model.pt"}
    if config.head_channels < 48:  # one head has one order
        other = interop.load(file, **{**given, "attention_order": "heads" if order == "projections" else "projections"})
        assert other.fingerprint != model.fingerprint


def test_of_a_learnt_variance_the_prediction_is_kept(tmp_path):
    state = theirs(weights(CONFIG), ADM)
    twice = {**state, **{key: np.concatenate([state[key], 7 + state[key]]) for key in ("out.2.weight", "out.2.bias")}}
    given = {"size": 8, "process": ddpm("linear"), "head_channels": 16}
    models = [interop.load(saved(tmp_path / "model.pt", each), **given) for each in (state, twice)]
    assert models[0].fingerprint == models[1].fingerprint


def test_what_the_file_lacks_is_given_by_arguments(tmp_path):
    file = saved(tmp_path / "model.pt", theirs(weights(CONFIG), ADM))
    named = {"attribute": Attribute("hair", ("a", "b", "c", "d")), "null_label": True}
    model = interop.load(file, size=16, process=ddpm("cosine", 4000), prediction="v", head_channels=32, **named)
    assert (model.config.size, model.config.attention, model.config.timesteps) == (16, (8,), 4000)
    assert (model.config.values, model.config.null_label, model.conditions.attributes) == ((4,), True, (named["attribute"],))
    assert (model.prediction, model.config.head_channels) == ("v", 32)
    assert interop.load(file, size=8, process=vp_cosine()).config.timesteps == 1000


def test_weights_that_do_not_fit_are_listed(tmp_path):
    state = theirs(weights(CONFIG), ADM)
    del state["middle_block.1.norm.bias"], state["output_blocks.3.0.out_layers.3.weight"]
    state["label_emb.bias"], state["time_embed.2.weight"] = np.zeros(3, np.float32), np.zeros((128, 100), np.float32)
    with pytest.raises(InputError) as caught:
        interop.load(saved(tmp_path / "model.pt", state), size=8, process=ddpm(), head_channels=16)
    assert str(caught.value) == (
        "model.pt does not match the network; arrays: "
        "2 missing: middle_block.1.norm.bias, output_blocks.3.0.out_layers.3.weight; "
        "1 unexpected: label_emb.bias; "
        "1 of wrong shape: time_embed.2.weight (128, 100) instead of (128, 128)"
    )


def test_another_file_is_refused(tmp_path):
    given = {"size": 8, "process": ddpm(), "head_channels": 16}
    with pytest.raises(InputError, match="holds no UNet2DModel and no network of guided-diffusion; its arrays: conv_in.weight"):
        interop.load(saved(tmp_path / "model.pt", {"conv_in.weight": np.zeros((2, 2), np.float32)}), **given)
    with pytest.raises(InputError, match=r"must hold a network's state_dict\(\), got a dictionary of epoch, loss"):
        interop.load(zipped(tmp_path / "model.pt", {"epoch": 3, "loss": "low"}, {}), **given)
    with pytest.raises(InputError, match="names os.mkdir, which is neither tensor nor dictionary"):
        interop.load(zipped(tmp_path / "model.pt", called(named("os", "mkdir"), str(tmp_path / "made")), {}), **given)
    assert not (tmp_path / "made").exists()
    state = theirs(weights(CONFIG), ADM)
    with pytest.raises(InputError, match="`attention_order` must be one of heads, projections, got 'rows'"):
        interop.load(saved(tmp_path / "model.pt", state), **given, attention_order="rows")
    del state["output_blocks.3.0.out_layers.3.bias"], state["output_blocks.2.0.out_layers.3.bias"]
    with pytest.raises(InputError, match="another architecture than our UNet: 4 output_blocks in 2 levels of 0, 64 channels"):
        interop.load(saved(tmp_path / "model.pt", state), **given)


def test_rows_by_head_attend_as_qkv_attention_legacy_does(tmp_path):
    """One block of attention, written as guided-diffusion runs it: heads are cut first, then queries, keys and values."""
    own = weights(CONFIG)
    state = by_heads(theirs(own, ADM), 16)
    model = interop.load(saved(tmp_path / "model.pt", state), size=8, process=ddpm(), head_channels=16)
    attention = nnx.merge(model.network.structure, model.network.weights).middle[0].attention
    x = RNG.standard_normal((2, 4, 4, 64)).astype(np.float32)
    grouped = x.reshape(2, 16, 32, 2)
    centred = grouped - grouped.mean((1, 3), keepdims=True)
    normed = (centred / np.sqrt(np.square(centred).mean((1, 3), keepdims=True) + 1e-5)).reshape(2, 16, 64)
    normed = normed * state["middle_block.1.norm.weight"] + state["middle_block.1.norm.bias"]
    rows = (normed @ state["middle_block.1.qkv.weight"][..., 0].T + state["middle_block.1.qkv.bias"]).swapaxes(1, 2)
    query, key, value = np.split(rows.reshape(2 * 4, 3 * 16, 16), 3, axis=1)
    score = np.einsum("bct,bcs->bts", query, key) / 4
    share = np.exp(score - score.max(-1, keepdims=True))
    mixed = np.einsum("bts,bcs->bct", share / share.sum(-1, keepdims=True), value).reshape(2, 64, 16).swapaxes(1, 2)
    out = mixed @ state["middle_block.1.proj_out.weight"][..., 0].T + state["middle_block.1.proj_out.bias"]
    given = attention(jnp.asarray(x)) - x
    np.testing.assert_allclose(given, out.reshape(x.shape), atol=1e-4 * np.abs(out).max())
