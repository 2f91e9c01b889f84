"""Prompts as conditions: what the text encoders of a text-to-image model make of them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxdiff.bounds import shortened
from jaxdiff.conditions.encoder import ConditionEncoder
from jaxdiff.conditions.labels import check_labels
from jaxdiff.conditions.tokenizer import Tokenizer
from jaxdiff.data.attributes import Attribute, find
from jaxdiff.errors import InputError
from jaxdiff.models.labels import NULL
from jaxdiff.models.network import Network, with_tokens
from jaxdiff.models.text_encoder import TextEncoderConfig, TextOutput
from jaxdiff.weight_file import fingerprint, named


@dataclass(frozen=True, eq=False)
class PromptEncoder:
    """A text encoder with its tokenizer, and which of its hidden states are taken.

    Encoders are equal if they make the same of every prompt: their weights are compared by `fingerprint`.

    Arguments:
        tokenizer: the tokenizer.
        config: the text encoder's configuration.
        network: the text encoder.
        skip: layers at the end that the hidden states leave out, see `TextEncoder`.
        normalised: whether they pass through the final layer norm.

    Raises:
        InputError: the tokenizer has more tokens, or longer prompts, than the text encoder takes, or `skip` is out of range.
    """

    tokenizer: Tokenizer
    config: TextEncoderConfig
    network: Network = field(repr=False)
    skip: int = 0
    normalised: bool = True

    def __post_init__(self):
        tokenizer, config = self.tokenizer, self.config
        if tokenizer.size > config.vocabulary:
            raise InputError(f"the tokenizer has {tokenizer.size:,} tokens, and the text encoder takes {config.vocabulary:,}")
        if tokenizer.length > config.positions:
            raise InputError(f"prompts have {tokenizer.length} tokens, and the text encoder takes {config.positions}")
        if not 0 <= self.skip <= config.layers:
            raise InputError(f"`skip` must lie in 0 .. {config.layers}, the layers of the text encoder, got {self.skip}")

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify what the encoder makes of prompts; empty without weights."""
        if self.is_abstract:
            return ""
        described = {
            "config": asdict(self.config),
            "tokenizer": asdict(self.tokenizer),
            "skip": self.skip,
            "normalised": self.normalised,
        }
        return fingerprint({name: np.asarray(leaf) for name, leaf in named(self.network.weights).items()}, described)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, PromptEncoder) and self.fingerprint == other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.config)

    def __call__(self, prompts: Sequence[str]) -> TextOutput:
        """Hidden states (N, L, D) and pooled states (N, P) of N prompts, float32 on the host.

        Each prompt is encoded by itself, so that its states do not depend on the others, and one program encodes all.

        Raises:
            InputError: a prompt is no text.
        """
        if self.is_abstract:
            return self._zeros(len(prompts))
        different = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        tokens = self.tokenizer(list(different))
        how = {"skip": self.skip, "normalised": self.normalised}
        with jax.set_mesh(_own_mesh()):
            rows = [
                _encoded(self._placed, ids[None], end[None], **how) for ids, end in zip(tokens.ids, tokens.ends, strict=True)
            ]
        places = [different[prompt] for prompt in prompts]
        hidden, pooled = (np.concatenate([np.asarray(row[part], np.float32) for row in rows])[places] for part in (0, 1))
        return TextOutput(hidden, pooled)

    def end_states(
        self, ids: Int[np.ndarray, "n l"], ends: Int[np.ndarray, " n"], *, projected: bool = False
    ) -> Float[np.ndarray, "n d"]:
        """The last layer's normalised states at the end tokens of tokens, (N, D), float32 on the host.

        Projected, they are the pooled states of prompts; without a projection there is no difference. Each row is encoded by
        itself.

        Arguments:
            ids, ends: as in `Tokens`.
            projected: whether they pass through the projection, where the encoder has one.
        """
        if self.is_abstract:
            width = self.config.projection if projected else None
            return np.zeros((len(ids), width or self.config.width), np.float32)
        with jax.set_mesh(_own_mesh()):
            rows = [
                _encoded(self._placed, row[None], end[None], skip=0, normalised=True)
                for row, end in zip(ids, ends, strict=True)
            ]
        found = [row.pooled[0] if projected else row.hidden[0, end] for row, end in zip(rows, ends, strict=True)]
        return np.stack([np.asarray(each, np.float32) for each in found])

    @property
    def is_abstract(self) -> bool:
        """Whether the network has shapes in place of weights: then all states are zero, for programs that are not run."""
        return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(self.network.weights))

    def _zeros(self, count: int) -> TextOutput:
        ids, ends = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((count, self.tokenizer.length), (count,)))
        states = jax.eval_shape(partial(_encoded, skip=self.skip, normalised=self.normalised), self.network, ids, ends)
        return TextOutput(*(np.zeros(each.shape, np.float32) for each in (states[0], states[1])))

    @cached_property
    def _placed(self) -> Network:
        """The network on a device of this process."""
        return jax.device_put(self.network, NamedSharding(_own_mesh(), PartitionSpec()))

    def with_vectors(self, vectors: Mapping[str, Float[np.ndarray, "_ d"]]) -> "PromptEncoder":
        """An encoder with more tokens (textual inversion, Gal et al. 2022).

        Arguments:
            vectors: for each new token its embeddings, one or more; in a prompt it stands for all of them in turn.

        Raises:
            InputError: a token is known or empty, or its embeddings have another width than the text encoder's.
        """
        for name, rows in vectors.items():
            if rows.ndim != 2 or rows.shape[1] != self.config.width:
                raise InputError(
                    f"the embeddings of token {name!r} must have shape (n, {self.config.width}) for this text encoder, got "
                    f"{rows.shape}"
                )
        tokenizer = self.tokenizer.with_tokens({name: len(rows) for name, rows in vectors.items()})
        rows = np.concatenate([np.asarray(each, np.float32) for each in vectors.values()])
        config, network = with_tokens(self.config, self.network, self.tokenizer.size, rows)
        return replace(self, tokenizer=tokenizer, config=config, network=network)


def _own_mesh() -> Mesh:
    """A device of this process: prompts are encoded by every process, and not over the devices that draw."""
    return Mesh(np.array(jax.local_devices()[:1]), ("text",))


@partial(jax.jit, static_argnames=("skip", "normalised"))
def _encoded(network: Network, ids: Any, ends: Any, *, skip: int, normalised: bool) -> TextOutput:
    return nnx.merge(network.structure, network.weights)(ids, ends, skip=skip, normalised=normalised)


@dataclass(frozen=True)
class Prompts(ConditionEncoder):
    """Prompts through one text encoder (Stable Diffusion 1, 2) or two (XL), with labels that stand for prompts.

    The condition is `{"text": (B, L, D)}`, the hidden states of all tokens; those of two encoders are joined along D. With two
    it also has `pooled` (B, P), the pooled state of the second, and `sizes` (B, 6): height and width of the image that training
    would have read, the rows and columns cropped from it, and height and width of the result (Podell et al. 2023, section 2.2).

    Arguments:
        encoders: one or two.
        attributes: attributes whose combinations of values stand for prompts; by default none.
        prompts: a prompt for each combination, the values of the last attribute varying fastest. Without attributes there is
            one, which all samples have.
        negative: the prompt of the null condition; None for its default, the empty prompt.
        zeros: whether the null condition is zero where `negative` is None (`force_zeros_for_empty_prompt`).
        size: height and width of the images in pixels, needed with two encoders.
        optional: how many attributes at the end a sample may lack. Such an attribute has a further value, the last, for
            samples without it, whose label is -1.
        scales: a scale of classifier-free guidance for each prompt, which replaces that of the guidance: the condition has it
            as `guidance` (B,); None for the same scale for all.

    Raises:
        InputError: there are not as many prompts or scales as combinations, or something is missing.
    """

    encoders: tuple[PromptEncoder, ...]
    attributes: tuple[Attribute, ...] = ()
    prompts: tuple[str, ...] = ("",)
    negative: str | None = None
    zeros: bool = False
    size: tuple[int, int] | None = None
    optional: int = 0
    scales: tuple[float, ...] | None = None

    name: ClassVar[str] = "prompts"
    has_null: ClassVar[bool] = True

    def __post_init__(self):
        if len(self.encoders) not in (1, 2):
            raise InputError(f"`encoders` must be one or two, got {len(self.encoders)}")
        if len({encoder.tokenizer.length for encoder in self.encoders}) > 1:
            raise InputError("both `encoders` must take as many tokens of a prompt")
        if len(self.encoders) == 2 and self.size is None:
            raise InputError("`size`, the height and width of the images, is part of the condition of two encoders: give it")
        if (count := math.prod(self._choices)) != len(self.prompts):
            raise InputError(f"`prompts` must be {count}, one for each combination of the attributes, got {len(self.prompts)}")
        if self.scales is not None and len(self.scales) != count:
            raise InputError(f"`scales` must be {count}, one for each prompt, got {len(self.scales)}")

    @property
    def separate(self) -> bool:
        """False: prompts stand for combinations of values."""
        return False

    def with_prompts(
        self,
        attributes: Sequence[Attribute],
        prompts: Sequence[str],
        *,
        optional: int = 0,
        scales: Sequence[float] | None = None,
    ) -> "Prompts":
        """The encoder for labels of other attributes, whose combinations of values stand for these prompts; see `Prompts`."""
        scales = None if scales is None else tuple(scales)
        return replace(self, attributes=tuple(attributes), prompts=tuple(prompts), optional=optional, scales=scales)

    def with_negative(self, negative: str | None) -> "Prompts":
        """The encoder with another prompt for the null condition; None for the default."""
        return replace(self, negative=negative)

    def skipping(self, layers: int) -> "Prompts":
        """The encoder whose hidden states leave out more layers at the end, beside those that the model does ("clip skip").

        Raises:
            InputError: a text encoder has fewer layers.
        """
        most = min(encoder.config.layers - encoder.skip for encoder in self.encoders)
        if not 0 <= layers <= most:
            raise InputError(f"`clip_skip` must lie in 0 .. {most}, the layers of the text encoder, got {layers}")
        return replace(self, encoders=tuple(replace(encoder, skip=encoder.skip + layers) for encoder in self.encoders))

    def with_vectors(self, vectors: Mapping[str, Sequence[Float[np.ndarray, "_ _"]]]) -> "Prompts":
        """The encoder with more tokens; see `PromptEncoder.with_vectors`.

        Arguments:
            vectors: for each new token its embeddings for each encoder.

        Raises:
            InputError: there are not embeddings for each encoder, or as there.
        """
        for name, each in vectors.items():
            if len(each) != len(self.encoders):
                count = len(self.encoders)
                raise InputError(f"token {name!r} has embeddings for {len(each)} text encoders, and the model has {count}")
        encoders = (
            encoder.with_vectors({name: each[place] for name, each in vectors.items()})
            for place, encoder in enumerate(self.encoders)
        )
        return replace(self, encoders=tuple(encoders))

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Array]:
        """The condition of N samples with these prompts.

        Raises:
            InputError: there is none, or one is no text.
        """
        return jax.tree.map(jnp.asarray, self._encoded(prompts))

    def cut(self, prompts: Iterable[str]) -> dict[str, str]:
        """The end that a prompt loses since it has too many tokens, for each prompt that loses one."""
        different = list(dict.fromkeys(prompts))
        lost = zip(different, *(encoder.tokenizer(different).cut for encoder in self.encoders), strict=True)
        return {prompt: max(ends, key=len) for prompt, *ends in lost if any(ends)}

    def encode(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> dict[str, Float[Array, "b ..."]]:
        """The conditions of the prompts that labels stand for; see `ConditionEncoder.encode`.

        The label -1 of all attributes is the null condition. Of some it is an error, but for those that a sample may lack.
        """
        rows = self.places(labels)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), self._table)

    def prompts_of(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> list[str]:
        """The prompt of each sample that labels stand for, of the null condition the negative one; errors as of `encode`."""
        return [(*self.prompts, self.negative or "")[place] for place in self.places(labels)]

    def places(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> Int[np.ndarray, " b"]:
        """The places in `prompts` of the prompts that labels stand for, for the null condition their number; see `encode`."""
        labels = np.asarray(labels)
        check_labels(labels, self.values)
        table = labels[:, None] if labels.ndim == 1 else labels
        null = (table == NULL).all(1) & (table.shape[1] > 0)
        if ((table[:, : len(self.attributes) - self.optional] == NULL).any(1) & ~null).any():
            raise InputError("the label -1 must be that of all attributes or of none: prompts stand for combinations of values")
        rows = np.zeros(len(table), int)
        for column, count in zip(table.T, self._choices, strict=True):
            rows = rows * count + np.where(column == NULL, count - 1, column)
        rows[null] = len(self.prompts)
        return rows

    @property
    def null(self) -> dict[str, Array]:
        """The condition of the negative prompt; see `ConditionEncoder.null`."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[-1]), self._table)

    def replacing(self, given: Sequence[tuple[str, str]]) -> Callable[[Any], Any]:
        """A function that sets the prompt of a combination of values; see `ConditionEncoder.replacing`."""
        names = [name for name, _ in given]
        labels = {name: self.attribute(name)[1].index(value) for name, value in given}
        if len(labels) < len(names) or len(labels) < len(self.attributes):
            wanted = ", ".join(attribute.name for attribute in self.attributes)
            raise InputError(f"prompts stand for combinations of values: give one of each of {wanted}, got {', '.join(names)}")
        return _replacing(self.encode(np.array([[labels[attribute.name] for attribute in self.attributes]], np.int32)))

    def replacing_all(self, prompt: str) -> Callable[[Any], Any]:
        """A function of a condition, or of a pytree of them such as a pair, which sets this prompt for all samples.

        A sample keeps its scale of guidance, if it has one.
        """
        row = self.encode_prompts([prompt])
        return _replacing(row, kept=("guidance",))

    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Position and description of an attribute; see `ConditionEncoder.attribute`."""
        position = find(self.attributes, name)
        return position, self.attributes[position]

    def context(self) -> dict[str, Any]:
        """The prompts, and what is made of them; see `ConditionEncoder.context`."""
        return {
            "prompts": list(self.prompts),
            "negative_prompt": self.negative,
            "zeros": self.zeros,
            "size": None if self.size is None else list(self.size),
            **({} if self.scales is None else {"guidance_scales": list(self.scales)}),
            "text_encoders": [encoder.fingerprint for encoder in self.encoders],
        }

    def config(self) -> dict[str, Any]:
        """What the conditions follow from, JSON-ready. The text encoders themselves lie in the folder of the model."""
        named = [[attribute.name, list(attribute.values)] for attribute in self.attributes]
        return {"name": self.name, "attributes": named, **self.context()}

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        """The condition of each prompt, and of the null condition at the end."""
        table = self._encoded([*self.prompts, self.negative or ""])
        if self.zeros and self.negative is None:
            for name in ("text", "pooled"):
                if name in table:
                    table[name][-1] = 0
        if self.scales is not None:
            table["guidance"][:-1] = self.scales
        return table

    @property
    def _choices(self) -> tuple[int, ...]:
        """The number of labels that each attribute of a combination may have, that of none included."""
        needed = len(self.attributes) - self.optional
        return (*self.values[:needed], *(count + 1 for count in self.values[needed:]))

    def _encoded(self, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """The condition of prompts, on the host."""
        if isinstance(prompts, str) or not prompts:
            raise InputError(f"`prompts` must be a list of one or more, got {shortened(prompts)}")
        outputs = [encoder(prompts) for encoder in self.encoders]
        condition = {"text": np.concatenate([output.hidden for output in outputs], -1)}
        if self.scales is not None:
            condition["guidance"] = np.ones(len(prompts), np.float32)
        if self.size is None or len(outputs) == 1:
            return condition
        sizes = np.array([*self.size, 0, 0, *self.size], np.float32)
        return {**condition, "pooled": outputs[-1].pooled, "sizes": np.tile(sizes, (len(prompts), 1))}


def _replacing(row: dict[str, Array], kept: Sequence[str] = ()) -> Callable[[Any], Any]:
    """A function of a pytree of conditions that sets all of them to that of one sample, but for the parts that are kept."""
    form = jax.tree.structure(row)
    is_row = lambda each: jax.tree.structure(each) == form  # noqa: E731
    put = lambda each: {  # noqa: E731
        name: leaf if name in kept else jnp.broadcast_to(row[name], leaf.shape) for name, leaf in each.items()
    }
    # what is no condition, such as the signs of semantic guidance, stays
    return lambda conditions: jax.tree.map(lambda each: put(each) if is_row(each) else each, conditions, is_leaf=is_row)
