"""The model of time series as a task of `jaxdiff train`."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxdiff import model as models
from jaxdiff import parallel, priors, weight_file
from jaxdiff import process as processes
from jaxdiff._console.pictures import grid, write
from jaxdiff.data import Source, load_arrays, require_two_values
from jaxdiff.data.series import SeriesSource, open_series
from jaxdiff.errors import InputError
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.process import Process, bridge_ve, bridge_vp
from jaxdiff.series_training import SeriesObjective
from jaxdiff.solvers import DPMSolverSDE, sample
from jaxdiff.spaces import Series
from jaxdiff.training import Optimization, TrainState

from .folder import Folder
from .series_options import EXACT, SeriesOptions
from .task import Task

PREVIEW = 32
PRICES = ("Open", "High", "Low", "Close")


@dataclass(frozen=True)
class SeriesTask(Task):
    """A model of time series.

    Attributes:
        series: the space of the windows.
    """

    kind = weight_file.MODEL
    network: SeriesConfig
    objective: SeriesObjective
    series: Series

    @property
    def space(self) -> Series:
        """See `Task.space`."""
        return self.series

    def fresh(self, key) -> Network:
        return jax.jit(series_transformer, static_argnums=0)(self.network, key)

    def config(self, options: SeriesOptions, attributes) -> dict[str, Any]:
        return {**super().config(options, attributes), "space": self.series.config()}

    def save(self, options: SeriesOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        network = Network(parallel.gather(state.ema), state.network.structure)
        model = self._model(options, source, network, step)
        folder.write(self.kind.file, lambda: models.save(folder.path, model))

    def show(self, options: SeriesOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """At every --preview-every steps, drawn windows, in equal parts of each value of the first attribute."""
        if step != self.steps and not (options.preview_every and step % options.preview_every == 0):
            return
        name = f"previews/{step:07d}.png"
        if parallel.run_on_first((folder.path / name).exists):
            return
        model = self._model(options, source, Network(state.ema, state.network.structure), step)
        places = np.arange(PREVIEW + -PREVIEW % jax.sharding.get_mesh().size) % PREVIEW
        labels = np.zeros((len(places), len(self.network.values)), np.int32)
        if self.network.values:
            labels[:, 0] = places * self.network.values[0] // PREVIEW
        drawn = sample(
            model.denoise,
            model.process,
            shape=model.shape,
            condition=model.conditions.encode(labels),
            solver=DPMSolverSDE(20),
            key=jax.random.key(options.seed),
            indices=jnp.asarray(places),
        )
        picture = grid(model.space.pictures(model.space.decode(parallel.gather(drawn)[:PREVIEW])), 8)
        folder.write(name, lambda: write(picture, folder.path / name))

    def _model(self, options: SeriesOptions, source: Source, network: Network, step: int) -> models.Model:
        training = self.provenance(options, step)
        return models.series_model(
            self.network, network, self.process, self.objective.prediction, self.series, source.attributes, training
        )


def training_series(options: SeriesOptions) -> SeriesSource:
    """The training windows, without those that have missing values."""
    source = open_series(options.series, split="train", by=options.split, window=options.window, test_share=options.test_share)
    return source.complete()


def resolve(options: SeriesOptions, source: SeriesSource) -> SeriesTask:
    """Completes the options from the preset and the data.

    Raises:
        InputError: a column is constant, an attribute has one value, or the prior does not fit the columns.
    """
    for attribute in source.attributes:
        require_two_values(source, attribute.name)
    base = options.base
    windows, _ = load_arrays(source)
    space = Series.fit(windows, source.columns)
    process = series_process(options, space, space.encode(windows))
    given = lambda name: getattr(base, name) if getattr(options, name) is None else getattr(options, name)  # noqa: E731
    network = dataclasses.replace(
        base.network,
        length=space.length,
        features=len(space.columns),
        values=tuple(len(attribute.values) for attribute in source.attributes),
        end_input=options.has_end_input,
        known_input=options.has_end_input and options.prior_name in EXACT,
        dtype=options.dtype or base.network.dtype,
    )
    objective = SeriesObjective(
        prediction=options.predicted,
        error=options.error or ("absolute" if options.predicted == "x0" else "squared"),
        weighting=options.weighting,
        sigma_data=base.sigma_data,
        label_dropout=options.label_dropout,
        phases=options.phases,
    )
    steps = given("steps")
    optimization = Optimization(
        learning_rate=given("learning_rate"),
        warmup=options.warmup,
        decay_steps=steps,
        weight_decay=0.0,
        ema_decay=given("ema_decay"),
    )
    models.require_end_input(network, process, options.predicted)
    return SeriesTask(network, process, objective, optimization, steps, given("batch_size"), space)


def series_process(options: SeriesOptions, space: Series, x0: Float[np.ndarray, "n l f"]) -> Process:
    """The process, a bridge with its prior fitted to the training windows.

    Arguments:
        options: the options.
        space: the space of the windows.
        x0: the training windows, encoded.
    """
    if not options.bridge:
        return processes.from_config({"name": options.process_name})
    settings: dict[str, Any] = {}
    match options.prior_name:
        case "gp":
            variance = options.base.variance if options.variance is None else options.variance
            settings = {"kernel": options.kernel or "rbf", "length": options.length_scale or 3.0, "variance": variance}
        case "trend":
            settings = {"kind": options.trend or "butterworth"}
        case "imputation":
            least, most = options.missing or (0.1, 0.9)
            settings = {"kind": options.interpolation or "linear", "least": least, "most": most}
        case "fixed":
            settings = {"share": options.fixed_share or 0.1}
        case "ohlc":
            settings = {"low": space.low, "high": space.high, "columns": _price_columns(options, space)}
    prior = priors.PRIORS[options.prior_name].fit(x0, options.seed, **settings)
    base = options.base
    if options.process_name == "bridge_ve":
        return bridge_ve(options.sigma_max or 1.0, prior)
    return bridge_vp(options.beta_min or base.beta_min, options.beta_slope or base.beta_slope, prior)


def _price_columns(options: SeriesOptions, space: Series) -> tuple[int, ...]:
    """The positions of the price columns."""
    names = options.prices or PRICES
    if missing := [name for name in names if name not in space.columns]:
        raise InputError(f"--prices names the column {missing[0]!r}; the data have {', '.join(space.columns)}")
    return tuple(space.columns.index(name) for name in names)
