"""Names and layouts of PyTorch for networks whose modules have its names: what comes in, what goes out, what is refused."""

from dataclasses import replace

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.interop import latent_networks, torch_names
from jaxdiff.interop.autoencoder_config import Autoencoder
from jaxdiff.models.network import abstract, condition_unet, latent_decoder, latent_encoder
from jaxdiff.weight_file import named
from tests.interop.folders import same
from tests.models import test_autoencoder, test_unet_condition

UNET, XL, VAE = test_unet_condition.CONFIG, test_unet_condition.XL, test_autoencoder.CONFIG


@pytest.fixture(scope="module")
def unet():
    return test_unet_condition.drawn(UNET)


@pytest.fixture(scope="module")
def vae():
    return test_autoencoder.drawn(latent_encoder, VAE), test_autoencoder.drawn(latent_decoder, VAE)


def biased(**shapes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of layers with a weight and a bias of as many outputs."""
    named = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return {
        f"{name}.{kind}": shape if kind == "weight" else shape[:1]
        for name, shape in named.items()
        for kind in ("weight", "bias")
    }


def under(path: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{path}.{name}": shape for name, shape in shapes.items()}


def residual(inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    skip = {"conv_shortcut": (outputs, inputs, 1, 1)} if inputs != outputs else {}
    return biased(
        norm1=(inputs,), conv1=(outputs, inputs, 3, 3), time_emb_proj=(outputs, 64), norm2=(outputs,),
        conv2=(outputs, outputs, 3, 3), **skip,
    )  # fmt: skip


def transformer(width: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes = biased(norm=(width,), proj_in=(width, width, 1, 1), proj_out=(width, width, 1, 1))
    for layer in range(layers):
        block = biased(
            norm1=(width,), norm2=(width,), norm3=(width,), attn1__to_out__0=(width, width), attn2__to_out__0=(width, width),
            ff__net__0__proj=(8 * width, width), ff__net__2=(width, 4 * width),
        )  # fmt: skip
        for name, inputs in (("attn1.to_q", width), ("attn1.to_k", width), ("attn1.to_v", width)):
            block |= {f"{name}.weight": (width, width), f"{name.replace('attn1', 'attn2')}.weight": (width, inputs)}
        block |= {f"attn2.{name}.weight": (width, 6) for name in ("to_k", "to_v")}
        shapes |= under(f"transformer_blocks.{layer}", block)
    return shapes


UNET_SHAPES = {
    **biased(conv_in=(16, 2, 3, 3), conv_norm_out=(16,), conv_out=(2, 16, 3, 3)),
    **biased(time_embedding__linear_1=(64, 16), time_embedding__linear_2=(64, 64)),
    **under("down_blocks.0.resnets.0", residual(16, 16)),
    **under("down_blocks.0.attentions.0", transformer(16, 1)),
    **biased(down_blocks__0__downsamplers__0__conv=(16, 16, 3, 3)),
    **under("down_blocks.1.resnets.0", residual(16, 24)),
    **under("mid_block.resnets.0", residual(24, 24)),
    **under("mid_block.attentions.0", transformer(24, 2)),
    **under("mid_block.resnets.1", residual(24, 24)),
    **under("up_blocks.0.resnets.0", residual(48, 24)),
    **under("up_blocks.0.resnets.1", residual(40, 24)),
    **biased(up_blocks__0__upsamplers__0__conv=(24, 24, 3, 3)),
    **under("up_blocks.1.resnets.0", residual(40, 16)),
    **under("up_blocks.1.attentions.0", transformer(16, 1)),
    **under("up_blocks.1.resnets.1", residual(32, 16)),
    **under("up_blocks.1.attentions.1", transformer(16, 1)),
}


def test_the_names_of_a_unet(unet):
    """Written out, and with dense projections and what SDXL adds."""
    assert torch_names.expected(unet) == UNET_SHAPES
    of_xl = torch_names.expected(abstract(condition_unet, replace(XL, attention=(0,))))
    added = biased(add_embedding__linear_1=(64, 5 + 6 * 4), add_embedding__linear_2=(64, 64))
    assert of_xl == {name: shape[:2] if ".proj_" in name else shape for name, shape in UNET_SHAPES.items()} | added


def test_weights_come_in_and_go_out_as_they_were(unet):
    state = torch_names.to_torch(unet)
    assert {name: array.shape for name, array in state.items()} == UNET_SHAPES
    assert same(torch_names.from_torch(abstract(condition_unet, UNET), state), unet)
    # output channels come first in PyTorch
    ours = named(unet.weights)
    np.testing.assert_array_equal(state["conv_in.weight"][3, 1], ours["conv_in/kernel"][:, :, 1, 3])
    name = "attentions.0.transformer_blocks.0.attn2.to_k"
    np.testing.assert_array_equal(
        state[f"mid_block.{name}.weight"][3, 1], ours[f"mid_block/{name}/kernel".replace(".", "/")][1, 3]
    )


def test_weights_of_half_precision_come_in_and_go_out_as_they_were():
    half = test_unet_condition.drawn(replace(UNET, dtype="bfloat16"))
    state, without = torch_names.to_torch(half), abstract(condition_unet, replace(UNET, dtype="bfloat16"))
    assert state["conv_in.weight"].dtype == ml_dtypes.bfloat16 and state["conv_in.bias"].dtype == np.float32
    assert same(torch_names.from_torch(without, state), half)
    # whatever the file holds, the network's dtypes are those of its configuration
    for dtype in (np.float16, np.float64, ml_dtypes.bfloat16):
        other = torch_names.from_torch(
            abstract(condition_unet, UNET), {name: array.astype(dtype) for name, array in state.items()}
        )
        assert {leaf.dtype for leaf in named(other.weights).values()} == {jnp.dtype("float32")}


def test_a_dense_layer_may_be_a_1x1_convolution_and_the_reverse(unet, vae):
    state = torch_names.to_torch(unet)
    dense = {name: array[..., 0, 0] if ".proj_" in name and array.ndim == 4 else array for name, array in state.items()}
    assert same(torch_names.from_torch(abstract(condition_unet, UNET), dense), unet)
    state = torch_names.to_torch(vae[0])
    convolutions = {
        name: array[..., None, None] if ".to_" in name and array.ndim == 2 else array for name, array in state.items()
    }
    assert same(torch_names.from_torch(abstract(latent_encoder, VAE), convolutions), vae[0])


def test_an_autoencoder_comes_in_and_goes_out_as_it_was(vae):
    settings, state = latent_networks.exported_autoencoder(Autoencoder(VAE, 0.5, 0.0), *vae)
    assert settings["scaling_factor"] == 0.5 and {name.partition(".")[0] for name in state} == {
        "encoder", "quant_conv", "post_quant_conv", "decoder",
    }  # fmt: skip
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = dict(state)
    for new, before in old.items():
        for name in [name for name in state if f".{new}." in name]:
            renamed[name.replace(new, before)] = renamed.pop(name)
    assert renamed.keys() != state.keys()
    for each in (state, renamed):
        assert all(map(same, latent_networks.imported_autoencoder(VAE, each), vae))


def test_positions_beside_the_weights_are_left_out(unet):
    state = {**torch_names.to_torch(unet), "text_model.embeddings.position_ids": np.arange(77)[None]}
    assert same(torch_names.from_torch(abstract(condition_unet, UNET), state), unet)


def test_all_that_does_not_match_is_listed_at_once(unet, vae):
    state = torch_names.to_torch(unet)
    state["extra.weight"] = state.pop("conv_in.weight")
    state["conv_out.bias"] = np.zeros(3, np.float32)
    state["conv_in.bias"] = np.zeros(16, np.int64)
    with pytest.raises(InputError) as caught:
        latent_networks.imported_unet(UNET, state, "unet.safetensors")
    for part in (
        "unet.safetensors does not match the network", "1 missing: conv_in.weight", "1 unexpected: extra.weight",
        "1 of wrong shape: conv_out.bias (3,) instead of (2,)", "1 not floating point: conv_in.bias int64",
    ):  # fmt: skip
        assert part in str(caught.value)
    # of both halves of an autoencoder
    state = {**torch_names.to_torch(vae[0]), **torch_names.to_torch(vae[1])}
    del state["encoder.conv_in.bias"], state["decoder.conv_in.bias"]
    with pytest.raises(InputError, match="2 missing: decoder.conv_in.bias, encoder.conv_in.bias$"):
        latent_networks.imported_autoencoder(VAE, state)


def test_another_1x1_kernel_is_no_dense_layer(unet):
    state = torch_names.to_torch(unet)
    state["conv_in.weight"] = state["conv_in.weight"][..., 0, 0]
    state["time_embedding.linear_1.weight"] = np.zeros((64, 16, 3, 3), np.float32)
    with pytest.raises(InputError, match=r"2 of wrong shape: conv_in.weight \(16, 2\) .*linear_1.weight \(64, 16, 3, 3\)"):
        torch_names.from_torch(abstract(condition_unet, UNET), state)


def test_a_file_of_another_network_is_refused_before_it_is_built():
    with pytest.raises(InputError, match="describes a network of 859,520,964 weights and holds 2: it is damaged"):
        latent_networks.imported_unet(test_unet_condition.ConditionUNetConfig(), {"a": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="describes a network of 83,653,863 weights and holds 2: it is damaged"):
        latent_networks.imported_autoencoder(test_autoencoder.AutoencoderConfig(), {"a": np.zeros(2, np.float32)})
