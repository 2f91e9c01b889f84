"""Our UNet and autoencoder of Stable Diffusion compared with diffusers' with the same weights.

Weights are drawn at random. Those of one axis, which start as 0 or 1, are moved, and the layers that read the text and the time
are made stronger, or mistakes in them would not be seen. Errors are relative to the size of an output, in the Euclidean norm.
Each single mistake that a port may make must push the error over the tolerance that it is held to.
"""

import dataclasses
import json
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    from diffusers import AutoencoderKL, UNet2DConditionModel

from jaxdiff.interop import autoencoder_config, latent_networks, torch_names, unet_condition_config
from jaxdiff.models import latent_blocks, transformer_2d, unet_condition
from jaxdiff.models.network import Network, abstract, condition_unet, latent_decoder, latent_encoder
from jaxdiff.spaces.tiling import decoded_in_tiles

TOLERANCE = {"unet": 1e-5, "moments": 1e-5, "decoding": 3e-5}
TIMESTEPS = np.array([1, 500, 981])
B = len(TIMESTEPS)
SMALL = {"sample_size": 16, "layers_per_block": 2, "cross_attention_dim": 32, "norm_num_groups": 32}
SD2 = {"attention_head_dim": (2, 4, 4, 4), "use_linear_projection": True, "upcast_attention": True}
SDXL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "use_linear_projection": True, "addition_embed_type": "text_time",
}  # fmt: skip
UNETS: dict[str, dict[str, Any]] = {
    "SD 1": {**SMALL, "block_out_channels": (32, 64, 64, 64), "attention_head_dim": 8},
    "SD 2": {**SMALL, **SD2, "block_out_channels": (32, 64, 64, 64)},
    "SDXL": {
        **SMALL, **SDXL, "block_out_channels": (32, 32, 64), "attention_head_dim": (2, 4, 8), "layers_per_block": 1,
        "transformer_layers_per_block": (1, 1, 2), "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 68,
    },
}  # fmt: skip
BLOCKS = 4
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * BLOCKS, "up_block_types": ("UpDecoderBlock2D",) * BLOCKS,
    "block_out_channels": (32, 32, 64, 64), "layers_per_block": 2, "latent_channels": 4, "sample_size": 32,
}  # fmt: skip
REAL_UNETS = {
    "SD 1.5": ({"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}, 859_520_964, 686),
    "SD 2.1": (
        {**SD2, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "sample_size": 96},
        865_910_724,
        686,
    ),
    "SDXL": (
        {
            **SDXL, "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "sample_size": 128,
            "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10), "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        2_567_463_684,
        1680,
    ),
}  # fmt: skip
REAL_VAE = {**VAE, "block_out_channels": (128, 256, 512, 512), "sample_size": 512}


def drawn(model):
    """A model of diffusers whose weights would show a mistake."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn_like(weight))
            elif "attn2.to_v" in name or "attn2.to_out" in name:
                weight.mul_(8**0.5)
            elif "attn2.to_q" in name or "attn2.to_k" in name:
                weight.mul_(3)
            elif "time_emb_proj" in name:
                weight.mul_(4)
    return model.eval()


def state_of(model) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


def settings_of(model) -> dict[str, Any]:
    """What its `config.json` holds."""
    return json.loads(model.to_json_string())


def to_theirs(x: np.ndarray) -> "torch.Tensor":
    return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2).contiguous()


def to_ours(x: "torch.Tensor") -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


def error(ours, theirs: np.ndarray) -> float:
    """The largest relative error of a sample."""
    norm = lambda x: np.linalg.norm(np.asarray(x, np.float64).reshape(len(x), -1), axis=1)  # noqa: E731
    return float((norm(np.asarray(ours) - theirs) / norm(theirs)).max())


class Unet(NamedTuple):
    """A UNet of diffusers, and what ours is made from."""

    model: Any
    config: unet_condition_config.ConditionUNetConfig

    def output(self, x: np.ndarray, condition: dict[str, np.ndarray], timesteps=TIMESTEPS) -> np.ndarray:
        """Theirs."""
        added = {"text_embeds": condition.get("pooled"), "time_ids": condition.get("sizes")}
        added = {name: torch.from_numpy(value) for name, value in added.items() if value is not None}
        given = to_theirs(x), torch.from_numpy(timesteps), torch.from_numpy(condition["text"])
        with torch.no_grad():
            return to_ours(self.model(*given, added_cond_kwargs=added or None).sample)

    def network(self, **changed) -> Network:
        """Ours, made anew, of a changed configuration."""
        made = abstract.__wrapped__(condition_unet, dataclasses.replace(self.config, **changed))
        return torch_names.from_torch(made, state_of(self.model))


@pytest.fixture(scope="module", params=UNETS)
def unet(request) -> Unet:
    return made_unet(request.param)


def made_unet(name: str) -> Unet:
    model = drawn(UNet2DConditionModel(**UNETS[name]))
    return Unet(model, unet_condition_config.read(settings_of(model)))


def inputs(config, height: int, width: int, seed: int = 0):
    """Latents and a condition."""
    rng = np.random.default_rng(seed)
    condition = {"text": 0.3 * rng.standard_normal((B, 77, config.text_channels), np.float32)}
    if config.pooled_channels:
        condition["pooled"] = rng.standard_normal((B, config.pooled_channels), np.float32)
        condition["sizes"] = rng.integers(0, 1024, (B, 6)).astype(np.float32)
    return rng.standard_normal((B, height, width, config.channels), np.float32), condition


T = jnp.asarray((TIMESTEPS + 1) / 1000, jnp.float32)
run = jax.jit(lambda network, *given: network(*given))


@pytest.mark.parametrize("height, width", [(8, 8), (5, 7)])
def test_the_unet_is_diffusers(unet, height, width):
    x, condition = inputs(unet.config, height, width)
    assert error(run(unet.network(), x, T, condition), unet.output(x, condition)) < TOLERANCE["unet"]


def test_the_unet_that_is_compared_heeds_all_that_it_is_given(unet):
    x, condition = inputs(unet.config, 8, 8)
    reference = unet.output(x, condition)
    assert error(unet.output(x, condition, TIMESTEPS[::-1].copy()), reference) > 0.1
    for name in condition:
        other = {**condition, name: inputs(unet.config, 8, 8, seed=1)[1][name]}
        assert error(unet.output(x, other), reference) > 0.02, name


def test_a_unet_comes_back_to_diffusers_as_it_was(unet):
    written = unet_condition_config.written(unet.config)
    assert unet_condition_config.read(written) == unet.config
    model, state = UNet2DConditionModel.from_config(written), state_of(unet.model)
    back = torch_names.to_torch(unet.network())
    assert all(np.array_equal(back[name], array) for name, array in state.items())
    model.load_state_dict({name: torch.from_numpy(array) for name, array in back.items()}, strict=True)
    x, condition = inputs(unet.config, 8, 8)
    np.testing.assert_array_equal(Unet(model.eval(), unet.config).output(x, condition), unet.output(x, condition))


# --- single mistakes ---


class Reversed:
    """jax.numpy, which joins arrays in the reverse order."""

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    def concatenate(self, arrays, axis):
        return jnp.concatenate(arrays[::-1], axis)


def gate_first(self, x):
    gate, value = jnp.split(self.proj(x), 2, axis=-1)
    return value * transformer_2d.gelu(gate)


def cut_afterwards(self, x, size=None):
    outputs = latent_blocks.convolve_repeated(self.conv, x)
    return outputs if size is None else outputs[:, : size[0], : size[1]]


def with_heads_of_the_other_end(level, config):
    return own_transformer(level, dataclasses.replace(config, heads=config.heads[::-1]))


own_transformer = unet_condition._transformer


def padded(centred: bool) -> Callable:
    return lambda channels, **given: latent_blocks.Downsampler(channels, **(given | {"centred": centred}))


MISTAKES: dict[str, tuple[str, Any]] = {
    "sines first": ("unet_condition.sinusoids", partial(unet_condition.sinusoids, sines_first=True)),
    "frequencies over half - 1": ("unet_condition.sinusoids", partial(unet_condition.sinusoids, shift=1)),
    "epsilon of the transformer's group norm 1e-5": ("transformer_2d.EPSILON", 1e-5),
    "epsilon of layer norms 1e-6": ("transformer_2d.layer_norm", partial(transformer_2d.layer_norm, epsilon=1e-6)),
    "approximate GELU": ("transformer_2d.gelu", partial(nnx.gelu, approximate=True)),
    "the gate before the value": ("transformer_2d.GatedProjection.__call__", gate_first),
    "the skip before the output, or sizes before the text": ("unet_condition.jnp", Reversed()),
    "asymmetric padding": ("unet_condition.Downsampler", padded(centred=False)),
    "cut after the upsampling": ("latent_blocks.Upsampler.__call__", cut_afterwards),
    "time embedding without its activation": ("unet_condition.nnx.silu", lambda x: x),
}
CHANGES: dict[str, dict[str, Any]] = {
    "epsilon of the residual blocks 1e-6": {"epsilon": 1e-6},
    "timesteps from 1": {"time_offset": 0},
    "eight channels of a head": {"heads": (4, 8, 8, 8)},
}


@pytest.fixture(scope="module")
def odd():
    """The UNet of Stable Diffusion 1, latents whose sides are no multiple of 8, and what diffusers makes of them."""
    case = made_unet("SD 1")
    x, condition = inputs(case.config, 5, 7)
    return case, x, condition, case.output(x, condition)


def shown(case, x, condition, expected, **changed) -> float:
    """The error without compiling the whole, since each mistake is another network."""
    return error(case.network(**changed)(jnp.asarray(x), T, jax.tree.map(jnp.asarray, condition)), expected)


def test_a_unet_without_mistakes(odd):
    assert shown(*odd) < TOLERANCE["unet"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_unet_shows(odd, mistake, monkeypatch):
    place, wrong = MISTAKES[mistake]
    monkeypatch.setattr(f"jaxdiff.models.{place}", wrong)
    assert shown(*odd) > TOLERANCE["unet"]


@pytest.mark.parametrize("change", CHANGES)
def test_another_configuration_of_the_unet_shows(odd, change):
    assert shown(*odd, **CHANGES[change]) > TOLERANCE["unet"]


@pytest.mark.parametrize(
    "place, wrong",
    [("UNET", None), ("unet_condition._transformer", with_heads_of_the_other_end), ("unet_condition.jnp", Reversed())],
    ids=["no mistake", "heads of the other end", "sizes before the pooled text"],
)
def test_a_mistake_in_what_sdxl_adds_shows(place, wrong, monkeypatch):
    case = made_unet("SDXL")
    x, condition = inputs(case.config, 4, 4)
    if wrong is not None:
        monkeypatch.setattr(f"jaxdiff.models.{place}", wrong)
    assert (shown(case, x, condition, case.output(x, condition)) > TOLERANCE["unet"]) == (wrong is not None)


# --- the autoencoder ---


class Vae(NamedTuple):
    """An autoencoder of diffusers, and what ours is made from."""

    model: Any
    read: autoencoder_config.Autoencoder

    def moments(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Theirs."""
        with torch.no_grad():
            found = self.model.encode(to_theirs(images)).latent_dist
        return to_ours(found.mean), to_ours(found.logvar)

    def decoded(self, latents: np.ndarray) -> np.ndarray:
        """Theirs."""
        with torch.no_grad():
            return to_ours(self.model.decode(to_theirs(latents)).sample)

    def networks(self) -> list[Network]:
        """Ours, made anew."""
        parts = [abstract.__wrapped__(make, self.read.config) for make in (latent_encoder, latent_decoder)]
        return torch_names.parts_from_torch(parts, state_of(self.model))


def made_vae(**changed) -> Vae:
    model = drawn(AutoencoderKL(**{**VAE, **changed}))
    return Vae(model, autoencoder_config.read(settings_of(model)))


@pytest.fixture(scope="module")
def vae() -> Vae:
    return made_vae()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (2, 32, 48, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, 4, 6, 4)).astype(np.float32)


def test_the_moments_are_diffusers(vae, images):
    encoder, _ = vae.networks()
    for ours, theirs in zip(run(encoder, images), vae.moments(images), strict=True):
        assert ours.shape == (2, 4, 6, 4) and error(ours, theirs) < TOLERANCE["moments"]


def test_log_variances_are_clipped_as_in_diffusers(vae, images):
    wide = made_vae()
    with torch.no_grad():
        wide.model.quant_conv.bias[4:] = torch.tensor([-40.0, 40.0, 0.0, 10.0])
    (mean, log_variance), theirs = wide.networks()[0](jnp.asarray(images)), wide.moments(images)
    assert error(mean, theirs[0]) < TOLERANCE["moments"] and error(log_variance, theirs[1]) < TOLERANCE["moments"]
    assert float(log_variance.min()) == -30 and float(log_variance.max()) == 20


def test_decoding_is_diffusers(vae, latents):
    _, decoder = vae.networks()
    ours = run(decoder, latents)
    assert ours.shape == (2, 32, 48, 3) and error(ours, vae.decoded(latents)) < TOLERANCE["decoding"]


def test_an_autoencoder_without_convolutions_between_is_diffusers(images, latents):
    """As those of later models."""
    short = made_vae(use_quant_conv=False, use_post_quant_conv=False, block_out_channels=(32, 64), layers_per_block=1,
                     down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    encoder, decoder = short.networks()
    images, latents = images[:, :8, :8], latents[:, :4, :4]
    assert error(encoder(jnp.asarray(images))[0], short.moments(images)[0]) < TOLERANCE["moments"]
    assert error(decoder(jnp.asarray(latents)), short.decoded(latents)) < TOLERANCE["decoding"]


def two_heads(self, x):
    self.heads = 2
    return own_attention(self, x)


own_attention = latent_blocks.PixelAttention.__call__
VAE_MISTAKES: dict[str, tuple[str, Any]] = {
    "padding on all sides": ("autoencoder.Downsampler", padded(centred=True)),
    "epsilon 1e-5": ("autoencoder.EPSILON", 1e-5),
    "two heads": ("latent_blocks.PixelAttention.__call__", two_heads),
    "no attention": ("latent_blocks.PixelAttention.__call__", lambda self, x: x),
}


@pytest.mark.parametrize("mistake", VAE_MISTAKES)
def test_a_mistake_in_the_autoencoder_shows(vae, images, latents, mistake, monkeypatch):
    place, wrong = VAE_MISTAKES[mistake]
    monkeypatch.setattr(f"jaxdiff.models.{place}", wrong)
    encoder, decoder = vae.networks()
    assert error(encoder(jnp.asarray(images))[0], vae.moments(images)[0]) > TOLERANCE["moments"]
    if place != "autoencoder.Downsampler":  # which the decoder has none of
        assert error(decoder(jnp.asarray(latents)), vae.decoded(latents)) > TOLERANCE["decoding"]


def test_the_log_variance_comes_second(vae, images):
    mean, log_variance = vae.networks()[0](jnp.asarray(images))
    theirs = vae.moments(images)
    assert min(error(log_variance, theirs[0]), error(mean, theirs[1])) > 0.1


def test_an_autoencoder_comes_back_to_diffusers_as_it_was(vae):
    settings, state = latent_networks.exported_autoencoder(vae.read, *vae.networks())
    assert autoencoder_config.read(settings) == vae.read
    model = AutoencoderKL.from_config(settings)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    assert all(np.array_equal(state[name], array) for name, array in state_of(vae.model).items())


@pytest.mark.parametrize("height, width", [(4, 4), (5, 9), (7, 3)])
def test_tiles_are_blended_as_in_diffusers(vae, height, width):
    """Tiles of 4 latents that overlap by a quarter, for latents of one tile, of several, and with a narrow rest."""
    latents = np.random.default_rng(4).standard_normal((1, height, width, 4)).astype(np.float32)
    _, decoder = vae.networks()
    vae.model.enable_tiling()
    try:
        expected = vae.decoded(latents)
    finally:
        vae.model.disable_tiling()
    ours = decoded_in_tiles(partial(run, decoder), jnp.asarray(latents), tile=4, overlap=0.25)
    assert error(ours, expected) < TOLERANCE["decoding"]


# --- the real sizes, without arrays ---


def shapes(model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("name", REAL_UNETS)
def test_the_arrays_of_a_real_unet(name):
    settings, count, arrays = REAL_UNETS[name]
    with torch.device("meta"):
        model = UNet2DConditionModel(**settings)
    wanted = shapes(model)
    found = torch_names.expected(abstract(condition_unet, unet_condition_config.read(settings_of(model))))
    assert found == wanted and len(found) == arrays
    assert sum(int(np.prod(shape)) for shape in wanted.values()) == count


def test_the_arrays_of_a_real_autoencoder():
    with torch.device("meta"):
        model = AutoencoderKL(**REAL_VAE)
    config = autoencoder_config.read(settings_of(model)).config
    parts = [torch_names.expected(abstract(make, config)) for make in (latent_encoder, latent_decoder)]
    assert {**parts[0], **parts[1]} == shapes(model) and len(shapes(model)) == 248
