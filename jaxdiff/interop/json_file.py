"""JSON files that describe a checkpoint."""

import json
from pathlib import Path
from typing import Any

from jaxdiff.errors import InputError


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: it is damaged, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold a JSON object, got {type(content).__name__}")
    return content
