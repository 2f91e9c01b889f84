"""What keeps a drawing safe: `--unsafe` and the options that go with it, made into a guidance round any method."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import guidance, load_classifier, parallel
from jaxdiff._console import arguments
from jaxdiff._console.terminal import console
from jaxdiff._console.unsafe import encoded
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError
from jaxdiff.guidance.record import Record
from jaxdiff.references import references

from .common import Setting

GUARDS = {
    "safe": "the safe denoiser: away from the posterior mean of the images of --unsafe",
    "repellency": "SPELL: out of balls of --radius about the images of --unsafe",
    "safety_flow": "SGF: up the slope of the discrepancy from the images of --unsafe",
    "negative": "away from the model's own mean under --unsafe-label, at a fixed strength",
    "dynamic_negative": "the same, weighed by the odds of unsafe: of --classifier, or tracked along the path of --solver ddpm",
}
"""The ways to keep away from what is unsafe."""
STRENGTHS = {"safe": 1.0, "repellency": 1.6, "negative": 1.0, "dynamic_negative": 5.0}
"""Their strengths by default; that of safety_flow depends on the data."""
LARGE = 2**28
"""Bytes of unsafe images beyond which each device holds a part of them, and asks all others at every step."""
BY_IMAGES = ("safe", "repellency", "safety_flow")
BY_LABEL = ("negative", "dynamic_negative")
TAKERS = {
    "unsafe": BY_IMAGES,
    "unsafe_split": BY_IMAGES,
    "unsafe_count": BY_IMAGES,
    "unsafe_label": (*BY_LABEL, "safe"),
    "radius": ("repellency",),
    "guard_weight": ("safe", "dynamic_negative"),
    "classifier": ("safe", "dynamic_negative"),
    "known_safe": ("safe",),
    "temperature": ("safe",),
    "bandwidth": ("safe",),
    "deviation": ("safe",),
    "threshold": ("safe", "dynamic_negative"),
    "cap": ("safe", "dynamic_negative"),
    "anchor": ("safe",),
}
"""The guards that take an option."""


@dataclass(frozen=True, kw_only=True)
class Guarding:
    """What is unsafe, and how a drawing keeps away from it. Nothing, by default."""

    unsafe: str | None = None
    """Unsafe images to keep away from: a folder, .zip, .npz, set of samples, or a selection such as `embedded:glasses=yes`."""
    unsafe_split: Literal["train", "validation", "test", "all"] = "train"
    """Their split."""
    unsafe_count: int | None = None
    """So many of them, drawn by seed 0; by default all. The cost of a step is proportional to it."""
    unsafe_label: tuple[str, ...] = ()
    """negative, dynamic_negative: unsafe labels that the model knows, ATTRIBUTE=VALUE each, instead of images. With
    --classifier: what of its attribute is unsafe, ATTRIBUTE=VALUE,VALUE,..., where --unsafe does not select it."""
    guard: Literal["safe", "repellency", "safety_flow", "negative", "dynamic_negative"] | None = None
    """How to keep away; the table above says what each does. By default `safe` with --unsafe."""
    strength: float | None = None
    """How strongly; by default as suits the guard. 0 is the plain drawing. safety_flow: in squared units of the data, to be
    tried from 20 times the number of unsafe images on, for 32x32 faces."""
    window: tuple[float, float] | None = None
    """SNR between which it acts, alpha² / sigma²; by default as suits the guard. `0 inf` is always."""
    guard_weight: Literal["constant", "density", "tracked"] | None = None
    """safe, dynamic_negative: what --strength multiplies, by default constant and tracked. constant: 1. density: the unsafe
    images' kernels. tracked: odds of unsafe, followed along the image's path by the likelihoods of --solver ddpm."""
    classifier: Path | None = None
    """safe, dynamic_negative: weigh by the odds of unsafe that this classifier of noised images gives, a folder of
    `python -m train classifier`."""
    known_safe: str | None = None
    """safe: weigh by the exact odds between the images of --unsafe and these; for data that is wholly known."""
    temperature: str | None = None
    """safe: how softly unsafe images are weighed: a number, 1 being exact, or `root` or `dimension` of the number of pixels. By
    default 1, but `dimension` with --guard-weight density."""
    bandwidth: float | None = None
    """safe: weighs unsafe images by a Laplace kernel of this width about the posterior mean instead, as the authors' code."""
    threshold: float = 0.0
    """safe, dynamic_negative: the least weight, before --strength, at which it acts."""
    deviation: float = math.inf
    """safe: acts only on images as near to an unsafe one as this many standard deviations of its noise; 3 is near."""
    cap: float = 5.0
    """safe, dynamic_negative: the largest weight, --strength included."""
    anchor: Literal["guided", "unconditional"] = "guided"
    """safe, with --guidance-scale: what is moved, the guided mean or the unconditional one (the paper's order)."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of the data that are named here, e.g. gender=male,female."""
    radius: float | None = None
    """repellency: of the balls, in root mean squares over pixels of [-1, 1]; by default the images' own median distance to the
    nearest other."""

    def check(self, steps_as_ddpm: bool) -> None:
        """Raises `InputError` for options that do not go together.

        Arguments:
            steps_as_ddpm: whether the solver's steps are those of DDPM.
        """
        if not self.guarded:
            defaults = type(self).__dataclass_fields__
            for name in (*TAKERS, "strength", "window"):
                if name != "unsafe" and getattr(self, name) != defaults[name].default:
                    raise InputError(f"--{name.replace('_', '-')} goes with --unsafe or --guard, and neither is given")
            return
        for name, takers in TAKERS.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and self.kind not in takers:
                raise InputError(f"--{name.replace('_', '-')} is for --guard {', '.join(takers)}, got --guard {self.kind}")
        if self.kind in BY_IMAGES and self.unsafe is None:
            raise InputError(f"--guard {self.kind} takes --unsafe, images to keep away from")
        if self.kind in BY_LABEL and not self.unsafe_label:
            raise InputError(f"--guard {self.kind} takes --unsafe-label, ATTRIBUTE=VALUE of the model")
        if self.weighing == "tracked" and not steps_as_ddpm:
            raise InputError(
                f"--guard {self.kind} tracks odds by the likelihoods of DDPM's steps: take --solver ddpm or --classifier"
            )
        if self.kind == "safety_flow" and self.strength is None:
            raise InputError(
                "--guard safety_flow takes --strength, in squared units of the data; try 20 times the number of unsafe images"
            )
        given = [name for name in ("guard_weight", "classifier", "known_safe") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"--{' and --'.join(given).replace('_', '-')} are ways to weigh: take one")
        if self.unsafe_count is not None and self.unsafe_count < 1:
            raise InputError(f"--unsafe-count must be at least 1, got {self.unsafe_count}")
        if self.temperature not in (None, "root", "dimension"):
            try:
                float(self.temperature)
            except ValueError as error:
                raise InputError(f"--temperature takes a number, root or dimension, got {self.temperature!r}") from error

    @property
    def weighing(self) -> str | None:
        """What --strength multiplies; None where the guard has no weight."""
        if self.kind not in TAKERS["guard_weight"]:
            return None
        if self.classifier or self.known_safe:
            return "classifier" if self.classifier else "odds"
        return self.guard_weight or ("constant" if self.kind == "safe" else "tracked")

    @property
    def guarded(self) -> bool:
        """Whether there is anything to keep away from."""
        return self.guard is not None or self.unsafe is not None

    @property
    def gated(self) -> bool:
        """Whether the guard may act on some images only."""
        return self.threshold > 0 or self.deviation < math.inf or self.kind == "repellency"

    @property
    def kind(self) -> str:
        """The guard in use, `safe` where only --unsafe is given."""
        return self.guard or "safe"


class Guard:
    """A guard made ready for a setting.

    Fields:
        settings: what it is, for provenance.
    """

    def __init__(self, options: Guarding, chosen: Setting):
        self._options, self._chosen = options, chosen
        model = chosen.model
        own = [name for name, takers in TAKERS.items() if options.kind in takers]
        takes = ["window", *(name for name in own if name not in ("classifier", "guard_weight"))]
        self.settings: dict[str, Any] = {
            "guard": options.kind,
            "strength": self._strength,
            **{name: _plain(getattr(options, name)) for name in takes},
            **({} if options.weighing is None else {"weight": options.weighing}),
        }
        if options.kind in BY_IMAGES:
            images = encoded(options.unsafe, options.unsafe_split, model.space, options.unsafe_count, options.value_names)
            spread = chosen.mesh if images.nbytes > LARGE and chosen.mesh.size > 1 else None
            self._references = references(images, mesh=spread)
            if options.kind == "repellency":
                size = math.sqrt(math.prod(model.shape))
                self._radius = guidance.radius_of(self._references) if options.radius is None else options.radius * size
            self.settings |= {
                "unsafe_images": len(images),
                "unsafe_fingerprint": _fingerprint(images),
                "unsafe_value_names": list(options.value_names),
            }
            console.print(f"keeping away from {len(images)} images of {options.unsafe}", highlight=False)
        else:
            self._unsafe_labels = self._labels(options.unsafe_label)
        self._weight: Any = guidance.tracked() if options.weighing == "tracked" else options.weighing
        if options.weighing == "classifier":
            classifier = load_classifier(options.classifier)
            log_odds = classifier.log_odds(self._unsafe_values(classifier.attribute.name))
            log_odds.require(model.process)
            self._weight = guidance.classifier_odds(log_odds)
            self.settings["classifier"] = classifier.fingerprint
        if options.weighing == "odds":
            safe = encoded(options.known_safe, options.unsafe_split, model.space, None, options.value_names)
            self._weight = guidance.odds(safe, self._references)

    @property
    def _strength(self) -> float:
        return STRENGTHS[self._options.kind] if self._options.strength is None else self._options.strength

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that tell guards apart."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def base(self) -> Setting:
        """The setting whose denoiser the method is made of: without classifier-free guidance where the guard adds it."""
        return replace(self._chosen, scale=1.0) if self._options.anchor == "unconditional" else self._chosen

    def around(self, denoise: Callable, condition: Any) -> Callable:
        """The method's denoiser, guarded.

        Arguments:
            denoise: the method's.
            condition: what it will be given, of whose structure unsafe and null conditions must be.
        """
        options, model = self._options, self._chosen.model
        alike = lambda row: jax.tree.map(lambda _: row, condition)  # noqa: E731
        window = {} if options.window is None else {"window": options.window}
        common = {"strength": self._strength, **window}
        match options.kind:
            case "safe":
                anchored = options.anchor == "unconditional"
                guarded = guidance.safe(
                    denoise, model.process, self._references,
                    weight=self._weight, threshold=options.threshold, deviation=options.deviation, cap=options.cap,
                    null=alike(self._chosen.null) if anchored else None, scale=self._chosen.scale if anchored else 1.0,
                    **self._kernel(), **common,
                )  # fmt: skip
            case "repellency":
                guarded = guidance.repellency(denoise, model.process, self._references, radius=self._radius, **common)
            case "safety_flow":
                guarded = guidance.safety_flow(denoise, model.process, self._references, **common)
            case "negative":
                guarded = guidance.negative(denoise, model.process, self._unsafe(condition), **common)
            case "dynamic_negative":
                guarded = guidance.dynamic_negative(
                    denoise, model.process, self._unsafe(condition), weight=self._weight, threshold=options.threshold,
                    cap=options.cap, **common,
                )  # fmt: skip
        return guidance.clipped(guarded)

    def _kernel(self) -> dict[str, Any]:
        """How the safe denoiser weighs images."""
        if self._options.bandwidth is not None:
            return {"kernel": "laplace", "bandwidth": self._options.bandwidth}
        named = self._options.temperature
        return {"temperature": named if named in (None, "root", "dimension") else float(named)}

    def _unsafe_values(self, attribute: str) -> tuple[str, ...]:
        """The values of a classifier's attribute that are unsafe: those told, or those that --unsafe selects."""
        told = arguments.value_names(self._options.unsafe_label) or split_spec(self._options.unsafe or "")[1]
        if set(told) != {attribute}:
            raise InputError(
                f"--classifier tells {attribute!r}: say which of its values are unsafe, by --unsafe-label {attribute}=VALUE "
                f"or by images selected by it; got {', '.join(told) or 'neither'}"
            )
        return told[attribute]

    def _labels(self, given: tuple[str, ...]) -> dict[int, int]:
        """The model's columns that unsafe labels set, and to which value."""
        model, told = self._chosen.model, {}
        for item in given:
            name, _, value = item.partition("=")
            column, attribute = model.conditions.attribute(name)
            told[column] = attribute.index(value)
        return told

    def _unsafe(self, condition: Any) -> Any:
        """The method's condition with the unsafe labels in it: each image under its own other labels."""
        sizes = np.array([len(attribute.values) + 1 for attribute in self._chosen.model.conditions.attributes])
        begins = np.cumsum(sizes) - sizes
        row = np.zeros(sizes.sum(), np.float32)
        told = np.zeros(len(row), bool)
        for column, label in self._unsafe_labels.items():
            told[begins[column] : begins[column] + sizes[column]] = True
            row[begins[column] + label] = 1
        return jax.tree.map(lambda leaf: jnp.where(told, row, leaf), condition)


def _plain(value: Any) -> Any:
    """JSON-ready."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return [_plain(each) for each in value] if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _fingerprint(images: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16]


def told(record: Record, process: Any) -> dict[str, np.ndarray]:
    """What a guard did to each of this process's images, as arrays by name.

    `acted` and `looked` are numbers of evaluations, `strongest` is the largest weight or displacement, `first_snr` and
    `last_snr` are the SNR at which it first and last acted, NaN where it never did.
    """
    snr = lambda t: jnp.where(jnp.isnan(t), jnp.nan, process.snr(jnp.nan_to_num(t, nan=1.0)))  # noqa: E731
    notes = {
        "acted": record.acted,
        "looked": record.looked,
        "strongest": record.strongest,
        "first_snr": snr(record.first),
        "last_snr": snr(record.last),
    }
    return {name: parallel.local_rows(parallel.shard_batch(values)) for name, values in notes.items()}


def summary(told: dict[str, np.ndarray], *, gated: bool) -> str:
    """What a guard did to a set, in a line; a warning where it did nothing, or its gate let everything through."""
    acted = told["acted"] > 0
    share = f"the guard acted on {acted.sum()} of {len(acted)} images"
    if not acted.any():
        return f"Warning: {share}: the set is a plain one. Raise --strength, or widen --window, --threshold or --deviation"
    first, last = np.nanmedian(told["first_snr"]), np.nanmedian(told["last_snr"])
    strongest = np.median(told["strongest"][acted])
    line = f"{share}, from SNR {first:.3g} to {last:.3g}, at most by {strongest:.3g} (medians)"
    if gated and (told["acted"] == told["looked"]).all():
        return f"Warning: {line}: its gate let everything through, safe images too"
    return line


assert set(GUARDS) == {*BY_IMAGES, *BY_LABEL}
