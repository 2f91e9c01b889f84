"""Training: the denoising loss, the training state and one training step, as pure functions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxdiff import parallel, phases
from jaxdiff.choices import (
    BOUNDARIES,
    PHASES,
    PREDICTIONS,
    TIME_SAMPLINGS,
    WEIGHTINGS,
    Prediction,
    check_boundaries,
)
from jaxdiff.errors import InputError
from jaxdiff.models.labels import NULL
from jaxdiff.models.network import Network
from jaxdiff.process import EARLIEST, SIGMA_DATA, Process, expand

LIKELIHOOD_EARLIEST = 1e-5  # Song et al. 2021, appendix C


class Losses(ABC):
    """The loss of a training step, for each image; hashable.

    Random numbers are drawn for the whole batch before it is divided, so that gradient accumulation gives the same step.

    Attributes:
        phases: the two SNR values that separate three ranges of noise, decreasing; the loss is logged per range.
    """

    phases: tuple[float, float]

    @abstractmethod
    def draw(self, process: Process, batch: dict[str, Array], key: PRNGKeyArray) -> tuple[dict[str, Array], Array]:
        """The inputs of `losses_of` for a batch: everything except the network.

        Arguments:
            process: the forward process.
            batch: `x0`, encoded data, float (B, ...), and `labels`, int32 (B, A).
            key: for all random numbers.

        Returns:
            Arrays with leading axis B, among them `t`, the times to which the images are noised, and a key for the network's
            dropout.
        """

    @abstractmethod
    def losses_of(
        self, network: Callable, process: Process, drawn: dict[str, Array], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, " b"]:
        """The loss of each image, whose mean is minimised.

        Arguments:
            network: the network, a callable.
            process: the forward process.
            drawn, dropout_key: the output of `draw` for these images.
        """

    def losses(
        self, network: Callable, process: Process, batch: dict[str, Array], key: PRNGKeyArray
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """The loss of each image of a batch, whose mean is minimised, and the time it was noised to."""
        drawn, dropout_key = self.draw(process, batch, key)
        return self.losses_of(network, process, drawn, dropout_key), drawn["t"]


@dataclass(frozen=True)
class Objective(Losses):
    """The weighted denoising loss.

    Arguments:
        prediction: what the network predicts: `eps`, `v`, `x0`, `score` or `edm`.
        weighting: one of `WEIGHTINGS`.
        p2_gamma: gamma of P2, at least 0; 0 is the unweighted error of eps.
        p2_k: k of P2, above 0.
        min_snr_gamma: gamma of min-SNR, the SNR at which its weight saturates, above 0.
        label_dropout: probability that all labels of an image are replaced by the null label, for classifier-free guidance.
        attribute_dropout: with several attributes, the probability that each label is replaced independently, so that the model
            also learns each attribute without the others. Not used with a single attribute.
        time_sampling: one of `TIME_SAMPLINGS`.
        level_mean: mean of the logarithm of the noise level sigma / alpha, for `log_normal`.
        level_std: its standard deviation, above 0.
        phases: the two SNR values that separate three ranges of noise, decreasing; the loss is logged per range.
    """

    prediction: str = "v"
    weighting: str = "simple"
    p2_gamma: float = 1.0
    p2_k: float = 1.0
    min_snr_gamma: float = 5.0
    label_dropout: float = 0.1
    attribute_dropout: float = 0.5
    time_sampling: str = "stratified"
    level_mean: float = -1.2
    level_std: float = 1.2
    phases: tuple[float, float] = BOUNDARIES

    def __post_init__(self):
        if self.prediction not in PREDICTIONS:
            raise InputError(f"`prediction` must be one of {', '.join(PREDICTIONS)}, got {self.prediction!r}")
        if self.weighting not in WEIGHTINGS:
            raise InputError(f"`weighting` must be one of {', '.join(WEIGHTINGS)}, got {self.weighting!r}")
        if self.p2_gamma < 0 or self.p2_k <= 0:
            raise InputError(f"P2 takes p2_gamma >= 0 and p2_k > 0, got p2_gamma={self.p2_gamma}, p2_k={self.p2_k}")
        if not self.min_snr_gamma > 0:
            raise InputError(f"`min_snr_gamma` must be above 0, got {self.min_snr_gamma}")
        if not self.level_std > 0:
            raise InputError(f"`level_std` must be above 0, got {self.level_std}")
        check_boundaries(self.phases)
        for name in ("label_dropout", "attribute_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"`{name}` must lie in [0, 1], got {getattr(self, name)}")
        if self.time_sampling not in TIME_SAMPLINGS:
            raise InputError(f"`time_sampling` must be one of {', '.join(TIME_SAMPLINGS)}, got {self.time_sampling!r}")

    def weights(self, process: Process, t: Float[Array, " b"]) -> Float[Array, " b"]:
        """The weight of the squared error of the network's own prediction at each time, (B,)."""
        if self.weighting == "simple":
            return jnp.ones_like(t)
        alpha, sigma = process.alpha(t), process.sigma(t)
        # the factor from the squared error of the prediction to that of eps
        in_eps = {
            "eps": jnp.ones_like(t),
            "v": (alpha / (alpha**2 + sigma**2)) ** 2,
            "x0": (alpha / sigma) ** 2,
            "score": sigma**2,
            "edm": (alpha * SIGMA_DATA) ** 2 / (sigma**2 + (alpha * SIGMA_DATA) ** 2),
        }[self.prediction]
        match self.weighting:
            case "likelihood":
                # the score is -eps / sigma; towards t = 0 the weight grows as 1 / t, so the paper also stops at 1e-5
                t = jnp.maximum(t, LIKELIHOOD_EARLIEST)
                return in_eps * process.g2(t) / process.sigma(t) ** 2
            case "p2":
                return in_eps / (self.p2_k + process.snr(t)) ** self.p2_gamma
            case _:  # min_snr
                return in_eps * jnp.minimum(1.0, self.min_snr_gamma / process.snr(t))

    def times(self, process: Process, key: PRNGKeyArray, count: int) -> Float[Array, " b"]:
        """Training times in (0, 1], (count,)."""
        if self.time_sampling == "uniform":
            return 1 - jax.random.uniform(key, (count,))
        stratified = stratified_times(key, count)
        if self.time_sampling == "stratified":
            return stratified
        # keeps the draws finite at 0 and 1
        level = self.level_mean + self.level_std * jax.scipy.special.ndtri(jnp.clip(stratified, 1e-6, 1 - 1e-6))
        return jnp.clip(process.time(-2 * level), EARLIEST, 1.0)

    def draw(self, process: Process, batch: dict[str, Array], key: PRNGKeyArray) -> tuple[dict[str, Array], Array]:
        """The images, their times, noise and labels; see `Losses.draw`."""
        x0, labels = batch["x0"], batch["labels"]
        time_key, noise_key, label_key, dropout_key = jax.random.split(key, 4)
        t = self.times(process, time_key, x0.shape[0])
        dropped = jax.random.bernoulli(label_key, self.label_dropout, t.shape)[:, None]
        if labels.shape[1] > 1:
            dropped |= jax.random.bernoulli(jax.random.fold_in(label_key, 1), self.attribute_dropout, labels.shape)
        noise = jax.random.normal(noise_key, x0.shape, x0.dtype)
        return {"x0": x0, "noise": noise, "labels": jnp.where(dropped, NULL, labels), "t": t}, dropout_key

    def losses_of(
        self, network: Callable, process: Process, drawn: dict[str, Array], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, " b"]:
        """The weighted denoising loss; see `Losses`. The network is called as `network(x, t, labels, dropout_key=key)`."""
        x0, noise, t = drawn["x0"], drawn["noise"], drawn["t"]
        x = process.noised(x0, noise, t)
        output = network(x / expand(process.scale(t), x), t, drawn["labels"], dropout_key=dropout_key)
        target = process.target(cast(Prediction, self.prediction), x0, noise, t)
        errors = jnp.square(output - target).mean(tuple(range(1, x.ndim)))
        return self.weights(process, t) * errors


def stratified_times(key: PRNGKeyArray, count: int) -> Float[Array, " b"]:
    """One time in each of `count` equal parts of (0, 1], decreasing."""
    # counted down, since 1 - (count - 1 + u) / count can round to 0
    return (jnp.arange(count, 0, -1) - jax.random.uniform(key, (count,))) / count


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The training state.

    Attributes:
        step: number of steps done, int32.
        network: the network with the current weights.
        ema: the exponential moving average of its weights, used for sampling.
        optimizer: the optimiser's state.
    """

    step: Any
    network: Network
    ema: Any
    optimizer: Any


@dataclass(frozen=True)
class Optimization:
    """The optimiser: AdamW with linear warm-up, clipping by global norm, and a moving average of the weights.

    Arguments:
        learning_rate: after warm-up.
        warmup: steps of linear warm-up.
        decay_steps: steps after which cosine decay has reduced the rate to a tenth; 0 keeps it constant.
        weight_decay: AdamW's.
        clip: largest global norm of the gradient.
        ema_decay: decay of the moving average, ramped up as min(decay, (1 + step) / (10 + step)).
    """

    learning_rate: float = 2e-4
    warmup: int = 200
    decay_steps: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    ema_decay: float = 0.999

    def transformation(self) -> optax.GradientTransformation:
        """The optax chain."""
        rate = optax.linear_schedule(0.0, self.learning_rate, max(1, self.warmup))
        if self.decay_steps:
            decay = optax.cosine_decay_schedule(self.learning_rate, max(1, self.decay_steps - self.warmup), alpha=0.1)
            rate = optax.join_schedules([rate, decay], [self.warmup])
        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=self.weight_decay),
        )


def initial_state(network: Network, optimization: Optimization) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        network=network,
        ema=jax.tree.map(jnp.copy, network.weights),
        optimizer=optimization.transformation().init(network.weights),
    )


@partial(jax.jit, static_argnames=("objective", "optimization", "parts"), donate_argnames="state")
def train_step(
    state: TrainState,
    process: Process,
    batch: dict[str, Array],
    key: PRNGKeyArray,
    requests: Int[Array, " d"] | None = None,
    *,
    objective: Losses,
    optimization: Optimization,
    parts: int = 1,
) -> tuple[TrainState, dict[str, Array]]:
    """One step. Its randomness is fold_in(key, step), so a resumed run needs no saved generator.

    Under `jax.set_mesh` with a mesh of `jaxdiff.parallel`, the state keeps the sharding of parameters, and a batch that is
    sharded over the devices stays sharded.

    Arguments:
        state: the state; its buffers are donated.
        process: the forward process.
        batch: see `Losses.draw`.
        key: the key of the run.
        requests: one number per device, whose maximum is returned: requests of the processes of a run, e.g. to stop.
        objective: the loss.
        optimization: the optimiser.
        parts: number of parts of the batch over which the gradient is accumulated: less memory and, up to rounding and
            dropout, the same step. The batch must be divisible by parts times devices: each device divides its own rows.

    Returns:
        The next state and the metrics, on the device: the scalars `loss` and `gradient_norm`; `phase_loss` and `phase_count`,
        (3,), the sum of the losses and the number of images in each range of noise; `request`, the maximum of the requests.
    """
    drawn, dropout_key = objective.draw(process, batch, jax.random.fold_in(key, state.step))

    def mean_loss(weights, drawn, dropout_key):
        network = Network(weights, state.network.structure)
        values = objective.losses_of(network, process, drawn, dropout_key)
        return values.mean(), values

    gradient, values = _in_parts(jax.grad(mean_loss, has_aux=True), state.network.weights, drawn, dropout_key, parts)
    gradient = parallel.shard_parameters(gradient)
    member = jax.nn.one_hot(phases.phase(process, drawn["t"], objective.phases), len(PHASES))
    updates, optimizer = optimization.transformation().update(gradient, state.optimizer, state.network.weights)
    weights = optax.apply_updates(state.network.weights, updates)
    decay = jnp.minimum(optimization.ema_decay, (1.0 + state.step) / (10.0 + state.step))
    ema = jax.tree.map(lambda average, new: average + (1 - decay) * (new - average), state.ema, weights)
    metrics = {
        "loss": values.mean(),
        "gradient_norm": optax.tree.norm(gradient),
        "phase_loss": values @ member,
        "phase_count": member.sum(0),
    }
    if requests is not None:
        metrics["request"] = requests.max()
    state = TrainState(state.step + 1, Network(weights, state.network.structure), ema, optimizer)
    return parallel.shard_parameters(state), metrics


def _in_parts(gradient_of: Callable, weights: Any, drawn: dict[str, Array], dropout_key, parts: int) -> tuple[Any, Array]:
    """The gradient, accumulated over the parts of a batch, and the loss of each image, (B,)."""
    if parts == 1:
        return gradient_of(weights, drawn, dropout_key)
    # a part takes every parts-th row, so that the contiguous rows of a device are divided among all parts
    split = jax.tree.map(lambda rows: rearrange(rows, "(b parts) ... -> parts b ...", parts=parts), drawn)

    def add(total, each):
        number, rows = each
        gradient, values = gradient_of(weights, parallel.shard_batch(rows), jax.random.fold_in(dropout_key, number))
        return jax.tree.map(lambda old, new: old + new / parts, total, gradient), values

    start = jax.tree.map(jnp.zeros_like, weights)
    # XLA's CPU backend takes up to a hundred times as long for gradients of convolutions within a loop
    unroll = parts if jax.default_backend() == "cpu" else 1
    gradient, values = jax.lax.scan(add, start, (jnp.arange(parts), split), unroll=unroll)
    return gradient, rearrange(values, "parts b -> (b parts)")
