"""The methods of `jaxdiff sample draw`: one file each, and one line each below."""

from ..registry import Method
from .balanced import Balanced
from .distribution import Distribution
from .editing import Editing
from .fair_diffusion import FairDiffusion
from .fair_instruction import FairInstruction
from .fair_projection import FairProjection
from .inpainting import Inpainting
from .minimal import Minimal
from .mixing import Mixing
from .projected import Projected
from .score_mixing import ScoreMixing
from .spectral import Spectral
from .switching import Switching
from .unconditional import Unconditional
from .vanilla import Vanilla

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Vanilla,
        Unconditional,
        Mixing,
        ScoreMixing,
        Balanced,
        FairDiffusion,
        FairInstruction,
        FairProjection,
        Editing,
        Switching,
        Spectral,
        Minimal,
        Projected,
        Distribution,
        Inpainting,
    )
}
"""All methods by name."""
