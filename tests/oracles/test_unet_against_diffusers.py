"""Our UNet beside diffusers' UNet2DModel with the same weights: random ones, so that no branch of either is zero."""

import dataclasses
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    from diffusers import UNet2DModel

from jaxdiff.interop import unet2d
from jaxdiff.models.network import Network, unet
from jaxdiff.models.unet import UNetConfig
from jaxdiff.presets import PRESETS

pytestmark = pytest.mark.usefixtures("quick_compiling")

FACES64 = dataclasses.replace(PRESETS["faces64"].network, size=32, attention=(16, 8, 4), blocks=1)
FACES128 = dataclasses.replace(PRESETS["faces128"].network, size=32, attention=(8, 4, 2), blocks=1, dtype="float32")
SMALL = UNetConfig(size=16, base=32, multipliers=(1, 2), blocks=1, attention=(), head_channels=32, dropout=0.0)
CONFIGS = {
    "faces64": dataclasses.replace(FACES64, values=(2,)),
    "faces128": FACES128,
    "unconditional": SMALL,
    "one head": dataclasses.replace(SMALL, attention=(16, 8), head_channels=64, values=(5,)),
    "several attributes": dataclasses.replace(SMALL, attention=(8,), values=(2, 3)),
    "grey, three levels": dataclasses.replace(SMALL, multipliers=(1, 2, 1), channels=1, blocks=2),
}


def drawn(config: UNetConfig, seed: int = 0) -> Network:
    """A network with every weight drawn: kernels so that activations keep their size, scales around 1."""
    made, rng = jax.eval_shape(partial(unet, config), jax.random.key(0)), np.random.default_rng(seed)
    flat, tree = jax.tree_util.tree_flatten_with_path(made.weights)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        fan_in = np.prod(leaf.shape[:-1]) if "kernel" in name else 1 if "table" in name else 10
        return jnp.asarray(
            ("scale" in name.rsplit("/", 2)[-2]) + rng.standard_normal(leaf.shape) / np.sqrt(fan_in), jnp.float32
        )

    return Network(jax.tree.unflatten(tree, [draw(path, leaf) for path, leaf in flat]), made.structure)


def theirs(config: UNetConfig, network: Network) -> UNet2DModel:
    """The UNet2DModel of an exported network."""
    settings, state = unet2d.exported(config, network)
    model = UNet2DModel(**{key: value for key, value in settings.items() if not key.startswith("_")})
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_unet2dmodel_computes_what_our_network_does(name, rng):
    config = CONFIGS[name]
    network = drawn(config)
    x = rng.standard_normal((3, config.size, config.size, config.channels)).astype(np.float32)
    timestep = np.asarray([0, 511, 999])
    labels = np.stack([rng.integers(-1, count, 3) for count in config.values], 1) if config.values else None
    classes = None
    if labels is not None:
        labels[0] = -1
        places = [np.where(labels[:, i] < 0, count, labels[:, i]) for i, count in enumerate(config.values)]
        classes = torch.from_numpy(np.ravel_multi_index(places, [count + 1 for count in config.values]))
    condition = None if labels is None else jnp.asarray(labels)
    ours = jax.jit(Network.__call__)(network, jnp.asarray(x), jnp.asarray((timestep + 1) / 1000, jnp.float32), condition)
    with torch.no_grad():
        model = theirs(config, network)
        expected = model(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(timestep), classes).sample
    expected = expected.permute(0, 2, 3, 1).numpy()
    assert np.std(expected) > 0.1
    error = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
    assert error < 1e-5
