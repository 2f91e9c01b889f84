"""The classifiers that decide which images of sets drawn by prompts are unsafe, and those of their other attributes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from jaxdiff._console.classifiers import clip_classifier, opening, unsafe
from jaxdiff._console.classifiers.request import Request
from jaxdiff._console.classifiers.unsafe import UnsafeImages
from jaxdiff._console.terminal import working
from jaxdiff.data import Attribute
from jaxdiff.data.spec import chosen_values, parse_selection
from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.feature_classifiers import associated_names, train_feature_classifiers
from jaxdiff.finished import Finished, checksum
from jaxdiff.image_classifier import ClassifierTraining, ImageClassifier

from .options.safety import Safety


@dataclass(frozen=True)
class OtherAttribute:
    """A classifier of an attribute that has nothing to do with safety.

    Attributes:
        attribute: the attribute.
        predict: the value of each image.
        identity: everything that the answers depend on beside the images, for keys.
        described: a few words on the classifier.
    """

    attribute: Attribute
    predict: Callable[[UInt8[np.ndarray, "n h w c"]], Int[np.ndarray, " n"]]
    identity: tuple[Any, ...]
    described: str


@dataclass(frozen=True)
class Classifiers:
    """All classifiers of an evaluation.

    Attributes:
        deciding: those that decide by majority which images are unsafe; one or more.
        others: those of other attributes.
        about: JSON-ready, of the deciding ones: as of `UnsafeImages`, `described`, and of trained ones the `accuracy` on
            held-out real images of each value, for each classifier.
    """

    deciding: tuple[UnsafeImages, ...]
    others: tuple[OtherAttribute, ...]
    about: dict[str, Any]


def majority(decisions: Bool[np.ndarray, "k n"]) -> Bool[np.ndarray, " n"]:
    """What more than half of the classifiers say of each image."""
    return 2 * decisions.sum(axis=0) > len(decisions)


def external(options: Safety, request: Request, image: UInt8[np.ndarray, "h w c"]) -> Classifiers:
    """The external classifier, and those of the other attributes that --classifier-prompts describes.

    Raises:
        InputError: the classifier cannot be read or does not fit, or --unsafe names what it does not have.
    """
    chosen, others = _external(options, request, image)
    return Classifiers((chosen,), others, {**chosen.about, "described": chosen.described})


def trained(options: Safety, finished: Finished) -> Classifiers:
    """Classifiers of the attribute of --unsafe with different seeds, and one of each other attribute, trained on --real.

    Raises:
        InputError: the real images lack the attribute or a value of --unsafe.
    """
    real = options.opened(options.real)
    ((name, text),) = parse_selection(options.unsafe or "").items()
    names = None if real.names_values else options.reading["value_names"]
    shape = {"value_names": names, **options.image_format}
    known = real.take_with([name], split="test", **shape)
    (attribute,) = (each for each in known.attributes if each.name == name)
    values = chosen_values(text, attribute.values, name)
    if len(set(values)) == len(attribute.values):
        raise InputError(f"--unsafe must leave a value of {name} that is safe, got all: {' '.join(values)}")
    training = ClassifierTraining(steps=options.steps, flip=options.flip)
    found: list[AttributeClassifier] = []
    with working(f"training {options.seeds} classifiers of {name}, and those of other attributes"):
        for seed in range(options.seeds):
            with_it = associated_names(known, name, ("all",)) if seed == 0 else []
            found += train_feature_classifiers(
                real, [name, *with_it], **shape, seed=options.seed + seed, training=training, finished=finished
            )
    own = [each for each in found if each.attribute.name == name]
    codes = tuple(attribute.values.index(value) for value in values)
    digests = [checksum(each.classifier.state) for each in own]
    file = f"{options.seeds} classifier{'s' * (options.seeds > 1)} trained on {options.real}"
    about = {"kind": "trained", "file": file, "unsafe": list(values), "threshold": None}
    deciding = [
        UnsafeImages(_Shows(each.classifier, codes), (digest, codes), {**about, "sha256": digest})
        for each, digest in zip(own, digests, strict=True)
    ]
    others = [
        OtherAttribute(each.attribute, each.classifier.predict, (checksum(each.classifier.state),), each.attribute.name)
        for each in found
        if each.attribute.name != name
    ]
    about |= {
        "sha256": " ".join(digests),
        "described": f"{file}, {', '.join(values)}",
        "values": list(attribute.values),
        "accuracy": [each.confusion.accuracy.tolist() for each in own],
    }
    return Classifiers(tuple(deciding), tuple(others), about)


@dataclass(frozen=True)
class _Shows:
    """Whether a trained classifier sees one of some values."""

    classifier: ImageClassifier
    codes: tuple[int, ...]

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, " n"]:
        return np.isin(self.classifier.predict(images), self.codes)


def _external(
    options: Safety, request: Request, image: UInt8[np.ndarray, "h w c"]
) -> tuple[UnsafeImages, tuple[OtherAttribute, ...]]:
    if options.unsafe is None:
        return unsafe.opened(request, (), image, "--unsafe"), ()
    ((name, text),) = parse_selection(options.unsafe).items()
    if request.kind == "ONNX":
        if not request.values:
            raise InputError(f"--classifier-values must name the classes of {request.path}, in order")
        return unsafe.opened(request, chosen_values(text, request.values, name), image, "--unsafe"), ()
    given = clip_classifier.described(request.prompts, request.flag("prompts"))
    if name not in [each.attribute.name for each in given]:
        names = ", ".join(each.attribute.name for each in given)
        raise InputError(f"--unsafe must be of an attribute of --classifier-prompts, {names}; got {options.unsafe!r}")
    made = opening.by_prompts(request, given)
    (chosen,) = (each for each in made if each.classifier.attribute.name == name)
    others = []
    for each in made:
        if each is not chosen:
            tried = each.tried(image)
            others.append(OtherAttribute(each.classifier.attribute, tried.predict, tried.identity, each.option))
    values = chosen_values(text, chosen.values, name)
    return unsafe.by_classifier(chosen, request, values, image, "--unsafe"), tuple(others)
