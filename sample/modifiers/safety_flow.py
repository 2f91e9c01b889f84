"""Safety-guided flow (SGF) for any method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Place
from ._guard import ImageGuard


@dataclass(frozen=True, kw_only=True)
class SafetyFlow(ImageGuard):
    """See `about`."""

    name: ClassVar[str] = "safety_flow"
    about: ClassVar[str] = "safety-guided flow (SGF): up the gradient of the discrepancy (MMD) from the --unsafe images"

    def __post_init__(self):
        super().__post_init__()
        if self.strength is None:
            raise InputError(
                "--guard safety_flow needs --strength, in squared units of the data; try 20 times the number of unsafe images"
            )

    def around(self, chosen: Any, unsafe: Any) -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """See `ImageGuard.around`."""
        from jaxdiff import guidance

        process = chosen.model.process
        return lambda denoise, _: guidance.safety_flow(denoise, process, unsafe, **self.common), {}
