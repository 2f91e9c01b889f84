"""The modifiers of `jaxdiff sample`: one file each, and one line each below."""

from ..registry import Modifier
from .adaptive_projected import AdaptiveProjected
from .autoguidance import Autoguidance
from .classifier_free import ClassifierFree
from .dynamic_negative import DynamicNegative
from .dynamic_thresholding import DynamicThresholding
from .interval import Interval
from .negative import Negative
from .repellency import Repellency
from .safe import Safe
from .safe_latent import SafeLatent
from .safety_flow import SafetyFlow
from .safree import Safree

MODIFIERS: dict[str, type[Modifier]] = {
    modifier.name: modifier
    for modifier in (
        ClassifierFree,
        Interval,
        AdaptiveProjected,
        SafeLatent,
        Autoguidance,
        DynamicThresholding,
        Safree,
        Safe,
        Repellency,
        SafetyFlow,
        Negative,
        DynamicNegative,
    )
}
"""All modifiers by name."""
