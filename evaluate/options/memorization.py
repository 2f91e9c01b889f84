"""Options of `jaxdiff evaluate memorization`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Bounds, Count, NonNegative, Positive, Seed, Size
from jaxdiff.defaults import ALPHA, ATTACK_DRAWS, ATTACK_TIME, FALSE_POSITIVES, NEIGHBOURS
from jaxdiff.errors import InputError

from .checks import require_different, require_folder
from .image_format import ImageFormat

LEAST = int(1 / FALSE_POSITIVES)
"""Minimum number of held-out images for a false-positive rate of `FALSE_POSITIVES`."""


@dataclass(frozen=True)
class Memorization(ImageFormat, Reading, Processes):
    """Measures memorisation: which training images, or windows of time series, are reproduced in synthetic ones.

    An image's ratio is its distance to the nearest training image, divided by --alpha times the mean distance to the
    --neighbours nearest (Carlini et al. 2023); below 1 it counts as memorised. Held-out real images are the control, since some
    of them are below 1 too; the excess over them counts. Writes memorization.json and memorization.md; closest.png, the closest
    pairs; and at_risk.npz, a data set of the training images that were reproduced.

    For example:

      jaxdiff evaluate memorization --samples out/vanilla --train embedded --out out/memorization

      jaxdiff evaluate memorization --samples out/vanilla out/safe --train embedded --model runs/faces --out out/before-after

      jaxdiff evaluate memorization --samples samples.npz --train ~/utkface --value-names gender=male,female --size 32
          --no-flips --out out/memorization

    Windows of time series are compared on the scale of their columns, and the training data are those of the sets:

      jaxdiff evaluate memorization --samples out/gp --out out/memorization

    With --model it also runs a membership attack, which uses the model's loss at --times to distinguish training images from
    held-out images:

      jaxdiff evaluate memorization --samples out/vanilla --train embedded --model runs/faces --times 0.05 0.1 0.3
          --members 2000 --out out/memorization
    """

    samples: tuple[str, ...]
    """Sets to evaluate, in the order of the report: sets of samples, or images in any layout that is read."""
    out: Path
    """Output folder of the report; an existing report is replaced."""
    train: str | None = None
    """Training data of the model, by default `embedded`: `embedded`, tfds:NAME, or a folder, .zip, .tar, .npz or .parquet. Of
    time series a table, `sines` or `mujoco`, by default the data that the sets' model was trained on."""
    split: Literal["train", "validation", "test", "all"] = "train"
    """Split of --train that the model was trained on."""
    held_out: Literal["train", "validation", "test"] = "test"
    """Split of --train that the model was not trained on: the control, and the non-members of the attack."""
    split_by: Literal["time", "shuffled"] | None = None
    """Time series: how --train is split, by default as the sets' model was trained. Training windows overlap nearly all test
    windows of a shuffled split, so that these are no control."""
    count: Count = 10_000
    """Maximum number of images used of each set; a random subset of larger sets (see --seed)."""
    neighbours: Annotated[int, Bounds(least=2, limit=10**8)] = NEIGHBOURS
    """Number of nearest training images in the mean distance, at least 2."""
    alpha: Positive = ALPHA
    """Factor of the mean distance, above 0."""
    flips: bool = True
    """Images: also compare with mirrored training images, for models trained with mirrored images."""
    duplicates: NonNegative | None = None
    """Distance in grey levels (root mean square) up to which training images are duplicates and count as one neighbour; 0: only
    equal images. By default half of the 1 % quantile of the distances from held-out to training images. Windows of time series
    overlap, so that near ones are no duplicates: by default only equal ones are."""
    model: Path | None = None
    """Trained model for the membership attack: the folder of a run, or its model.safetensors."""
    times: tuple[Annotated[float, Bounds(above=0, most=1)], ...] = (ATTACK_TIME,)
    """With --model: times at which the loss is computed, in (0, 1]."""
    draws: Size = ATTACK_DRAWS
    """With --model: number of noise samples that the loss is averaged over."""
    members: Annotated[int, Bounds(least=LEAST, limit=10**8)] = 1000
    """With --model: maximum number of training images, and of held-out images, in the attack."""
    condition: Literal["own", "null"] = "own"
    """With --model: own: loss given each image's labels; null: given the null label, for data with or without labels."""
    batch_size: Size = 64
    """With --model: images per batch; the result does not depend on it, up to rounding."""
    seed: Seed = 0
    """Random seed of the choice of images, the noise and the bootstrap of the attack."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
        if not self.times:
            raise InputError("--times takes one or more times, got none")
        require_different("--samples", self.samples)
        if self.split in (self.held_out, "all"):
            raise InputError(f"--held-out must be a split that is not in --split {self.split}, got {self.held_out}")
        require_folder(self.out)
