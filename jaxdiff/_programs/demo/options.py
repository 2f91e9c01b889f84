"""Options of `jaxdiff demo`."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import Count, Size


@dataclass(frozen=True)
class Demo(CheckedOptions):
    """Demonstrates fair sampling from end to end, on generated faces.

    Searches the transition point tau of the shipped model, draws a set with each method (vanilla, mixing, switching),
    evaluates the sets with attribute classifiers and energy distance, and writes pictures: a grid for each method, matched
    pairs (the same noise, plain and switched), one face over a range of tau, and the search curves. Then draws firefighters by
    prompt from the shipped text-to-image model, plain and with a drawn group, and counts the groups. Takes about five minutes
    on two cores.

    Examples:

      jaxdiff demo

      jaxdiff demo --count 4096 --seeds 3 --out out/thorough
    """

    out: Path = Path("out/demo")
    """Output folder; sets that it already contains are not drawn again."""
    model: Path = Path("embedded")
    """Model: `embedded`, the shipped one, or a run trained on the embedded faces."""
    count: Count = 512
    """Images in each set."""
    steps: Size = 25
    """Number of DDIM steps."""
    seeds: Size = 2
    """Attribute classifiers trained on each set."""
    reduced: bool = False
    """A much smaller run (32 images, 4 steps) that only checks that everything works."""
