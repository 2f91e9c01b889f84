"""Options of `jaxdiff evaluate prompts`."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Count, Seed, Share, Size
from jaxdiff.choices import Resize
from jaxdiff.defaults import CLASSIFIER_BATCH, CLASSIFIER_STEPS
from jaxdiff.errors import InputError

from .checks import require_different, require_folder, require_shares
from .classifier import ClassifierOptions
from .image_format import ImageFormat


@dataclass(frozen=True)
class PromptSets(ClassifierOptions, ImageFormat, Reading, Processes):
    """Measures what sets of a text-to-image model show, prompt by prompt.

    With --attribute, the share of images that show each of its values, as a classifier sees them, and their distances from the
    target shares: parity. The classifier is an external one (--classifier), or is trained on real images (--real). With --clip,
    how well images agree with their prompts. Sets that are drawn from the same noise as the first one are compared with it
    image by image: how many keep their other attributes. Writes prompts.json, prompts.md and, with --attribute, prompts.png.

    For example:

      jaxdiff evaluate prompts --synthetic out/vanilla out/fair --clip ~/models/clip-vit-base-patch16 --out out/prompts

      jaxdiff evaluate prompts --synthetic out/vanilla out/fair --attribute group --associated all --real embedded
          --out out/prompts

      jaxdiff evaluate prompts --synthetic out/vanilla out/fair --attribute gender --classifier ~/models/clip-vit-base-patch16
          --classifier-prompts "gender: a photo of a man | a photo of a woman" --out out/prompts

      jaxdiff evaluate prompts --synthetic out/vanilla out/fair --attribute gender --classifier gender.onnx
          --classifier-values male female --target 0.5 0.5 --out out/prompts
    """

    out: Path
    """Output folder of the report; an existing report is replaced."""
    synthetic: tuple[str, ...] = ()
    """Sets to evaluate, the one to compare with first: sets of samples that were drawn by prompts, or folders of such sets,
    which count as one."""
    by: str | None = None
    """Attribute of the sets whose values are the rows of the report; by default each prompt is one."""
    attribute: str | None = None
    """Attribute whose values are counted."""
    target: tuple[Share, ...] = ()
    """With --attribute: target share of each value; by default equal shares."""
    fair_table: str | None = None
    """With --attribute: target shares of each prompt by the concept that it mentions, from a lookup table of Fair Diffusion: a
    file of TOML, or the name of one that comes with jaxdiff, as of `jaxdiff sample draw`. Other prompts take --target."""
    associated: tuple[str, ...] = ()
    """With --real, without --classifier: other attributes of the real images, or `all`, in which images are compared with those
    of the first set. A CLIP model compares all attributes that --classifier-prompts describes."""
    real: str | None = None
    """Real images: `embedded`, tfds:NAME, or a folder, .zip, .tar, .npz or .parquet. The splits train and test are used: to
    train the classifiers or, with --classifier, to measure its errors; shares are then corrected for them."""
    clip: Path | None = None
    """Folder of a CLIP model, or `embedded-clip`: measure how well images agree with their prompts, 100 max(cosine, 0)."""
    quality: bool = False
    """Measure the quality of each set against --real."""
    inception: Path | None = None
    """With --quality: weights of the FID Inception network, as of `jaxdiff evaluate fairness`. By default the features of the
    classifier that was trained on --real."""
    inception_resize: Resize | None = None
    """With --inception: the program whose resize of images is used; by default tensorflow."""
    test_count: Count = 10_000
    """Maximum number of images used of each set, the first ones; and of the real images."""
    steps: Size = CLASSIFIER_STEPS
    """Optimiser steps of each classifier that is trained."""
    batch: Size = CLASSIFIER_BATCH
    """Images per optimiser step."""
    flip: bool = True
    """Mirror half of the training images; turn off for digits and letters."""
    replicates: Size = 1000
    """Draws of the 95 % intervals."""
    seed: Seed = 0
    """Random seed of classifiers and bootstrap."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
        require_different("--synthetic", self.synthetic)
        if self.attribute is None and self.clip is None and not self.quality:
            raise InputError("nothing is measured: give --attribute, --clip or --quality")
        for name in ("target", "fair_table", "associated", "classifier"):
            if getattr(self, name) and self.attribute is None:
                raise InputError(f"--{name.replace('_', '-')} needs --attribute, whose values are counted")
        if self.attribute is not None and self.classifier is None and self.real is None:
            raise InputError("--attribute needs a classifier: give --classifier, or --real to train one on real images")
        if self.associated and self.classifier is not None:
            raise InputError(
                "--associated is for classifiers that are trained on --real, and --classifier is given; a CLIP model takes "
                "other attributes as further --classifier-prompts"
            )
        if self.quality and self.real is None:
            raise InputError("--quality needs --real, the images to compare with")
        if self.quality and self.inception is None and (self.classifier is not None or self.attribute is None):
            raise InputError(
                "--quality needs --inception, since no classifier is trained on --real whose features could be used"
            )
        for name in ("inception", "inception_resize"):
            if getattr(self, name) and not (self.quality and self.inception):
                raise InputError(f"--{name.replace('_', '-')} needs --quality and --inception")
        require_shares(self.target)
        require_folder(self.out)
