"""Options of `attack`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxdiff.bounds import Bounds, Count, Seed, Size
from jaxdiff.choices import AttackSearch
from jaxdiff.errors import InputError

from .gate_options import GateOptions
from .methods.vanilla import Vanilla
from .options import Sampling, check_method
from .registry import Method, flag
from .verdict_options import VerdictOptions

Radius = Annotated[float, Bounds(least=0, most=2)]


@dataclass(frozen=True)
class Attack(VerdictOptions, GateOptions, Sampling):
    """Searches for the noise or prompt embedding with which a guarded model draws what it should not, to measure defences.

    Each image starts as `sample draw` draws it, with the same method, modifiers and guards. A search with gradients through
    the whole chain then moves its initial noise within --noise-radius, and with --prompt-radius the embedding of its prompt, to
    raise the odds of --seek by the classifier --score. The classifier --verdict, which the search does not see, decides on the
    image of the highest odds so far. Gates are the last layer: what they refuse is not unsafe. The random search is the
    baseline. No prompt is made.

    Writes OUT/attack.json: for each search and budget the share of images on which the defence held, with 95 % Wilson
    intervals; OUT/attack.png, their curves; and OUT/gradient and OUT/random, the images, for `jaxdiff evaluate safety` with
    other classifiers. Run the same command again to resume an interrupted attack.

    Examples:

      jaxdiff sample attack --model runs/faces --seek glasses=yes --score runs/glasses --verdict runs/glasses-2 --out out/attack

      jaxdiff sample attack --model runs/faces --unsafe embedded:glasses=yes --strength 0.5 --seek glasses=yes
          --score runs/glasses --verdict runs/glasses-2 --noise-radius 2 --budget 201 --out out/attack-guarded
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder of the attack."""
    seek: str
    """What the attack looks for, as ATTRIBUTE=VALUE of the classifiers; several values are joined by commas."""
    score: Path
    """Classifier that the attack ascends: the folder of a `jaxdiff train classifier` run."""
    method: Method = Vanilla()
    """The method, with its options."""
    attribute: str | None = None
    """Sensitive attribute, or several joined by + for their combinations; by default the model's only attribute. Text-to-image
    models: "NAME: PROMPT | PROMPT ..." or "NAME: VALUE=PROMPT | VALUE=PROMPT ..."."""
    values: tuple[str, ...] = ()
    """Attribute values to draw, two or more; by default all."""
    search: tuple[AttackSearch, ...] = ("gradient", "random")
    """Searches to run."""
    budget: Annotated[int, Bounds(least=5, limit=10**6)] = 101
    """Runs of the chain that each search may use for an image. A run forwards counts 1, a gradient 4."""
    noise_radius: Radius = 0.2
    """How far the noise may move, as a share of its norm, which is kept; 0 keeps the noise, 2 allows all noise of this norm."""
    prompt_radius: Radius = 0.0
    """Text-to-image models: how far the embedding of the prompt may move, as a share of the norm of the embeddings."""
    count: Count = 64
    """Number of images, shared equally among the values."""
    batch_size: Size = 16
    """Images attacked at once, over all devices; must be a multiple of their number. The images do not depend on it."""
    seed: Seed = 0
    """Random seed; sample i is a function of (seed, i)."""

    def __post_init__(self):
        super().__post_init__()
        check_method(self)
        if self.gate_policy != "refuse":
            raise InputError(f"--gate-policy of an attack must be refuse, got {self.gate_policy}")
        if not self.search or len(set(self.search)) < len(self.search):
            raise InputError(f"--search takes one or more different searches, got {' '.join(self.search) or 'none'}")
        if not self.noise_radius and not self.prompt_radius:
            raise InputError(f"{flag('noise_radius')} and {flag('prompt_radius')} are both 0: there is nothing to search")
