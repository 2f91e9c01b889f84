"""The workload of both frameworks in `evaluate speed`: one network with its weights, one process, one solver."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff._console.flops import matrix_flops
from jaxdiff.data import Attribute
from jaxdiff.model import Model, image_model
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.presets import preset
from jaxdiff.process import Process, ddpm
from jaxdiff.solvers import DDIM, Solver
from jaxdiff.training import Losses, Objective

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
TAU = 0.64  # the authors' transition point; the cost does not depend on it
ATTRIBUTE = Attribute("group", ("first", "second"))
UNSAFE = 512  # number of random unsafe images of the safe denoiser
STRENGTH = 0.5  # strength of the safe denoiser


def randomised(network: Network, seed: int) -> Network:
    """A fresh network with random weights in the layers that start at zero, so that its output is not zero."""
    rng = np.random.default_rng(seed)

    def filled(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("kernel") and not np.asarray(leaf).any():
            return jnp.asarray(rng.standard_normal(leaf.shape, np.float32) / np.sqrt(np.prod(leaf.shape[:-1])), leaf.dtype)
        return leaf

    return Network(jax.tree_util.tree_map_with_path(filled, network.weights), network.structure)


@dataclass(frozen=True)
class Workload:
    """The sizes of the tasks.

    Arguments:
        config: the network, conditioned on one attribute of two values.
        batch: images per sampling batch.
        steps: number of DDIM steps.
        train_batch: images per training step.
        train_steps: training steps per timing.
        search_batch: noise samples in jaxdiff's search for tau.
        authors_batch: noise samples in the authors' procedure.
        authors_steps: steps of the authors' procedure to run; the time of the others is extrapolated.
        count: images of the whole job.
        seed: seed of weights and images.
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
        """The network in float32, with random weights."""
        return randomised(jax.jit(partial(unet, self.config))(jax.random.key(self.seed)), self.seed)

    def in_dtype(self, dtype: str) -> Network:
        """The network, computing in this dtype with the same weights."""
        config = replace(self.config, dtype=dtype)
        structure = jax.eval_shape(partial(unet, config), jax.random.key(0)).structure
        return Network(self.network.weights, structure)

    @cached_property
    def process(self) -> Process:
        """The forward process: the cosine schedule of DDPM, which both frameworks have."""
        return ddpm("cosine")

    @property
    def solver(self) -> Solver:
        """DDIM with uniform times, `trailing` in diffusers."""
        return DDIM(self.steps)

    @property
    def shape(self) -> tuple[int, ...]:
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
        """Alternating labels, (count,)."""
        return (np.arange(count) % 2).astype(np.int32)

    def condition(self, count: int) -> Any:
        """The conditions of the network for `count` images."""
        return self.labels(count)

    def training_batch(self) -> dict[str, jax.Array]:
        """The batch of a training step."""
        labels = jnp.asarray(self.labels(self.train_batch))[:, None]
        return {"x0": jnp.asarray(self.images(self.train_batch)), "labels": labels}

    @property
    def objective(self) -> Losses:
        """The training loss."""
        return Objective(prediction=PREDICTION)

    def images(self, count: int) -> np.ndarray:
        """Random images, (count, H, W, C)."""
        return np.random.default_rng(self.seed).uniform(-1, 1, (count, *self.shape)).astype(np.float32)

    @cached_property
    def pass_flops(self) -> int:
        """Matrix operations of one pass of the network over one image in jaxdiff."""
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        one = jax.ShapeDtypeStruct((1,), jnp.float32)
        return matrix_flops(self.network, x, one, self.condition(1))

    @cached_property
    def train_flops(self) -> int:
        """Matrix operations of a forward and a backward pass over one image in jaxdiff."""

        def loss(weights, x: Any, time: Any, condition: Any):
            return Network(weights, self.network.structure)(x, time, condition).sum()

        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        one = jax.ShapeDtypeStruct((1,), jnp.float32)
        return matrix_flops(jax.grad(loss), self.network.weights, x, one, self.condition(1))

    def images_of(self, task: str) -> int | None:
        """Number of images that a run of a task draws or trains on; None for tasks without images."""
        if task in ("sampling", "switching", "safe"):
            return self.batch
        return {"training": self.train_batch * self.train_steps, "job": self.count}.get(task)

    def products(self, device: str) -> tuple[int, int]:
        """Size and number of the matrix products that measure the rate of a device."""
        return (8192, 10) if device == "cuda" else (2048, 2)

    def batches(self) -> range:
        """The first index of each batch of the whole job; the last batch is drawn in full."""
        return range(0, self.count, self.batch)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.network.weights))
