"""Options of `jaxdiff evaluate fairness`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Bounds, Count, Seed, Share, Size
from jaxdiff.choices import Resize
from jaxdiff.defaults import CLASSIFIER_BATCH, CLASSIFIER_STEPS, PERMUTATIONS, Limits
from jaxdiff.errors import InputError

from .checks import require_different, require_folder, require_shares
from .classifier import ClassifierOptions
from .image_format import ImageFormat


@dataclass(frozen=True)
class Fairness(ClassifierOptions, ImageFormat, Reading, Processes):
    """Measures how far synthetic images from any source depend on an attribute.

    Attribute classifiers are trained on each set and tested in three directions: synthetic->real, real->synthetic and, held
    out, synthetic->synthetic. The groups of each set are compared by their energy distance. The report also measures the
    quality of each set and, with --associated, label accuracy and the parity of other attributes. Writes report.json, report.md
    and report.png.

    For example:

      jaxdiff evaluate fairness --synthetic out/vanilla out/mixing out/switching --attribute group --out report

      jaxdiff evaluate fairness --synthetic samples.npz --real ~/utkface --size 32 --attribute gender
          --value-names gender=male,female --out report

      jaxdiff evaluate fairness --synthetic out/a out/b --real "tfds:fair_face_manual?manual_dir=~/fairface"
          --attribute race --values Black White --out report

      jaxdiff evaluate fairness --synthetic out/a --attribute group --associated all --target 0.3 0.7
          --intersect glasses hair --out report

    Problems of a set are listed by name as "findings". --self-check tests them on control sets with known faults, made from
    real images; the exit status is 1 if a fault is missed or a fair set is flagged:

      jaxdiff evaluate fairness --self-check --real embedded --attribute group --out out/self-check

    Measure the rate of false alarms; with sets this small and training this short, faults may be missed:

      jaxdiff evaluate fairness --self-check --repeats 50 --test-count 300 --steps 40 --seeds 1 --attribute group
          --out out/false-alarms
    """

    attribute: str
    """Attribute to evaluate. A set's labels are those its images were drawn with (switching: the final label)."""
    out: Path
    """Output folder of the report; an existing report is replaced."""
    synthetic: tuple[str, ...] = ()
    """Sets to evaluate, in the order of the report: sets of samples, or labelled images in any layout that is read."""
    real: str = "embedded"
    """Real images: `embedded`, tfds:NAME, or a folder, .zip, .tar, .npz or .parquet. The splits train and test are used."""
    values: tuple[str, ...] = ()
    """Attribute values to evaluate, two or more; other images are excluded. By default all values of the real images."""
    seeds: Size = 3
    """Number of attribute classifiers trained on each set, with different seeds."""
    train_count: Count | None = None
    """Training images per classifier; by default as many as the smallest set provides (half of a synthetic set)."""
    test_count: Count = 10_000
    """Maximum number of images used of each set, and of the real test images; a random subset of larger ones (see --seed)."""
    steps: Size = CLASSIFIER_STEPS
    """Optimiser steps per classifier."""
    batch: Size = CLASSIFIER_BATCH
    """Images per optimiser step."""
    flip: bool = True
    """Mirror half of the training images; turn off for digits and letters."""
    replicates: Size = 1000
    """Bootstrap replicates of the 95 % intervals."""
    permutations: Size = PERMUTATIONS
    """Permutations of the energy test; the smallest possible p-value is 1 / (1 + permutations). With too few no set can be
    flagged."""
    quality: bool = True
    """Measure the quality of each set against real images, overall and per group."""
    inception: Path | None = None
    """Weights of the FID Inception network: a .pth of its PyTorch ports, or a file written by
    `jaxdiff.quality.inception.convert`. By default quality uses the features of the first classifier of real images."""
    inception_resize: Resize | None = None
    """With --inception: the program whose resize of images is used; Fréchet distances are comparable only under one. By default
    tensorflow: that of the original FID, torch-fidelity and guided-diffusion."""
    reference: Path | None = None
    """Also compare with the real images of this .npz file of another program: statistics `mu` and `sigma` of pytorch-fid or
    clean-fid (state which by --inception-resize), or a reference batch of guided-diffusion."""
    clip: Path | None = None
    """Folder of a CLIP model, for sets that were drawn by prompts: measure how well images agree with the prompt of their final
    label, 100 max(cosine, 0)."""
    associated: tuple[str, ...] = ()
    """Other attributes of the real images, or `all`: measure label accuracy, what images reveal beyond the label, and the
    parity of these attributes between the groups, with classifiers trained on data balanced over the attributes."""
    target: tuple[Share, ...] = ()
    """With --associated or --classifier: target share of images showing each value, regardless of their labels; by default
    equal shares."""
    intersect: tuple[str, ...] = ()
    """Other attributes of the real images: report errors for each intersection of --attribute and these (gender x race).
    Sets without labels of them are labelled by classifiers trained on real images."""
    limits: Limits = Limits()
    """When a set is flagged."""
    self_check: bool = False
    """Evaluate control sets made from real images instead of --synthetic; writes self-check.json."""
    repeats: Annotated[int, Bounds(least=0, limit=10**6)] = 0
    """With --self-check: number of further draws of the fair sets, to measure the rate of false alarms."""
    seed: Seed = 0
    """Random seed of splits, classifiers, bootstrap and permutations."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
        if not self.self_check:
            require_different("--synthetic", self.synthetic)
        if self.self_check and (self.synthetic or self.associated or self.classifier or self.clip or not self.quality):
            raise InputError(
                "--self-check uses its own sets; it cannot be combined with --synthetic, --associated, --classifier, --clip "
                "or --no-quality"
            )
        if self.inception_resize and not self.inception:
            raise InputError(f"--inception-resize needs --inception, got {self.inception_resize} without it")
        if self.reference and (self.self_check or not self.quality):
            raise InputError(
                "--reference is for the quality of --synthetic; it cannot be combined with --self-check or --no-quality"
            )
        if self.repeats and not self.self_check:
            raise InputError(f"--repeats needs --self-check, got {self.repeats} without it")
        if self.target and not self.associated and self.classifier is None:
            raise InputError("--target needs --associated or --classifier, whose classifiers count the images")
        require_shares(self.target)
        require_folder(self.out)
