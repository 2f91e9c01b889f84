"""Finished parts of a program's work in files, so that the same command resumes where it was interrupted."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from jaxdiff import parallel
from jaxdiff._console.first import write_once
from jaxdiff._console.output import BESIDE, claimed, remove_empty
from jaxdiff._console.sealed import intact, sealed, unsealed
from jaxdiff._version import __version__
from jaxdiff.writing import PARTIAL, whole

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
"""The libraries whose versions results depend on."""
FORMAT = 1
SUFFIX = ".part"
ABOUT = "about"
"""The entry of a file that says what computed it."""


class Parts:
    """The finished parts in a folder, one file each: a `jaxdiff.finished.Finished`.

    A file has its own checksum, and is written whole or not at all. A file that is damaged, or was computed by other versions
    or on another device, counts as absent, and is replaced.

    Arguments:
        folder: the folder; created with the first part.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        libraries = {name: version(name) for name in LIBRARIES}
        device = jax.devices()[0].device_kind
        self._about = json.dumps({"format": FORMAT, "jaxdiff": __version__, **libraries, "device": device})
        self._checked: set[str] = set()  # the keys of files that are intact and not foreign

    def __contains__(self, key: object) -> bool:
        """Whether a part is finished, in every process; its file is checked once."""
        return parallel.run_on_first(lambda: key in self._checked or bool(self._read(str(key))))

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays under a key, in every process; None if they are not finished."""
        content = parallel.exchange(self._read(key) if parallel.is_first() else b"")[0]
        return _arrays(content) if content else None

    def __setitem__(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a part in the first process.

        Raises:
            InputError: in every process, if it cannot be written.
        """

        def write():
            with whole(self._file(key)) as partial:
                partial.write_bytes(sealed({ABOUT: np.array(self._about), **arrays}))
            self._checked.add(key)

        write_once(self._file(key), write)

    def remove(self) -> None:
        """Removes all parts, in the first process."""

        def remove():
            for file in [*self.folder.glob(f"*{SUFFIX}"), *self.folder.glob(f"*{PARTIAL}")]:
                file.unlink()
            self._checked.clear()

        write_once(self.folder, remove)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _read(self, key: str) -> bytes:
        """The npz file under a key; empty if there is none, or it is damaged or foreign."""
        checked = key in self._checked
        content = intact(self._file(key), checked=checked)
        if not content or not (checked or str(unsealed(content)[ABOUT]) == self._about):
            return b""
        self._checked.add(key)
        return content


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    arrays = unsealed(content)
    del arrays[ABOUT]
    return arrays


@contextmanager
def kept_parts(out: Path, report: str | None = None) -> Generator[Parts, None, None]:
    """Locks an output and keeps the finished parts of its work beside it: removed at the end, left by an error or a kill.

    Every process calls it.

    Arguments:
        out: the output folder, or file.
        report: the name of the parts in the output folder; None for a file, whose parts are in a folder of its own.

    Raises:
        InputError: in every process, if another run works on the output, or it cannot be written.
    """
    with claimed(out, file=report is None) as folder:
        parts = Parts(folder if report is None else folder / f"{report}{BESIDE}")
        try:
            yield parts
            parts.remove()
        finally:
            if parallel.is_first():
                remove_empty(parts.folder)
