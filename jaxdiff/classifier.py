"""A classifier of noised images: the odds that weight the safe denoiser, and the density ratios of distribution guidance.

For a set of values of an attribute, the exact safe denoiser uses the posterior odds P(unsafe | x_t) / P(safe | x_t): E_safe =
E + odds (E - E_unsafe) (Kim et al. 2025, theorem 3.2). They are learned by cross-entropy on noised images, as the guidance
classifiers of Dhariwal & Nichol 2021. For combinations of two attributes, they also tell how the density of noised images of a
group changes with the shares of the other attribute (`LogRatio`).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff import process as processes
from jaxdiff import weight_file
from jaxdiff.boundary import reading
from jaxdiff.bounds import shortened
from jaxdiff.calibration import Calibration, log_posterior, signal
from jaxdiff.choices import BOUNDARIES, check_boundaries
from jaxdiff.data.attributes import Attribute, attribute_of, product_of
from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.network import Network, abstract, noised_classifier
from jaxdiff.process import Process, expand
from jaxdiff.training import Losses, stratified_times


@dataclass(frozen=True)
class Classification(Losses):
    """The cross-entropy of the labels at times stratified over (0, 1].

    Arguments:
        shares: the prior: the share of each value in the training data, above 0, summing to 1.
        phases: the two SNR values that separate three ranges of noise, decreasing; the loss is logged per range.
    """

    shares: tuple[float, ...]
    phases: tuple[float, float] = BOUNDARIES

    def __post_init__(self):
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise InputError(f"`shares` must be above 0 and sum to 1, got {self.shares}")
        check_boundaries(self.phases)

    def draw(self, process: Process, batch: dict[str, Array], key: PRNGKeyArray) -> tuple[dict[str, Array], Array]:
        """The images, their times and noise; see `Losses.draw`. `labels` are int32 (B, 1)."""
        time_key, noise_key, dropout_key = jax.random.split(key, 3)
        x0 = batch["x0"]
        noise = jax.random.normal(noise_key, x0.shape, x0.dtype)
        return {**batch, "noise": noise, "t": stratified_times(time_key, x0.shape[0])}, dropout_key

    def losses_of(
        self, network: Callable, process: Process, drawn: dict[str, Array], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, " b"]:
        """The cross-entropy, in nats; see `Losses`. The network is called as `network(x, t, dropout_key=key)`."""
        t = drawn["t"]
        x = process.noised(drawn["x0"], drawn["noise"], t)
        evidence = network(x / expand(process.scale(t), x), t, dropout_key=dropout_key)
        log_p = log_posterior(jnp.log(jnp.asarray(self.shares)), signal(process, t), evidence)
        return optax.losses.softmax_cross_entropy_with_integer_labels(log_p, drawn["labels"][:, 0])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogPosterior:
    """log P(value | x_t) of each value of the attribute, as a pytree: jit takes the weights as arguments.

    Attributes:
        network: the network.
        process: the forward process that it was trained on.
        calibration: the calibration of the network.
        log_shares: log of the prior, (K,).
        shape: of one image, (H, W, C).
    """

    network: Network
    process: Process
    calibration: Calibration
    log_shares: Float[Array, " k"]
    shape: tuple[int, int, int] = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b h w c"], t: ArrayLike) -> Float[Array, "b k"]:
        """The log posterior of each image.

        Arguments:
            x: images noised by `process`, (B, H, W, C).
            t: their times in [0, 1], of shape () or (B,).

        Raises:
            InputError: the images have another shape.
        """
        if x.shape[1:] != self.shape:
            raise InputError(f"`x` holds images of shape {x.shape[1:]}; this classifier takes {self.shape}")
        t = jnp.broadcast_to(jnp.asarray(t, jnp.float32), x.shape[:1])
        evidence = self.network(x / expand(self.process.scale(t), x), t)
        return log_posterior(self.log_shares, signal(self.process, t), self.calibration(evidence, t))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogOdds:
    """log P(in a set of values | x_t) - log P(not in it | x_t), as a pytree.

    Attributes:
        log_posterior: that of the single values.
        members: which values are in the set, (K,): at least one, but not all.
    """

    log_posterior: LogPosterior
    members: Bool[Array, " k"]

    def __call__(self, x: Float[Array, "b h w c"], t: ArrayLike) -> Float[Array, " b"]:
        """The log odds of each image; arguments and errors as of `LogPosterior`."""
        log_p = self.log_posterior(x, t)
        within, without = (jax.nn.logsumexp(log_p, axis=-1, where=mask) for mask in (self.members, ~self.members))
        return within - without


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogRatio:
    """log of the density of noised images of a group c with new shares of an attribute a, over that of the data, as a pytree:

        log q(x_t | c) / p(x_t | c) = log sum_a [q(a | c) / p(a | c)] P(a | x_t, c),

    where q(x_t | c) = sum_a q(a | c) p(x_t | c, a).

    Attributes:
        log_posterior: that of the pairs (c, a), the last fastest, C A of them.
        log_target: log q(a | c), (C, A); -inf for a share of 0.
    """

    log_posterior: LogPosterior
    log_target: Float[Array, "c a"]

    def __call__(self, x: Float[Array, "b h w c"], t: ArrayLike, group: Float[Array, "b g"]) -> Float[Array, " b"]:
        """The log ratio of each image; arguments and errors as of `LogPosterior`, and

        Arguments:
            group: the group of each image, one-hot (B, C); zeros for none, whose log ratio is 0.
        """
        log_p = self.log_posterior(x, t).reshape(len(x), *self.log_target.shape)
        log_shares = jax.nn.log_softmax(self.log_posterior.log_shares.reshape(self.log_target.shape), axis=-1)
        of_groups = jax.nn.logsumexp(jax.nn.log_softmax(log_p) + self.log_target - log_shares, axis=-1)
        return (group * of_groups).sum(-1)


@dataclass(frozen=True)
class NoisedClassifier:
    """A trained classifier of noised images for one attribute.

    Attributes:
        config: the network's shape.
        network: the network with its averaged weights.
        process: the forward process that it was trained on.
        attribute: the attribute that it classifies.
        shares: the share of each value in the training data: its prior.
        calibration: fitted on held-out images; the identity for an unfinished run.
        training: how it was trained, for provenance, and its quality on held-out images.
        fingerprint: the first 16 hexadecimal digits of the SHA-256 of weights and description.
    """

    config: ClassifierConfig
    network: Network
    process: Process
    attribute: Attribute
    shares: tuple[float, ...]
    calibration: Calibration
    training: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image, (H, W, C)."""
        return self.config.shape

    def require(self, process: Process) -> None:
        """Raises `InputError` if `process` is not the one that the classifier was trained on."""
        own, other = self.process.config(), process.config()
        if own != other:
            raise InputError(f"this classifier was trained on images noised by {own}; its odds are not valid for {other}")

    def members(self, values: Sequence[str]) -> tuple[bool, ...]:
        """Whether each value of the attribute is one of `values`.

        Raises:
            InputError: a value is unknown, or `values` is empty or has all of them.
        """
        known = self.attribute.values
        if unknown := [value for value in values if value not in known]:
            raise InputError(f"attribute {self.attribute.name!r} has no value {unknown[0]!r}; it takes {', '.join(known)}")
        if not 0 < len(set(values)) < len(known):
            raise InputError(f"`values` must be some but not all of {', '.join(known)}, got {', '.join(values) or 'none'}")
        return tuple(value in values for value in known)

    @property
    def log_posterior(self) -> LogPosterior:
        """log P(value | x_t) of each value as a function of (x, t)."""
        log_shares = jnp.log(jnp.asarray(self.shares, jnp.float32))
        return LogPosterior(self.network, self.process, self.calibration, log_shares, self.shape)

    def log_odds(self, values: Sequence[str]) -> LogOdds:
        """log P(in `values` | x_t) - log P(not | x_t) as a function of (x, t).

        Arguments:
            values: names of values of the attribute: at least one, but not all.
        """
        return LogOdds(self.log_posterior, jnp.asarray(self.members(values)))

    def shares_within(self, group: Attribute) -> tuple[Attribute, Float[np.ndarray, "c a"]]:
        """The attribute a whose values this classifier joins to those of `group`, and the shares p(a | c) in the training data.

        Raises:
            InputError: it does not classify combinations of `group`, first, with another attribute.
        """
        start = f"{group.name}+"
        if self.attribute.name.startswith(start) and len(self.attribute.values) % len(group.values) == 0:
            count = len(self.attribute.values) // len(group.values)
            names = tuple(each.removeprefix(f"{group.values[0]}+") for each in self.attribute.values[:count])
            if count > 1 and len(set(names)) == count:
                found = Attribute(self.attribute.name.removeprefix(start), names)
                if product_of((group, found)) == self.attribute:
                    shares = np.reshape(self.shares, (len(group.values), count))
                    return found, shares / shares.sum(1, keepdims=True)
        raise InputError(
            f"a classifier of combinations of {group.name!r} ({', '.join(group.values)}) with another attribute is needed, as "
            f"trained with --attribute {group.name}+OTHER; this one classifies {self.attribute.name!r} "
            f"({', '.join(self.attribute.values)})"
        )

    def log_ratio(self, group: Attribute, target: Float[np.ndarray, "..."]) -> LogRatio:
        """log q(x_t | c) / p(x_t | c), where the shares q of the other attribute within each value c of `group` are new, as a
        function of (x, t, c), where c is one-hot.

        Arguments:
            group: the attribute whose combinations with another the classifier knows.
            target: q(a | c), (C, A): at least 0, each row sums to 1.

        Raises:
            InputError: see `shares_within`; `target` is not such shares.
        """
        other, _ = self.shares_within(group)
        shape = len(group.values), len(other.values)
        if target.shape != shape or not (target >= 0).all() or not np.allclose(target.sum(1), 1, atol=1e-6):
            raise InputError(f"`target` must be shares {shape} of at least 0, whose rows sum to 1; got {target.tolist()}")
        with np.errstate(divide="ignore"):
            return LogRatio(self.log_posterior, jnp.asarray(np.log(target), jnp.float32))


def save(path: str | os.PathLike, classifier: NoisedClassifier) -> str:
    """Writes a classifier to `path`/classifier.safetensors atomically, and returns its fingerprint."""
    description = {
        "network": classifier.config.settings(),
        "process": classifier.process.config(),
        "attribute": [classifier.attribute.name, list(classifier.attribute.values)],
        "shares": list(classifier.shares),
        "calibration": classifier.calibration.config(),
        "training": classifier.training,
    }
    return weight_file.write(path, weight_file.CLASSIFIER, classifier.network, description)


def load_classifier(path: str | os.PathLike) -> NoisedClassifier:
    """Reads a classifier from a run's folder or a classifier.safetensors.

    Raises:
        InputError: the file does not exist, is truncated or damaged, is not a jaxdiff classifier, or its arrays do not match
            its network.
    """
    contents = weight_file.read(path, weight_file.CLASSIFIER)
    with reading(contents.file):
        return _described(contents)


def _described(contents: weight_file.Contents) -> NoisedClassifier:
    """The classifier in a file."""
    description = contents.description
    config = weight_file.configuration(ClassifierConfig, description)
    attribute, shares = attribute_of(description["attribute"]), tuple(description["shares"])
    if not all(type(share) in (int, float) for share in shares):
        raise InputError(f"its `shares` must be numbers, got {shortened(shares)}")
    shares = tuple(map(float, shares))
    calibration = Calibration.from_config(description["calibration"])
    Classification(shares)  # checks them
    if not len(shares) == len(attribute.values) == config.values == calibration.offsets.shape[1]:
        counts = f"{len(attribute.values)} values, {len(shares)} shares and a calibration of {calibration.offsets.shape[1]}"
        raise InputError(f"its network has {config.values} values, and it describes {counts}")
    if not isinstance(description["training"], dict):
        raise InputError(f"its `training` must be an object, got {shortened(description['training'])}")
    return NoisedClassifier(
        config=config,
        network=contents.fill(config, partial(abstract, noised_classifier)),
        process=processes.from_config(description["process"]),
        attribute=attribute,
        shares=shares,
        calibration=calibration,
        training=description["training"],
        fingerprint=contents.fingerprint,
    )
