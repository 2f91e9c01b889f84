"""What `jaxdiff evaluate fairness` takes."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Processes
from jaxdiff.defaults import CLASSIFIER_BATCH, CLASSIFIER_STEPS, PERMUTATIONS, Limits
from jaxdiff.errors import InputError

from .fitted import Fitted


@dataclass(frozen=True)
class Fairness(Fitted, Processes):
    """Judges how much of an attribute is left in synthetic images, whoever drew them.

    Small classifiers are trained on each set and tested on others, in three directions (synthetic->real, real->synthetic and,
    held out, synthetic->synthetic), and the two groups of each set are compared by their energy distance. Beside it stand
    what fairness must not cost: quality, and with --associated the label's own feature and the parity of all others.
    Writes report.json, report.md and report.png.

    For example:

      jaxdiff evaluate fairness --synthetic out/vanilla out/mixing out/switching --attribute group --out report

      jaxdiff evaluate fairness --synthetic samples.npz --real ~/utkface --size 32 --attribute gender
          --value-names gender=male,female --out report

      jaxdiff evaluate fairness --synthetic out/a out/b --real "tfds:fair_face_manual?manual_dir=~/fairface"
          --attribute race --values Black White --out report

      jaxdiff evaluate fairness --synthetic out/a --attribute group --associated all --target 0.3 0.7
          --intersect glasses hair --out report

    Faults of a set are listed by name under "findings". --self-check tests that on control sets with known faults, made of real
    images; the exit status is 1 where a fault is missed or a fair set is flagged:

      jaxdiff evaluate fairness --self-check --real embedded --attribute group --out out/self-check

    The rate of false alarms, on sets so small that judges so quick may miss a cheat:

      jaxdiff evaluate fairness --self-check --repeats 50 --test-count 300 --steps 40 --seeds 1 --attribute group
          --out out/false-alarms
    """

    attribute: str
    """The attribute; a set's labels are what its images were drawn as (switching: the final condition)."""
    out: Path
    """Folder of the report; an older report there is replaced."""
    synthetic: tuple[str, ...] = ()
    """Sets to judge, in the order of the report: folders of samples, folders or .zip files with labels.csv, .npz files."""
    real: str = "embedded"
    """Real images: `embedded`, a folder, .zip, .npz or tfds:NAME. Its splits train and test are used."""
    values: tuple[str, ...] = ()
    """Two or more of the attribute's values: images of others are left out. By default all values of the real images."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of folders, .zip and .npz files, e.g. gender=male,female."""
    seeds: int = 3
    """Classifiers trained on each set."""
    train_count: int | None = None
    """Images that every classifier is trained on; by default as many as the smallest set can give (half of a synthetic set)."""
    test_count: int = 10_000
    """Most images used of a synthetic set, and of the real test images; more are drawn from by --seed."""
    steps: int = CLASSIFIER_STEPS
    """Optimiser steps of every classifier."""
    batch: int = CLASSIFIER_BATCH
    """Images a step."""
    flip: bool = True
    """Mirror half of the training images; wrong for digits and letters."""
    replicates: int = 1000
    """Bootstrap replicates of the 95 % intervals."""
    permutations: int = PERMUTATIONS
    """Permutations of the energy test; its least p-value is 1 / (1 + permutations). With fewer it may never be sure enough
    to flag a set."""
    quality: bool = True
    """Measure each set's quality against real images, in all and by group."""
    inception: Path | None = None
    """Weights of the FID Inception, a .pth of its PyTorch ports or what `jaxdiff.quality.inception.convert` made of it; by
    default quality looks at the features of the first classifier of real images."""
    associated: tuple[str, ...] = ()
    """Other attributes of the real images, or `all`: measure whether the label is kept and whether these are at parity
    between the groups, by classifiers trained where they do not follow the group."""
    target: tuple[float, ...] = ()
    """With --associated: the share of images that each of the attribute's values should have, whatever the labels say; by
    default equal shares."""
    intersect: tuple[str, ...] = ()
    """Other attributes of the real images: tell the errors in every group of --attribute and these together (gender x race).
    A set without labels of them is labelled by classifiers of real images."""
    judge: Path | None = None
    """A classifier of the attribute from outside, as ONNX (needs onnxruntime): how often it sees the label in each set."""
    judge_values: tuple[str, ...] = ()
    """The names of its classes, in their order; by default --values."""
    judge_mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    """What it wants subtracted from red, green and blue, levels 0 to 255."""
    judge_scale: float = 127.5
    """What it wants the rest divided by."""
    limits: Limits = Limits()
    """When a set is flagged."""
    self_check: bool = False
    """Evaluate control sets made of real images instead of --synthetic; writes self-check.json."""
    repeats: int = 0
    """With --self-check: draw the fair sets so many times again, to tell the rate of false alarms."""
    seed: int = 0
    """Seed of everything: halves, classifiers, bootstrap, permutations."""

    def __post_init__(self):
        image_size(self.size)
        for name in ("seeds", "test_count", "steps", "batch", "replicates", "permutations"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if not self.synthetic and not self.self_check:
            raise InputError("--synthetic takes one set or more, got none")
        if self.self_check and (self.synthetic or self.associated or self.judge or not self.quality):
            raise InputError("--self-check makes its own sets: it takes no --synthetic, --associated, --judge or --no-quality")
        if self.repeats < 0 or (self.repeats and not self.self_check):
            raise InputError(f"--repeats must be at least 0 and is for --self-check, got {self.repeats}")
        if len(set(self.synthetic)) != len(self.synthetic):
            raise InputError(f"--synthetic must name distinct sets, got {' '.join(self.synthetic)}")
        if self.target and not self.associated:
            raise InputError("--target is for --associated, whose judges count the images; got none")
        if self.target and (min(self.target) < 0 or abs(sum(self.target) - 1) > 0.011):
            raise InputError(f"--target takes shares of at least 0 that add up to 1, got {' '.join(map(str, self.target))}")
        if self.judge is None and (self.judge_values or self.judge_mean != (127.5,) * 3 or self.judge_scale != 127.5):
            raise InputError("--judge-values, --judge-mean and --judge-scale are for --judge, got none")
        if self.judge_scale <= 0:
            raise InputError(f"--judge-scale must be above 0, got {self.judge_scale}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")
