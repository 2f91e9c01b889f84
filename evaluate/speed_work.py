"""The work that `evaluate speed` gives to both frameworks: one network with one set of weights, one process, one solver."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff.data import Attribute
from jaxdiff.model import Model, image_model
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.presets import preset
from jaxdiff.process import Process, ddpm
from jaxdiff.solvers import DDIM

from .flops import matrix_flops

# Networks without a stem, which PyTorch's UNets lack.
NETWORKS = {
    "rehearsal": UNetConfig(size=8, base=32, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=32, values=(2,)),
    "small": UNetConfig(size=32, base=32, multipliers=(1, 2, 2), blocks=1, attention=(16,), head_channels=32, values=(2,)),
    # DDPM's network of CIFAR-10, with labels (Ho et al. 2020, appendix B)
    "large": UNetConfig(
        base=128,
        multipliers=(1, 2, 2, 2),
        blocks=2,
        attention=(16,),
        head_channels=256,
        values=(2,),
        epsilon=1e-6,
        embedding="shift",
        downsampling="convolution",
        upsampling="convolution",
    ),  # fmt: skip
    "faces64": replace(preset("faces64").network, values=(2,)),
}
PREDICTION = "eps"
TAU = 0.64  # the authors' transition point; where a switch lies does not change its cost
ATTRIBUTE = Attribute("group", ("first", "second"))
UNSAFE = 512  # random images that the safe denoiser keeps away from
STRENGTH = 0.5  # of the safe denoiser


@dataclass(frozen=True)
class Work:
    """What is computed.

    Arguments:
        config: the network, without labels other than one attribute of two values.
        batch: images drawn at once.
        steps: of DDIM.
        train_batch: images of a training step.
        train_steps: training steps that are timed together.
        search_batch: noises of jaxdiff's search for tau.
        authors_batch: noises of the authors' procedure.
        authors_steps: of its `timesteps`, those that are run; the time of the others is taken to be as long.
        count: images of the whole job.
        seed: of weights, labels and images.
    """

    config: UNetConfig
    batch: int
    steps: int
    train_batch: int
    train_steps: int
    search_batch: int
    authors_batch: int
    authors_steps: int
    count: int
    seed: int

    @cached_property
    def network(self) -> Network:
        """The network in float32, no layer zero: a fresh network's output would be."""
        network = jax.jit(partial(unet, self.config))(jax.random.key(self.seed))
        rng = np.random.default_rng(self.seed)

        def filled(path, leaf):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            if name.endswith("kernel") and not np.asarray(leaf).any():
                return jnp.asarray(rng.standard_normal(leaf.shape, np.float32) / np.sqrt(np.prod(leaf.shape[:-1])))
            return leaf

        return Network(jax.tree_util.tree_map_with_path(filled, network.weights), network.structure)

    def in_dtype(self, dtype: str) -> Network:
        """The network, computing in this dtype with the same weights."""
        config = replace(self.config, dtype=dtype)
        structure = jax.eval_shape(partial(unet, config), jax.random.key(0)).structure
        return Network(self.network.weights, structure)

    @cached_property
    def process(self) -> Process:
        """The forward process: the cosine table of DDPM, which both frameworks have."""
        return ddpm("cosine")

    @property
    def solver(self) -> DDIM:
        """DDIM on uniform times, which diffusers calls trailing."""
        return DDIM(self.steps)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image, (H, W, C)."""
        return self.config.shape

    def denoiser(self, dtype: str) -> Callable:
        """The network's posterior mean, clipped to [-1, 1]."""
        return self.model(dtype).denoise

    def model(self, dtype: str) -> Model:
        """The network as a trained model, to be saved."""
        config = replace(self.config, dtype=dtype)
        return image_model(config, self.in_dtype(dtype), self.process, PREDICTION, (ATTRIBUTE,))

    def labels(self, count: int) -> np.ndarray:
        """Labels in turn, (count,)."""
        return (np.arange(count) % 2).astype(np.int32)

    def images(self, count: int) -> np.ndarray:
        """Random images, (count, H, W, C)."""
        return np.random.default_rng(self.seed).uniform(-1, 1, (count, *self.shape)).astype(np.float32)

    @cached_property
    def pass_flops(self) -> int:
        """Matrix operations of one pass of the network over one image, as jaxdiff does it here."""
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        one = jax.ShapeDtypeStruct((1,), jnp.float32)
        return matrix_flops(self.network, x, one, jax.ShapeDtypeStruct((1,), jnp.int32))

    @cached_property
    def train_flops(self) -> int:
        """Matrix operations of the passes forward and back over one image, as jaxdiff does them here."""

        def loss(weights, x: Any, time: Any, labels: Any):
            return Network(weights, self.network.structure)(x, time, labels).sum()

        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        one = jax.ShapeDtypeStruct((1,), jnp.float32)
        return matrix_flops(jax.grad(loss), self.network.weights, x, one, jax.ShapeDtypeStruct((1,), jnp.int32))

    def images_of(self, task: str) -> int | None:
        """Images that a run of a task draws or trains on; None where it is not told by images."""
        if task in ("sampling", "switching", "safe"):
            return self.batch
        return {"training": self.train_batch * self.train_steps, "job": self.count}.get(task)

    def products(self, device: str) -> tuple[int, int]:
        """Size and number of the square products that tell a device's rate."""
        return (8192, 10) if device == "cuda" else (2048, 2)

    def batches(self) -> range:
        """Where the batches of the whole job begin; the last one is drawn whole."""
        return range(0, self.count, self.batch)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.network.weights))
