"""What `jaxdiff demo` takes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Demo:
    """The main job from end to end, on faces that jaxdiff draws itself.

    Searches the transition point tau of the shipped model, draws a set by each method (vanilla, mixing, switching),
    judges the sets by classifiers and energy distance, and writes pictures: a grid for each method, matched pairs (the
    same noise, unswitched and switched), one face over a sweep of tau, and the curves of the search. Takes about four
    minutes on two cores.

    Examples:

      jaxdiff demo

      jaxdiff demo --count 4096 --seeds 3 --out out/thorough
    """

    out: Path = Path("out/demo")
    """Folder for all that is made; drawn sets there are not drawn again."""
    model: Path = Path("embedded")
    """The model: the shipped one, or a run trained on the embedded faces."""
    count: int = 512
    """Images in each set."""
    steps: int = 25
    """Steps of DDIM."""
    seeds: int = 2
    """Classifiers trained on each set."""
    reduced: bool = False
    """A much smaller run (32 images, 4 steps) that only shows that everything works."""
