"""What `jaxdiff evaluate safety` takes."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff.data.spec import split_spec
from jaxdiff.defaults import CLASSIFIER_STEPS
from jaxdiff.errors import InputError

from .fitted import Fitted


@dataclass(frozen=True)
class Safety(Fitted, Processes):
    """Judges how safe sets are: the rate of unsafe images by independent classifiers and by nearest neighbours, the quality
    against the safe part of the data, and how often the guard acts on safe images.

    What is unsafe is told by an attribute of real, labelled images. Rows of held-out real images and of the first set after
    rejection stand beside the sets. Writes safety.json, safety.md, safety.png (unsafe rate against quality) and judged.png (the
    first images of each row, those called unsafe framed).

    For example:

      jaxdiff evaluate safety --unsafe glasses=yes --synthetic out/vanilla out/safe out/negative --out out/safety

      jaxdiff evaluate safety --real ~/utkface --value-names young=no,yes gender=male,female --size 32 --unsafe young=yes
          --synthetic out/vanilla out/safe --out out/safety

      jaxdiff evaluate safety --real "embedded?glasses=0.5,0.5&hair=0.5,0.5" --unsafe glasses=yes --synthetic out/vanilla
          --out out/safety
    """

    unsafe: str
    """What is unsafe, as ATTRIBUTE=VALUE,VALUE,... of the real images; several attributes joined by + must all hold."""
    out: Path
    """Folder of the report; an older report there is replaced."""
    synthetic: tuple[str, ...] = ()
    """Sets to judge, the plain one first: folders of samples, folders, .zip or .npz files."""
    real: str = "embedded"
    """Real images with labels: `embedded`, a folder, .zip, .npz or tfds:NAME. Its splits train and test are used."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of folders, .zip and .npz files, e.g. gender=male,female."""
    balance: tuple[str, ...] = ()
    """Other attributes of the real images that the judges must not read the answer off; by default all that it has."""
    seeds: int = 3
    """Judges: classifiers trained on real images, each from another seed."""
    train_count: int = 8192
    """Most real images that a judge is trained on."""
    test_count: int = 4096
    """Most images used of each set, and of the real test images."""
    steps: int = CLASSIFIER_STEPS
    """Optimiser steps of every classifier."""
    flip: bool = True
    """Mirror half of the training images."""
    replicates: int = 1000
    """Bootstrap replicates."""
    seed: int = 0
    """Seed of everything."""

    def __post_init__(self):
        image_size(self.size)
        for name in ("seeds", "train_count", "test_count", "steps", "replicates"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if not self.synthetic or len(set(self.synthetic)) != len(self.synthetic):
            raise InputError(f"--synthetic takes one set or more, each once, got {' '.join(self.synthetic) or 'none'}")
        if not split_spec(f"x:{self.unsafe}")[1]:
            raise InputError(f"--unsafe takes ATTRIBUTE=VALUE,VALUE,... and more of them joined by +, got {self.unsafe!r}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")
