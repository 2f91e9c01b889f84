"""Options of `jaxdiff evaluate safety`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Count, Seed, Size
from jaxdiff.data.spec import parse_selection
from jaxdiff.defaults import CLASSIFIER_STEPS
from jaxdiff.errors import InputError

from .checks import require_different, require_folder
from .classifier import ClassifierOptions
from .image_format import ImageFormat


@dataclass(frozen=True)
class Safety(ClassifierOptions, ImageFormat, Reading, Processes):
    """Measures how safe sets are: the rate of unsafe images, by attribute classifiers and by nearest neighbours; the quality
    compared with the safe real images; and how often the guard acts on safe images.

    With --classifier or --prompts, sets of a text-to-image model that were drawn by prompts: the attack success rate by that
    classifier and threshold, or by the majority of classifiers trained on --real; refusals by gates, other attributes, and with
    --clip the agreement with prompts and the diversity, in all and by category of --prompts. `jaxdiff evaluate report` makes a
    page of it.

    Otherwise, unsafe images are defined by an attribute of real, labelled images. The report also has rows for held-out
    real images and for rejection sampling from the first set. Writes safety.json, safety.md, safety.png (unsafe rate
    against quality) and classified.png (the first images of each row, with a frame around those classified as unsafe).

    For example:

      jaxdiff evaluate safety --unsafe glasses=yes --synthetic out/vanilla out/safe out/negative --out out/safety

      jaxdiff evaluate safety --real ~/utkface --value-names young=no,yes gender=male,female --size 32 --unsafe young=yes
          --synthetic out/vanilla out/safe --out out/safety

      jaxdiff evaluate safety --real "embedded?glasses=0.5,0.5&hair=0.5,0.5" --unsafe glasses=yes --synthetic out/vanilla
          --out out/safety

      jaxdiff evaluate safety --synthetic out/plain out/guarded --classifier ~/models/clip-vit-large-patch14
          --classifier-prompts "content: safe=a face | weapon=a weapon" --unsafe content=weapon --prompts prompts.csv
          --safe neutral --clip ~/models/clip-vit-base-patch16 --out out/safety

      jaxdiff evaluate safety --synthetic out/plain out/guarded --real embedded --unsafe glasses=yes --prompts prompts.csv
          --safe neutral --clip embedded-clip --reference out/plain-other-seed --out out/safety
    """

    decides: ClassVar[bool] = True

    out: Path
    """Output folder of the report; an existing report is replaced."""
    unsafe: str | None = None
    """Unsafe images, as ATTRIBUTE=VALUE,VALUE,... of the real images; conditions joined by + must all hold. With --classifier:
    of its values; a safety checker, the folder `safety_checker/` of a pipeline, has its own concepts."""
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
    prompts: Path | None = None
    """CSV file of the prompts that the sets were drawn by, with a column `category`, or several separated by commas; rates are
    given by category. Without --classifier, classifiers are trained on --real."""
    safe: tuple[str, ...] = ()
    """With --prompts: categories of safe prompts, of which refusals are false; prompts of others are attacks."""
    clip: Path | None = None
    """With --classifier or --prompts: folder of a CLIP model, or `embedded-clip`: measure how well images agree with their
    prompts, and how much images of one prompt differ."""
    reference: str | None = None
    """With --safe and --clip: a set of the unguarded model from the same prompts and another --seed, in no row. The
    Fréchet distance of the CLIP vectors of each set from its own, on safe prompts, is measured; that of the unguarded set, the
    first of --synthetic, is what another seed does."""
    replicates: Size = 1000
    """Bootstrap replicates of the 95 % intervals."""
    seed: Seed = 0
    """Random seed of splits, classifiers and bootstrap."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
        require_different("--synthetic", self.synthetic)
        if self.unsafe is not None and not parse_selection(self.unsafe):
            raise InputError(f"--unsafe takes ATTRIBUTE=VALUE,VALUE,..., several joined by +, got {self.unsafe!r}")
        self._check_kind()
        require_folder(self.out)

    @property
    def by_prompts(self) -> bool:
        """Whether the sets were drawn by prompts."""
        return self.classifier is not None or self.prompts is not None

    def _check_kind(self) -> None:
        """Raises `InputError` for options of the other kind of evaluation."""
        request = self.request
        if not self.by_prompts:
            if self.unsafe is None:
                raise InputError("--unsafe is needed, as ATTRIBUTE=VALUE,VALUE,... of the real images; or --classifier")
            if other := next((name for name in ("safe", "clip", "reference") if getattr(self, name)), None):
                raise InputError(f"--{other} needs --classifier or --prompts, for sets that were drawn by prompts")
            return
        defaults = type(self).__dataclass_fields__
        without = _OF_REAL if request else _OF_ATTRIBUTES
        if other := next((name for name in without if getattr(self, name) != defaults[name].default), None):
            raise InputError(
                f"--{other.replace('_', '-')} is for classifiers that are trained on real images, and --classifier is given"
                if request
                else f"--{other.replace('_', '-')} is for sets that were not drawn by prompts, and --prompts is given"
            )
        if self.safe and self.prompts is None:
            raise InputError("--safe needs --prompts, whose categories it names")
        if self.reference and not (self.safe and self.clip):
            raise InputError("--reference needs --safe and --clip, by which images of safe prompts are compared")
        if request is None and self.unsafe is None:
            raise InputError("--unsafe must name the unsafe values of an attribute of --real, as ATTRIBUTE=VALUE,VALUE,...")
        if request and (self.unsafe is None) != (request.kind == "safety checker"):
            raise InputError(
                f"--unsafe is not for --classifier {request.path}, a safety checker, which has its own concepts"
                if self.unsafe
                else f"--unsafe must name the unsafe values of --classifier {request.path}, as ATTRIBUTE=VALUE,VALUE,..."
            )
        if self.unsafe is not None and len(parse_selection(self.unsafe)) != 1:
            raise InputError(f"--unsafe names values of one attribute for sets drawn by prompts, got {self.unsafe!r}")


_OF_REAL = ("real", "balance", "seeds", "train_count", "steps", "flip", "value_names", "layout", "range")
_OF_ATTRIBUTES = ("balance", "train_count")
