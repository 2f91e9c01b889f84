"""Safety: rates of unsafe images, memorisation of training images, and membership inference."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.safety.duplicates import Duplicates, find_duplicates
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
    from jaxdiff.safety.unsafe_rate import UnsafeRate, measure_unsafe_rate

__all__ = [
    "Closeness",
    "Duplicates",
    "Excess",
    "MembershipAttack",
    "Memorization",
    "UnsafeRate",
    "attack_losses",
    "closeness",
    "find_duplicates",
    "gate_rates",
    "images_at_risk",
    "measure_memorization",
    "measure_unsafe_rate",
    "membership_attack",
    "near_distance",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "duplicates": ("Duplicates", "find_duplicates"),
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
        "unsafe_rate": ("UnsafeRate", "measure_unsafe_rate"),
    },
)
