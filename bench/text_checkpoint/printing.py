"""Lines of progress and of results."""

from collections.abc import Mapping

from jaxdiff._console.terminal import console


def say(line: str) -> None:
    """Prints a line at once, unbroken, so that a log can be followed and searched."""
    console.print(line, highlight=False, soft_wrap=True)


def in_words(shares: Mapping[str, float]) -> str:
    """Names and shares, separated by commas."""
    return ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
