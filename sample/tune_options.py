"""Options of `jaxdiff sample tune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Bounds, Seed, Share, Size
from jaxdiff.errors import InputError

from .methods.vanilla import Vanilla
from .options import Sampling, check_method
from .registry import Method


@dataclass(frozen=True)
class Tune(Reading, Sampling):
    """Finds the settings of any fair method that bring the groups nearest to parity among those that keep the label.

    Draws a set with each combination of the values of --vary, all from the same noise, and measures them with attribute
    classifiers that are trained on real images. The best setting is measured again on other noise, since the best of several
    looks better than it is. Prints the command that draws with it.

    Writes OUT/tuning.json with all measures, OUT/tuning.png, and the sets to OUT/sets. Run the same command again to resume an
    interrupted one.
    For the transition point of switching between values, `jaxdiff sample search` needs no set for each.

    Examples:

      jaxdiff sample tune --model runs/faces --method inpainting --region region.png --vary guidance-scale=1,2,3 --out out/tuned

      jaxdiff sample tune --model runs/faces --method switching --start none --vary tau=0.5,0.7 guidance-scale=1,3
          --retain 0.85 --out out/switching
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder."""
    vary: tuple[str, ...]
    """Options of `jaxdiff sample draw` that are numbers, each with the values to try: guidance-scale=1,2,3."""
    method: Method = Vanilla()
    """The method, with its options."""
    attribute: str | None = None
    """Sensitive attribute; by default the model's only attribute."""
    values: tuple[str, ...] = ()
    """Attribute values to draw, two or more; by default all."""
    objective: Literal["independence", "parity"] = "parity"
    """parity: where the groups differ least in all other attributes. independence: where a classifier trained on the set
    predicts the label least well."""
    retain: Share = 0.8
    """Minimum label accuracy, the share of images in which an attribute classifier predicts the label, in [0, 1]."""
    reference: str | None = None
    """Real images for the classifiers; by default the model's training data."""
    associated: tuple[str, ...] = ("all",)
    """Other attributes of the real images to compare between the groups, or `all`."""
    count: Annotated[int, Bounds(least=16, limit=10**8)] = 512
    """Images of each set, at least 16."""
    batch_size: Size | None = None
    """Images per batch over all devices; must be a multiple of their number. By default as for `jaxdiff sample draw`."""
    seed: Seed = 0
    """Random seed of the noise; the best setting is measured again with the next one."""

    def __post_init__(self):
        super().__post_init__()
        check_method(self)
        if not self.vary:
            raise InputError("--vary takes options with the values to try, such as guidance-scale=1,2,3; got none")
