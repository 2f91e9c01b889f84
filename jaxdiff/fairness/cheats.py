"""Cheats: sets that look fair in some column and are worthless, and fair ones that no verdict may flag.

They are made of real images, so that what is wrong with each is known and nothing else is: where a cheat is not about labels,
its labels are dealt at random.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Integer, UInt8

from jaxdiff.data import embedded
from jaxdiff.errors import InputError
from jaxdiff.fairness.metrics import check_labels

NOISE = 3.0
"""Grey levels of the noise by which repeated images differ."""
FEW = 8
"""Images that a collapsed set repeats."""


@dataclass(frozen=True)
class Case:
    """A set and what a verdict must say of it.

    Fields:
        name: in few words what was done.
        images: uint8 (N, H, W, C).
        labels: (N,), 0..K-1.
        expected: names of the findings (`findings.NAMES`) that there must be; others may be there too.
        fair: whether no flag may be there.
    """

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, " m"]
    expected: tuple[str, ...]
    fair: bool = False


def cheats(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    train: UInt8[np.ndarray, "m h w c"],
    *,
    values: int,
    seed: int = 0,
) -> tuple[Case, ...]:
    """The battery. Real images under flipped labels and under their own stand for attribute switching with tau = 0, where the
    label names what the image is not, and with tau = T, where nothing is switched.

    Arguments:
        images, labels: real images and their groups, neither trained on nor otherwise used by the verdict.
        train: images that a generator was trained on; as many as `images` are copied, or all.
        values: K; each occurs.
        seed: of all draws.

    Raises:
        InputError: labels out of range or a value without images; no training images.
    """
    check_labels(labels, values=values)
    if len(images) != len(labels) or not len(train) or np.bincount(labels, minlength=values).min() < 1:
        raise InputError(
            f"`images` must have a label each and every value, and `train` at least one image, got {len(images)} images, "
            f"{np.bincount(labels, minlength=values).tolist()} labels and {len(train)}"
        )
    generator = np.random.default_rng(seed)
    dealt = generator.permutation(labels)
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
    copied = generator.permutation(np.arange(len(copies)) % values)
    spoilt = np.where((dealt == 0)[:, None, None, None], _blurred(images), images)
    mixed = _mixed(images, labels, values, generator)
    return (
        Case("labels flipped (tau = 0)", images, flipped, ("independence", "direction")),
        Case("labels as they are (tau = T)", images, labels, ("independence",)),
        Case("labels flipped of darker half", images, np.where(dark, flipped, labels), ("independence", "direction")),
        Case("coarse of one group, fine of next", mixed, flipped, ("independence",)),
        Case("labels shuffled", images, dealt, ("label",), fair=True),
        Case("one image repeated", repeated, dealt, ("diversity",)),
        Case("one image repeated, noise added", _noisy(repeated, generator), dealt, ("diversity",)),
        Case("few images repeated, noise added", _noisy(few, generator), dealt, ("diversity",)),
        Case("pure noise", noise, dealt, ("quality",)),
        Case("blurred", _blurred(images), dealt, ("quality",)),
        Case("training images copied", copies, copied, ("memorisation",)),
        Case("one group blurred", spoilt, dealt, ("quality", "independence")),
    )


def fair_split(images: UInt8[np.ndarray, "n h w c"], labels: Integer[np.ndarray, " n"], *, seed: int = 0) -> Case:
    """Real images, drawn anew in another order under labels dealt at random: as fair and as good as can be."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(images))
    return Case("real images split at random", images[order], generator.permutation(labels), (), fair=True)


def fair_embedded(count: int, *, size: int = 32, seed: int = 0) -> Case:
    """What an ideal fair sampler of the embedded faces draws: the label is a coin's and no feature follows another.

    Every feature, the jaw among them, is as frequent as in the reference, whatever the label, and independent of the jaw: hair
    that followed the jaw would be unfair again to who looks at the jaw. So the faces have features together that are rarely
    together in the reference. Faces that keep the jaw of their label are none of these, for the jaw tells the label.

    Arguments:
        count: images, at least 1; half of them, rounded, under each label.
        size: pixels a side.
        seed: of the faces and labels.

    Raises:
        InputError: what `embedded.generate` does not take.
    """
    means = {name: (float(np.mean(pair)),) * 2 for name, pair in embedded.DEFAULT_ASSOCIATIONS.items()}
    # a stream of its own: with the data set's seed its faces would be those of the reference, in other hair
    images, _ = embedded.generate(np.arange(count), seed=2**32 + seed, associations=means, size=size)
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 2)
    return Case("ideal fair sampler", images, labels, (), fair=True)


def kept_embedded(count: int, *, size: int = 32, seed: int = 0) -> Case:
    """Embedded faces with the jaw of their label and everything else independent of it: all that a method which keeps its
    label can reach. The label can be told from the jaw, so that independence is flagged, and nothing else."""
    means = {name: (float(np.mean(pair)),) * 2 for name, pair in embedded.DEFAULT_ASSOCIATIONS.items()}
    images, labels = embedded.generate(np.arange(count), seed=2**33 + seed, associations=means, size=size)
    return Case("label kept, all else at parity", images, labels[:, 0], ("independence",))


def _blurred(images, deviation: float = 1 / 24):
    """A Gaussian blur whose standard deviation is a share of the height."""
    pixels = deviation * images.shape[1]
    return np.round(scipy.ndimage.gaussian_filter(images.astype(np.float32), (0, pixels, pixels, 0))).astype(np.uint8)


def _noisy(images, generator):
    return np.clip(np.round(images + generator.normal(0, NOISE, images.shape)), 0, 255).astype(np.uint8)


def _mixed(images, labels, values, generator):
    """The low frequencies of each image and the high ones of one of the next group (Oliva, Torralba and Schyns 2006)."""
    partner = np.empty(len(labels), np.int64)
    for value in range(values):
        of_value, of_next = (np.flatnonzero(labels == each) for each in (value, (value + 1) % values))
        partner[of_value] = generator.choice(of_next, len(of_value))
    exact = images.astype(np.float32)
    deviation = images.shape[1] / 16
    low = scipy.ndimage.gaussian_filter(exact, (0, deviation, deviation, 0))
    return np.clip(np.round(low + (exact - low)[partner]), 0, 255).astype(np.uint8)
