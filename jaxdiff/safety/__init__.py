"""Safety: rates of unsafe images, attacks on defences, memorisation, membership inference, and concepts erased from weights."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.safety.attacks import Attacked, attack, maximise
    from jaxdiff.safety.duplicates import Duplicates, find_duplicates
    from jaxdiff.safety.erased_concepts import Change, Columns, Erased, columns, erase
    from jaxdiff.safety.erasing import rece, restoring, speed, text_kernels, uce
    from jaxdiff.safety.gate import gate_rates
    from jaxdiff.safety.membership import MembershipAttack, attack_losses, membership_attack
    from jaxdiff.safety.memorization import (
        Closeness,
        Excess,
        Memorization,
        closeness,
        images_at_risk,
        measure_memorization,
        near_distance,
    )
    from jaxdiff.safety.purification import Purifier, Robustness, purifier, purify, robustness
    from jaxdiff.safety.regions import Ball, Box, Region, Shell, ball, box, shell
    from jaxdiff.safety.unsafe_rate import UnsafeRate, measure_unsafe_rate

__all__ = [
    "Attacked",
    "Ball",
    "Box",
    "Change",
    "Closeness",
    "Columns",
    "Duplicates",
    "Erased",
    "Excess",
    "MembershipAttack",
    "Memorization",
    "Purifier",
    "Region",
    "Robustness",
    "Shell",
    "UnsafeRate",
    "attack",
    "attack_losses",
    "ball",
    "box",
    "closeness",
    "columns",
    "erase",
    "find_duplicates",
    "gate_rates",
    "images_at_risk",
    "maximise",
    "measure_memorization",
    "measure_unsafe_rate",
    "membership_attack",
    "near_distance",
    "purifier",
    "purify",
    "rece",
    "restoring",
    "robustness",
    "shell",
    "speed",
    "text_kernels",
    "uce",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "attacks": ("Attacked", "attack", "maximise"),
        "duplicates": ("Duplicates", "find_duplicates"),
        "erased_concepts": ("Change", "Columns", "Erased", "columns", "erase"),
        "erasing": ("rece", "restoring", "speed", "text_kernels", "uce"),
        "gate": ("gate_rates",),
        "membership": ("MembershipAttack", "attack_losses", "membership_attack"),
        "memorization": (
            "Closeness",
            "Excess",
            "Memorization",
            "closeness",
            "images_at_risk",
            "measure_memorization",
            "near_distance",
        ),
        "purification": ("Purifier", "Robustness", "purifier", "purify", "robustness"),
        "regions": ("Ball", "Box", "Region", "Shell", "ball", "box", "shell"),
        "unsafe_rate": ("UnsafeRate", "measure_unsafe_rate"),
    },
)
