"""The files of a checkpoint, by their names relative to its root: those of a folder, or of a repository on a hub."""

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class CheckpointFiles(Protocol):
    """The files of a checkpoint. Names are relative to its root, with forward slashes; the root itself is the empty name."""

    @property
    def label(self) -> str:
        """What errors call it."""
        ...

    @property
    def source(self) -> dict[str, str]:
        """Where it came from, for provenance."""
        ...

    def called(self, folder: str) -> str:
        """The last part of the path of a folder; empty if it is not known."""
        ...

    def has(self, name: str) -> bool:
        """Whether a file exists."""
        ...

    def inside(self, folder: str) -> list[str]:
        """The names of the files directly in a folder, sorted, without the folder."""
        ...

    def folders(self) -> list[str]:
        """The names of the folders directly in the root, sorted."""
        ...

    def path(self, name: str) -> Path:
        """The path of a file on this machine; a hub downloads it now."""
        ...


@dataclass(frozen=True)
class Folder:
    """The files of a folder on this machine. Names may begin with `..`, since parts of a checkpoint may lie around it.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def label(self) -> str:
        return str(self.root)

    @property
    def source(self) -> dict[str, str]:
        return {"imported": f"diffusers, {self.root.name}"}

    def called(self, folder: str) -> str:
        return self._absolute(folder).name

    def has(self, name: str) -> bool:
        return self._absolute(name).is_file()

    def inside(self, folder: str) -> list[str]:
        place = self._absolute(folder)
        return sorted(each.name for each in place.iterdir() if each.is_file()) if place.is_dir() else []

    def folders(self) -> list[str]:
        return sorted(each.name for each in self.root.iterdir() if each.is_dir())

    def path(self, name: str) -> Path:
        return self._absolute(name) if name.startswith("..") else self.root / name

    def _absolute(self, name: str) -> Path:
        return Path(os.path.normpath(self.root.absolute() / name))


def places(files: CheckpointFiles, folder: str) -> list[str]:
    """Where what belongs to the network in a folder may lie: the folder, that around it and, for `checkpoint-*` of a training
    run, the run's."""
    found = [folder, joined(folder, "..")]
    return [*found, joined(folder, "../..")] if files.called(found[1]).startswith("checkpoint-") else found


def joined(folder: str, name: str) -> str:
    """The name of a file in a folder; "" is the root."""
    path = posixpath.normpath(posixpath.join(folder, name))
    return "" if path == "." else path
