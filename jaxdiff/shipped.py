"""The models shipped with jaxdiff, by name."""

import os
from pathlib import Path

MODEL, TEXT, CLIP, SERIES = "embedded", "embedded-text", "embedded-clip", "embedded-series"
"""The model of the embedded faces; the text-to-image pipeline of their captions, and the CLIP trained with it; a model that
fills gaps of sines."""
_FOLDERS = {MODEL: "embedded", TEXT: "text", CLIP: "text-clip", SERIES: "series"}


def place(path: str | os.PathLike) -> Path:
    """The path of a model: the folder of a shipped one, in the package or beside it in a checkout, unless `path` exists."""
    path = Path(path)
    if str(path) not in _FOLDERS or path.exists():
        return path
    inside, package = Path("checkpoints", _FOLDERS[str(path)]), Path(__file__).parent
    return next((found for found in (package / inside, package.parent / inside) if found.is_dir()), path)
