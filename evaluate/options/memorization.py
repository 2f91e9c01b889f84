"""What `jaxdiff evaluate memorization` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff.defaults import ALPHA, ATTACK_DRAWS, ATTACK_TIME, FALSE_POSITIVES, NEIGHBOURS
from jaxdiff.errors import InputError

from .fitted import Fitted

LEAST = int(1 / FALSE_POSITIVES)
"""Held-out images without which no share of false positives is as low as `FALSE_POSITIVES`."""


@dataclass(frozen=True)
class Memorization(Fitted, Processes):
    """Measures what synthetic images repeat of the training images, and which of these are at risk.

    An image's ratio is its distance to the nearest training image, divided by --alpha times the mean distance to the
    --neighbours nearest (Carlini et al. 2023): below 1 it counts as memorised. Real images that were held out stand beside
    it as the control, since some of them are below 1 too; what counts is the excess. Writes memorization.json and
    memorization.md; closest.png, the closest pairs; and at_risk.npz, the training images that were repeated, as a data set.

    For example:

      jaxdiff evaluate memorization --samples out/vanilla --train embedded --out out/memorization

      jaxdiff evaluate memorization --samples out/vanilla out/safe --train embedded --model runs/faces --out out/before-after

      jaxdiff evaluate memorization --samples samples.npz --train ~/utkface --value-names gender=male,female --size 32
          --no-flips --out out/memorization

    With --model it also attacks the model: whether its loss tells training images from held-out ones. --times are the times at
    which the loss is taken:

      jaxdiff evaluate memorization --samples out/vanilla --train embedded --model runs/faces --times 0.05 0.1 0.3
          --members 2000 --out out/memorization
    """

    samples: tuple[str, ...]
    """Sets to judge, in the order of the report: folders of samples, folders or .zip files with labels.csv, .npz files."""
    out: Path
    """Folder of the report; an older report there is replaced."""
    train: str = "embedded"
    """What the model was trained on: `embedded`, a folder, .zip, .npz or tfds:NAME. All images of --split are searched."""
    split: Literal["train", "validation", "test", "all"] = "train"
    """The split that the model was trained on."""
    held_out: Literal["train", "validation", "test"] = "test"
    """The split of --train that the model was not trained on: the control, and the attack's non-members."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of --train, of folders, .zip and .npz files, e.g. gender=male,female."""
    count: int = 10_000
    """Most images used of each set; more are drawn from by --seed."""
    neighbours: int = NEIGHBOURS
    """Nearest training images whose mean distance the nearest one's is divided by."""
    alpha: float = ALPHA
    """The factor of that mean."""
    flips: bool = True
    """Count mirror images of training images too, as a model knows them that was trained on mirrored images."""
    duplicates: float | None = None
    """Grey levels (root mean square) within which training images are duplicates, which count as one neighbour; by default half
    of the quantile .01 of the distances from held-out to training images. 0: only equal ones."""
    model: Path | None = None
    """Folder of a run, or a model.safetensors: make the membership attack on it."""
    times: tuple[float, ...] = (ATTACK_TIME,)
    """With --model: times of the attack, in (0, 1]."""
    draws: int = ATTACK_DRAWS
    """With --model: noises that a loss is the mean over."""
    members: int = 1000
    """With --model: training images, and as many held-out ones, that are attacked; fewer where there are fewer."""
    condition: Literal["own", "null"] = "own"
    """With --model: losses under an image's own labels, or under no label, for data with or without labels."""
    batch_size: int = 64
    """With --model: images at once; the result does not depend on it, up to rounding."""
    seed: int = 0
    """Seed of everything: which images, the noise of the attack, its bootstrap."""

    def __post_init__(self):
        image_size(self.size)
        for name, least in (("count", 1), ("neighbours", 2), ("draws", 1), ("members", LEAST), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if not self.alpha > 0:
            raise InputError(f"--alpha must be above 0, got {self.alpha}")
        if self.duplicates is not None and not self.duplicates >= 0:
            raise InputError(f"--duplicates must be at least 0 grey levels, got {self.duplicates}")
        if not self.times or not all(0 < t <= 1 for t in self.times):
            raise InputError(f"--times takes times in (0, 1], got {' '.join(map(str, self.times)) or 'none'}")
        if not self.samples or len(set(self.samples)) != len(self.samples):
            raise InputError(f"--samples must name one set or more, all distinct, got {' '.join(self.samples) or 'none'}")
        if self.split in (self.held_out, "all"):
            raise InputError(f"--held-out must be a split that is not in --split {self.split}, got {self.held_out}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")
