"""Options of `jaxdiff evaluate safety`."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Count, Seed, Size
from jaxdiff.data.spec import parse_selection
from jaxdiff.defaults import CLASSIFIER_STEPS
from jaxdiff.errors import InputError

from .image_format import ImageFormat


@dataclass(frozen=True)
class Safety(ImageFormat, Reading, Processes):
    """Measures how safe sets are: the rate of unsafe images, by attribute classifiers and by nearest neighbours; the quality
    compared with the safe real images; and how often the guard acts on safe images.

    Unsafe images are defined by an attribute of real, labelled images. The report also has rows for held-out real images and
    for rejection sampling from the first set. Writes safety.json, safety.md, safety.png (unsafe rate against quality) and
    classified.png (the first images of each row, with a frame around those classified as unsafe).

    For example:

      jaxdiff evaluate safety --unsafe glasses=yes --synthetic out/vanilla out/safe out/negative --out out/safety

      jaxdiff evaluate safety --real ~/utkface --value-names young=no,yes gender=male,female --size 32 --unsafe young=yes
          --synthetic out/vanilla out/safe --out out/safety

      jaxdiff evaluate safety --real "embedded?glasses=0.5,0.5&hair=0.5,0.5" --unsafe glasses=yes --synthetic out/vanilla
          --out out/safety
    """

    unsafe: str
    """Unsafe images, as ATTRIBUTE=VALUE,VALUE,... of the real images; conditions joined by + must all hold."""
    out: Path
    """Output folder of the report; an existing report is replaced."""
    synthetic: tuple[str, ...] = ()
    """Sets to evaluate, the unguarded one first: sets of samples, or images in any layout that is read."""
    real: str = "embedded"
    """Real images with labels: `embedded`, tfds:NAME, or a folder, .zip, .tar, .npz or .parquet. The
    splits train and test are used."""
    balance: tuple[str, ...] = ()
    """Other attributes of the real images, over which the classifiers' training data are balanced; by default all others."""
    seeds: Size = 3
    """Number of attribute classifiers trained on real images, with different seeds."""
    train_count: Count = 8192
    """Maximum number of training images per classifier."""
    test_count: Count = 4096
    """Maximum number of images used of each set, and of the real test images."""
    steps: Size = CLASSIFIER_STEPS
    """Optimiser steps per classifier."""
    flip: bool = True
    """Mirror half of the training images; turn off for digits and letters."""
    replicates: Size = 1000
    """Bootstrap replicates of the 95 % intervals."""
    seed: Seed = 0
    """Random seed of splits, classifiers and bootstrap."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
        if not self.synthetic or len(set(self.synthetic)) != len(self.synthetic):
            raise InputError(f"--synthetic takes one or more different sets, got {' '.join(self.synthetic) or 'none'}")
        if not parse_selection(self.unsafe):
            raise InputError(f"--unsafe takes ATTRIBUTE=VALUE,VALUE,..., several joined by +, got {self.unsafe!r}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")
