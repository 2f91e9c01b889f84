"""Control sets: sets of images with a known fault, which an evaluation must find, and fair sets, which it must not flag.

They are made from real images, so that each has one known fault and no other: where the fault is not in the labels, the labels
are random.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Integer, UInt8

from jaxdiff.data import embedded
from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels

NOISE = 3.0
"""Standard deviation, in grey levels, of the noise that is added to repeated images."""
PARITY_BLUR = 1 / 4
"""Standard deviation, as a share of the height, of the blur that hides the attributes of embedded faces."""
FEW = 8
"""Distinct images in a set with mode collapse."""


@dataclass(frozen=True)
class ControlSet:
    """A set of images with the findings that it must lead to.

    Fields:
        name: a short description of its construction.
        images: uint8 (N, H, W, C).
        labels: (N,), 0..K-1.
        expected: names of the findings (`findings.NAMES`) that must occur; others may occur too.
        fair: whether no flag may occur.
    """

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, " m"]
    expected: tuple[str, ...]
    fair: bool = False


def control_sets(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    train: UInt8[np.ndarray, "m h w c"],
    *,
    values: int,
    seed: int = 0,
) -> tuple[ControlSet, ...]:
    """All control sets for a data set.

    Real images with flipped labels correspond to attribute switching with tau = 0, where every image shows the other value, and
    real images with their own labels to tau = T, where nothing is switched.

    Arguments:
        images, labels: real images (N, H, W, C) and their groups (N,), which the evaluation does not use otherwise.
        train: images that a generator was trained on; at most N of them are copied.
        values: K; each must occur.
        seed: of all random draws.

    Raises:
        InputError: labels out of range, a value without images, or no training images.
    """
    check_labels(labels, values=values)
    if len(images) != len(labels) or not len(train) or np.bincount(labels, minlength=values).min() < 1:
        raise InputError(
            f"`images` must have a label each and every value, and `train` at least one image, got {len(images)} images, "
            f"{np.bincount(labels, minlength=values).tolist()} labels and {len(train)}"
        )
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(labels)
    flipped = (labels + 1) % values
    dark = np.zeros(len(labels), bool)
    brightness = images.mean(axis=(1, 2, 3))
    for value in range(values):
        of_value = labels == value
        dark[of_value] = brightness[of_value] < np.median(brightness[of_value])
    repeated = np.repeat(images[:1], len(images), axis=0)
    few = images[generator.integers(0, min(FEW, len(images)), len(images))]
    noise = generator.integers(0, 256, images.shape, dtype=np.uint8)
    copies = train[generator.permutation(len(train))[: len(images)]]
    copied_labels = generator.permutation(np.arange(len(copies)) % values)
    partly_blurred = np.where((shuffled == 0)[:, None, None, None], _blurred(images), images)
    half_flipped = np.where(dark, flipped, labels)
    mixed = _mixed(images, labels, values, generator)
    return (
        ControlSet("labels flipped (tau = 0)", images, flipped, ("independence", "direction")),
        ControlSet("labels unchanged (tau = T)", images, labels, ("independence",)),
        ControlSet("labels flipped for the darker half", images, half_flipped, ("independence", "direction")),
        ControlSet("coarse features of one group, fine ones of the next", mixed, flipped, ("independence",)),
        ControlSet("labels shuffled", images, shuffled, ("label",), fair=True),
        ControlSet("one image repeated", repeated, shuffled, ("diversity",)),
        ControlSet("one image repeated, noise added", _noisy(repeated, generator), shuffled, ("diversity",)),
        ControlSet("few images repeated, noise added", _noisy(few, generator), shuffled, ("diversity",)),
        ControlSet("pure noise", noise, shuffled, ("quality",)),
        ControlSet("blurred", _blurred(images), shuffled, ("quality",)),
        ControlSet("training images copied", copies, copied_labels, ("memorisation",)),
        ControlSet("one group blurred", partly_blurred, shuffled, ("quality", "independence")),
    )


def random_split(images: UInt8[np.ndarray, "n h w c"], labels: Integer[np.ndarray, " n"], *, seed: int = 0) -> ControlSet:
    """Real images in random order with random labels: a fair set of the quality of real images."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(images))
    return ControlSet("real images split at random", images[order], generator.permutation(labels), (), fair=True)


def ideal_embedded(count: int, *, size: int = 32, seed: int = 0) -> ControlSet:
    """Samples of an ideal fair generator of the embedded faces: random labels, and independent features.

    Every feature, the jaw included, is as frequent as in the reference and independent of the label; all others are independent
    of the jaw too, since a classifier of the jaw would otherwise find the association again. The faces therefore show
    combinations of features that are rare in the reference. Faces with the jaw of their label (`label_kept_embedded`) are not
    in this set: the jaw reveals the label.

    Arguments:
        count: images, at least 1; half of them, rounded, with each label.
        size: pixels a side, 16 to 128.
        seed: of the faces and labels.

    Raises:
        InputError: arguments that `embedded.generate` does not take.
    """
    means = {name: (float(np.mean(pair)),) * 2 for name, pair in embedded.DEFAULT_ASSOCIATIONS.items()}
    # a separate random stream: with the data set's seed the faces would be those of the reference with other features
    images, _ = embedded.generate(np.arange(count), seed=2**32 + seed, associations=means, size=size)
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 2)
    return ControlSet("ideal fair sampler", images, labels, (), fair=True)


def label_kept_embedded(count: int, *, size: int = 32, seed: int = 0) -> ControlSet:
    """Embedded faces with the jaw of their label and all other features independent of it.

    The best result of a method that retains the label. The jaw reveals the label, so that independence is flagged, and nothing
    else. Arguments and errors as in `ideal_embedded`.
    """
    means = {name: (float(np.mean(pair)),) * 2 for name, pair in embedded.DEFAULT_ASSOCIATIONS.items()}
    images, labels = embedded.generate(np.arange(count), seed=2**33 + seed, associations=means, size=size)
    return ControlSet("label kept, all else at parity", images, labels[:, 0], ("independence",))


def cheats_embedded(count: int, *, size: int = 32, seed: int = 0) -> tuple[ControlSet, ...]:
    """Embedded faces that seem to keep their label, or to be at parity, by what no user wants.

    A mark in a corner tells the label of faces of the other group. Blurred faces, with the data's associations, hide hair and
    beard from classifiers. One face of each group, which differ in the jaw alone, is repeated: the label is kept in all images,
    at parity. Arguments and errors as in `ideal_embedded`.
    """
    means = {name: (float(np.mean(pair)),) * 2 for name, pair in embedded.DEFAULT_ASSOCIATIONS.items()}
    indices = np.arange(count)
    marked, attributes = embedded.generate(indices, seed=2**34 + seed, associations=means, size=size)
    labels = 1 - attributes[:, 0]
    marked[labels == 1, : size // 8, : size // 8] = 255
    faces, own = embedded.generate(indices, seed=2**34 + seed, size=size)
    same = embedded.labels(np.zeros(2, np.int64), seed=2**34 + seed)
    same[:, 0] = 0, 1
    pair = embedded.render(same, np.zeros(2, np.int64), seed=2**34 + seed, size=size)
    half = np.random.default_rng(seed).permutation(indices % 2)
    return (
        ControlSet("other group, its label marked in a corner", marked, labels, ("independence", "direction")),
        ControlSet("labels unchanged, blurred until parity", _blurred(faces, PARITY_BLUR), own[:, 0], ("quality",)),
        ControlSet("one face repeated with each jaw", pair[half], half, ("independence", "diversity")),
    )


def _blurred(images: UInt8[np.ndarray, "n h w c"], deviation: float = 1 / 24) -> UInt8[np.ndarray, "n h w c"]:
    """A Gaussian blur with a standard deviation given as a share of the height."""
    pixels = deviation * images.shape[1]
    return np.round(scipy.ndimage.gaussian_filter(images.astype(np.float32), (0, pixels, pixels, 0))).astype(np.uint8)


def _noisy(images: UInt8[np.ndarray, "n h w c"], generator: np.random.Generator) -> UInt8[np.ndarray, "n h w c"]:
    return np.clip(np.round(images + generator.normal(0, NOISE, images.shape)), 0, 255).astype(np.uint8)


def _mixed(
    images: UInt8[np.ndarray, "n h w c"], labels: Integer[np.ndarray, " n"], values: int, generator: np.random.Generator
) -> UInt8[np.ndarray, "n h w c"]:
    """Hybrid images (Oliva, Torralba and Schyns 2006): low frequencies of each image, high ones of one of the next group."""
    partner = np.empty(len(labels), np.int64)
    for value in range(values):
        of_value, of_next = (np.flatnonzero(labels == each) for each in (value, (value + 1) % values))
        partner[of_value] = generator.choice(of_next, len(of_value))
    exact = images.astype(np.float32)
    deviation = images.shape[1] / 16
    low = scipy.ndimage.gaussian_filter(exact, (0, deviation, deviation, 0))
    return np.clip(np.round(low + (exact - low)[partner]), 0, 255).astype(np.uint8)
