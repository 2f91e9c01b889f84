"""What `jaxdiff evaluate likelihood` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxdiff._console.hosts import Processes
from jaxdiff.defaults import LIKELIHOOD_STEPS
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Likelihood(Processes):
    """Computes a model's bits per dimension of real images: the bits a byte in which its density would store them.

    The likelihood is that of the probability flow (Song et al. 2021), of images dequantised uniformly, which makes it a bound:
    the truth is no more. Lower is better; a group with more bits is one that the model has learnt less well, or whose images
    hold more detail. Prints the mean, in all and for each value of each attribute, and writes a JSON file.

    For example:

      jaxdiff evaluate likelihood --model runs/faces --out likelihood.json

      jaxdiff evaluate likelihood --model runs/faces --data ~/utkface --value-names gender=male,female --condition null
          --count 2048 --out likelihood.json

      jaxdiff evaluate likelihood --model runs/faces --split train --steps 100 --probes 4 --out train.json
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """The report, a JSON file; an older one is replaced."""
    data: str = "embedded"
    """Real images: `embedded`, a folder, .zip, .npz, tfds:NAME or a set of samples. They are brought to the model's size."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """Its split."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of folders, .zip and .npz files, e.g. gender=male,female."""
    count: int = 512
    """Images, drawn by --seed; a larger count draws these and more."""
    condition: Literal["own", "null"] = "own"
    """own: the density under an image's own labels. null: under no label, for data with or without labels."""
    steps: int = LIKELIHOOD_STEPS
    """Steps of the integrator, of four evaluations each."""
    probes: int = 1
    """Probes of the divergence a step; more make an image's own value less noisy."""
    batch_size: int = 64
    """Images at once; the result does not depend on it, up to rounding."""
    seed: int = 0
    """Seed of everything: the images, their dequantisation, the probes."""

    def __post_init__(self):
        for name in ("count", "steps", "probes", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.suffix != ".json" or self.out.is_dir():
            raise InputError(f"--out must be a .json file, got {self.out}")
