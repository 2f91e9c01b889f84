"""Guidances: denoiser in, denoiser out. They compose by nesting; the solver places nodes on all breakpoints."""

from jaxdiff.denoiser import Guidance, Stateful, breakpoints
from jaxdiff.guidance.adaptive_projected import AdaptiveProjected, adaptive_projected
from jaxdiff.guidance.autoguidance import Autoguidance, autoguidance
from jaxdiff.guidance.classifier_free import ClassifierFree, classifier_free
from jaxdiff.guidance.clipping import Clipped, clipped
from jaxdiff.guidance.clipping_policy import Clip, ClippingPolicy, DynamicThresholding, Unbounded
from jaxdiff.guidance.constrained import Constrained, ExactConditions, constrained
from jaxdiff.guidance.density_ratio import DensityRatio, density_ratio
from jaxdiff.guidance.interval import Interval, interval
from jaxdiff.guidance.masked import Masked, masked
from jaxdiff.guidance.minimal import Minimal, minimal
from jaxdiff.guidance.mixing import Mixing, mixing
from jaxdiff.guidance.negative import negative
from jaxdiff.guidance.particle import Particle, particle
from jaxdiff.guidance.projected import Projected, projected
from jaxdiff.guidance.record import Record, Recording, record
from jaxdiff.guidance.repellency import Repellency, radius_of, repellency
from jaxdiff.guidance.reweighting import ScoreMixing, score_mixing
from jaxdiff.guidance.safe import Safe, classifier_odds, dynamic_negative, odds, safe
from jaxdiff.guidance.safe_latent import SafeLatent, safe_latent
from jaxdiff.guidance.safety_flow import SafetyFlow, safety_flow
from jaxdiff.guidance.semantic import Semantic, semantic
from jaxdiff.guidance.spectral import SpectralSwitching, spectral_switching
from jaxdiff.guidance.switching import Switching, switching
from jaxdiff.guidance.thresholding import Thresholded, dynamic_thresholding
from jaxdiff.guidance.weights import Weight, tracked
from jaxdiff.guidance.window import Window, window

__all__ = [
    "AdaptiveProjected",
    "Autoguidance",
    "ClassifierFree",
    "Clip",
    "Clipped",
    "ClippingPolicy",
    "Constrained",
    "DensityRatio",
    "DynamicThresholding",
    "ExactConditions",
    "Guidance",
    "Interval",
    "Masked",
    "Minimal",
    "Mixing",
    "Particle",
    "Projected",
    "Record",
    "Recording",
    "Repellency",
    "Safe",
    "SafeLatent",
    "SafetyFlow",
    "ScoreMixing",
    "Semantic",
    "SpectralSwitching",
    "Stateful",
    "Switching",
    "Thresholded",
    "Unbounded",
    "Weight",
    "Window",
    "adaptive_projected",
    "autoguidance",
    "breakpoints",
    "classifier_free",
    "classifier_odds",
    "clipped",
    "constrained",
    "density_ratio",
    "dynamic_negative",
    "dynamic_thresholding",
    "interval",
    "masked",
    "minimal",
    "mixing",
    "negative",
    "odds",
    "particle",
    "projected",
    "radius_of",
    "record",
    "repellency",
    "safe",
    "safe_latent",
    "safety_flow",
    "score_mixing",
    "semantic",
    "spectral_switching",
    "switching",
    "tracked",
    "window",
]
