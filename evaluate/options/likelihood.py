"""Options of `jaxdiff evaluate likelihood`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxdiff._console.hosts import Processes
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Count, Seed, Size
from jaxdiff.defaults import LIKELIHOOD_STEPS
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Likelihood(Reading, Processes):
    """Computes the bits per dimension of real images under a model.

    The likelihood is that of the probability-flow ODE (Song et al. 2021) for uniformly dequantised images, so the result is an
    upper bound. Lower is better; a group with more bits is learnt less well, or its images have more detail. Prints the mean,
    overall and for each value of each attribute, and writes a JSON file.

    For example:

      jaxdiff evaluate likelihood --model runs/faces --out likelihood.json

      jaxdiff evaluate likelihood --model runs/faces --data ~/utkface --value-names gender=male,female --condition null
          --count 2048 --out likelihood.json

      jaxdiff evaluate likelihood --model runs/faces --split train --steps 100 --probes 4 --out train.json
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    out: Path
    """JSON file to write; an existing file is replaced."""
    data: str = "embedded"
    """Images: `embedded`, tfds:NAME, a set of samples, or a folder, .zip, .tar, .npz or .parquet.
    They are resized to the model's size."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """Split of the data."""
    count: Count = 512
    """Number of images, a random subset (see --seed); a larger count includes those of a smaller one."""
    condition: Literal["own", "null"] = "own"
    """own: likelihood given each image's labels; null: given the null label, for data with or without labels."""
    steps: Size = LIKELIHOOD_STEPS
    """Integrator steps, with four network evaluations each."""
    probes: Size = 1
    """Random probes of the divergence per step; more reduce the noise of each image's value."""
    batch_size: Size = 64
    """Images per batch; the result does not depend on it, up to rounding."""
    seed: Seed = 0
    """Random seed of the choice of images, their dequantisation and the probes."""

    def __post_init__(self):
        super().__post_init__()
        if self.out.suffix != ".json" or self.out.is_dir():
            raise InputError(f"--out must be a .json file, got {self.out}")
