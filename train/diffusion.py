"""The diffusion model as a task of `jaxdiff train`."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import model as models
from jaxdiff import parallel, weight_file
from jaxdiff._console import arguments
from jaxdiff._console.pictures import grid, write
from jaxdiff.data import Source
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.presets import preset
from jaxdiff.solvers import DDIM, sample
from jaxdiff.training import Objective, Optimization, TrainState

from .folder import Folder
from .options import ImageOptions, Options
from .task import ImageTask, forward_process


@dataclass(frozen=True)
class Diffusion(ImageTask):
    """A diffusion model, conditioned on labels or unconditional."""

    kind = weight_file.MODEL
    network: UNetConfig
    objective: Objective

    def fresh(self, key) -> Network:
        return jax.jit(unet, static_argnums=0)(self.network, key)

    def save(self, options: Options, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        network = Network(parallel.gather(state.ema), state.network.structure)
        model = self._model(options, source, network, step)
        folder.write(self.kind.file, lambda: models.save(folder.path, model))

    def show(self, options: Options, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """At every --preview-every steps, a grid with one row per value of the first attribute, from the same noise; what a run
        has shown that repeats its last steps is the same."""
        if step != self.steps and not (options.preview_every and step % options.preview_every == 0):
            return
        name = f"previews/{step:07d}.png"
        if parallel.run_on_first((folder.path / name).exists):
            return
        model, columns = self._model(options, source, Network(state.ema, state.network.structure), step), 8
        counts = self.network.values or (1,)
        count = counts[0] * columns
        # padded to a multiple of the number of devices
        places = np.arange(count + -count % jax.sharding.get_mesh().size) % count
        labels = np.zeros((len(places), len(counts)), np.int32)
        labels[:, 0] = places // columns
        drawn = sample(
            model.denoise,
            model.process,
            shape=model.shape,
            condition=jnp.asarray(labels) if self.network.values else None,
            solver=DDIM(25),
            key=jax.random.key(options.seed),
            indices=places % columns,
        )
        picture = grid(model.space.pictures(model.space.decode(parallel.gather(drawn)[:count])), columns)
        folder.write(name, lambda: write(picture, folder.path / name))

    def _model(self, options: Options, source: Source, network: Network, step: int) -> models.Model:
        training = self.provenance(options, step)
        return models.image_model(self.network, network, self.process, self.objective.prediction, source.attributes, training)


def image_size(options: ImageOptions) -> tuple[int, int]:
    """Height and width to which the images are resized."""
    return arguments.image_size(options.size) or preset(options.preset).network.shape[:2]


def resolve(options: Options, source: Source) -> Diffusion:
    """Completes the options from the preset and the data."""
    base = preset(options.preset)
    pick = lambda name: getattr(base, name) if getattr(options, name) is None else getattr(options, name)  # noqa: E731
    network = dataclasses.replace(
        base.network.resized(image_size(options), source.channels),
        values=tuple(len(attribute.values) for attribute in source.attributes),
        dtype=options.dtype or base.network.dtype,
        remat=options.remat,
    )
    objective = Objective(
        prediction=pick("prediction"),
        weighting=options.weighting,
        p2_gamma=options.p2_gamma,
        p2_k=options.p2_k,
        min_snr_gamma=options.min_snr_gamma,
        label_dropout=options.label_dropout,
        attribute_dropout=options.attribute_dropout,
        time_sampling=options.time_sampling,
        level_mean=options.level_mean,
        level_std=options.level_std,
        phases=options.phases,
    )
    optimization = Optimization(learning_rate=pick("learning_rate"), warmup=options.warmup, ema_decay=pick("ema_decay"))
    process = forward_process(options)
    if options.zero_terminal_snr and objective.prediction == "eps":
        raise InputError(
            "--zero-terminal-snr needs --prediction v, x0 or edm: eps carries no information about the image at SNR 0"
        )
    return Diffusion(network, process, objective, optimization, pick("steps"), pick("batch_size"))
