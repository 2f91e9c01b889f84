"""Checks of options that several commands have."""

from collections.abc import Sequence
from pathlib import Path

from jaxdiff.errors import InputError


def require_folder(out: Path) -> None:
    """Raises `InputError` if --out is a file."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, {out} is a file")


def require_different(option: str, sets: Sequence[str]) -> None:
    """Raises `InputError` unless an option names one or more sets, and none twice."""
    if not sets or len(set(sets)) != len(sets):
        raise InputError(f"{option} takes one or more different sets, got {' '.join(sets) or 'none'}")


def require_shares(target: Sequence[float]) -> None:
    """Raises `InputError` unless the shares of --target, if any, add up to 1, up to rounding to two decimals."""
    if target and abs(sum(target) - 1) > 0.011:
        raise InputError(f"--target takes shares that add up to 1, got {' '.join(map(str, target))}")
