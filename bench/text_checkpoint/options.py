"""Options of the command line; importing them imports no PyTorch."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff.errors import InputError

WORK = Path("out/text-checkpoint")


@dataclass(frozen=True)
class Make:
    """Trains every part and writes the folders of the pipeline and of its CLIP. A run that was ended resumes where it was last
    saved, at most two minutes of work before.

    Examples:

      python -m bench.text_checkpoint

      python -m bench.text_checkpoint --quick --work out/quick --out out/quick/text --clip out/quick/clip
    """

    out: Path = Path("checkpoints/text")
    """Folder of the pipeline; it is replaced."""
    clip: Path = Path("checkpoints/text-clip")
    """Folder of CLIP; it is replaced."""
    work: Path = WORK
    """Folder of checkpoints and finished stages."""
    seed: int = 0
    """Of the weights, the noise and the data."""
    threads: int = 2
    """Threads of PyTorch. Another number changes the last bits of the result."""
    quick: bool = False
    """Train each part for a few steps only, in minutes: every stage runs, and the faces are noise."""

    def __post_init__(self):
        if self.threads < 1:
            raise InputError(f"--threads must be at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed must be 0 to 2**32 - 1, got {self.seed}")


@dataclass(frozen=True)
class Evaluate:
    """Draws images for each value of each attribute and for each occupation, reads them with an attribute classifier trained on
    faces without associations, and prints the tables in Markdown.

    Examples:

      python -m bench.text_checkpoint evaluate

      python -m bench.text_checkpoint evaluate --model FOLDER --count 64 --scales 1 7.5
    """

    model: Path = Path("checkpoints/text")
    """Folder of a pipeline in Stable Diffusion's format that was trained on these captions."""
    work: Path = WORK
    """Folder of the attribute classifier, which is trained if it is not there (two minutes)."""
    count: int = 256
    """Images for each prompt and scale."""
    steps: int = 25
    """Number of DDIM steps."""
    scale: float = 3.0
    """Guidance scale at which values are compared with prompts."""
    scales: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0)
    """Guidance scales of the occupations."""
    pictures: Path | None = None
    """PNG of faces of several prompts, for example out/text.png."""
    seed: int = 0
    """Of the classifier."""
    threads: int = 2
    """Threads of PyTorch."""

    def __post_init__(self):
        for name in ("count", "steps", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if not self.scales:
            raise InputError("--scales must be at least one guidance scale")
