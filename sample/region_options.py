"""Options of `jaxdiff sample region`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxdiff.bounds import Bounds
from jaxdiff.errors import InputError

from .unlabelled_options import FromUnlabelled


@dataclass(frozen=True, kw_only=True)
class Region(FromUnlabelled):
    """Finds the region of images in which a label shows, for --method inpainting of `jaxdiff sample draw`.

    Images are drawn without a label and noised a little. Where the model's means under the values of the label then differ, the
    label itself shows: what goes with it in the data is already decided. The region is where they differ by more than a share
    of the most, and the pixels around. No label of another attribute is used.

    Look at the picture: the region should hold what defines the label, and nothing else. You can change it with any paint
    program, white is what is drawn again. --known writes the region of a data set that knows it.

    Examples:

      jaxdiff sample region --model runs/faces --attribute group --out out/region.png

      jaxdiff sample region --model runs/faces --attribute group --known embedded --out out/known.png

      jaxdiff sample draw --model runs/faces --method inpainting --region out/region.png --guidance-scale 2 --out out/inpainted
    """

    out: Path
    """File .png for the region, of the size of the model's images; beside it NAME.map.png shows it on the images."""
    known: str | None = None
    """Data set that knows the region, such as `embedded`: it is written instead of the model's."""
    share: Annotated[float, Bounds(least=0, below=1)] = 0.6
    """Share of the largest difference above which a pixel belongs to the region, in [0, 1)."""
    margin: Annotated[int, Bounds(least=0, limit=1000)] = 1
    """Pixels around these that belong to it too."""
    at: Annotated[float, Bounds(above=0, most=1)] = 0.3
    """Time in (0, 1] to which images are noised; at a larger one, what goes with the label shows too."""

    def __post_init__(self):
        super().__post_init__()
        if self.out.suffix.lower() != ".png":
            raise InputError(f"--out must end in .png, got {self.out}")
