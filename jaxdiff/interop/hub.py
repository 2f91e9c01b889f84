"""Checkpoints on the Hugging Face hub, and in its cache on this machine. The library `huggingface_hub` is optional."""

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxdiff.errors import InputError

SCHEME = "hf://"
_NAME = r"[A-Za-z0-9][\w.-]*/[\w.-]+"
_REFERENCE = re.compile(rf"(?P<repository>{_NAME})(?:@(?P<revision>[^/@]+))?(?:/(?P<path>.*))?")
_SHORT = re.compile(rf"{_NAME}(?:@[^/@]+)?")
# Files that show whether a repository is in the cache, one of which every checkpoint has.
_KNOWN = ("model_index.json", "config.json", "unet/config.json", "unet_ema/config.json", "model.safetensors")


class Reference(NamedTuple):
    """A checkpoint on the hub.

    Attributes:
        repository: OWNER/NAME.
        revision: a branch, a tag or a commit; None for the main branch.
        path: a file or folder in it; empty for all of it.
    """

    repository: str
    revision: str | None
    path: str

    def __str__(self) -> str:
        return self.repository + (f"@{self.revision}" if self.revision else "")


def parsed(source: str | os.PathLike) -> Reference | None:
    """The checkpoint that `hf://OWNER/NAME[@REVISION][/PATH]` names; None for any other source.

    Raises:
        InputError: it begins with hf:// and is not of this form.
    """
    # a path has one slash of the two
    text = re.sub(r"^hf:/+", SCHEME, os.fspath(source)) if os.fspath(source).startswith("hf:/") else None
    if text is None:
        return None
    found = _REFERENCE.fullmatch(text.removeprefix(SCHEME))
    if found is None:
        raise InputError(f"a model on the Hugging Face hub is {SCHEME}OWNER/NAME[@REVISION][/PATH], got {source}")
    return Reference(found["repository"], found["revision"], posixpath.normpath(found["path"] or ".").removeprefix("."))


def may_be_reference(source: str) -> bool:
    """Whether a source may be OWNER/NAME[@REVISION] on the hub: it has that form, and nothing on this machine has the name."""
    return _SHORT.fullmatch(source) is not None and not Path(source).exists()


@dataclass(frozen=True)
class Repository:
    """The files of a repository, each downloaded when it is used.

    Attributes:
        reference: the repository.
        names: the names of its files; without a connection, of those in the cache.
        commit: the commit that the names are of.
    """

    reference: Reference
    names: frozenset[str]
    commit: str

    @property
    def label(self) -> str:
        return str(self.reference)

    @property
    def source(self) -> dict[str, str]:
        return {"imported": f"diffusers, {self.reference.repository}", "revision": self.commit}

    def called(self, folder: str) -> str:
        return posixpath.basename(folder)

    def has(self, name: str) -> bool:
        return name in self.names

    def inside(self, folder: str) -> list[str]:
        return sorted(posixpath.basename(name) for name in self.names if posixpath.dirname(name) == folder)

    def folders(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self.names if "/" in name})

    def path(self, name: str) -> Path:
        file = _download(self.reference, name)
        if file.parts[-len(Path(name).parts) - 1] != self.commit:
            raise InputError(f"{self.label} was changed while it was downloaded: start again")
        return file


def opened(reference: Reference) -> Repository:
    """The files of a repository, from the hub or, without a connection, from the cache.

    Raises:
        InputError: huggingface_hub is not installed, there is no such repository or revision, it needs permission, or the hub
            cannot be reached and the cache does not have it.
    """
    library = _library()
    from huggingface_hub import errors

    name, revision = reference.repository, reference.revision
    try:
        found = library.HfApi(library_name="jaxdiff").model_info(name, revision=revision)
    except errors.GatedRepoError as error:
        raise InputError(
            f"{reference} needs permission: accept its terms on the hub, then log in with `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no model {name}, or it is private: check the name, or log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{name} has no revision {revision}") from error
    except errors.HFValidationError as error:
        raise InputError(f"{reference} is no name of a model on the Hugging Face hub: {_line(error)}") from error
    except Exception as error:  # without a connection: the exceptions of its HTTP client have changed with its versions
        return _cached(reference, error)
    return Repository(reference, frozenset(each.rfilename for each in found.siblings or ()), str(found.sha))


def _cached(reference: Reference, reason: Exception) -> Repository:
    """The files of a repository that are in the cache."""
    library = _library()
    known = (*_KNOWN, *([reference.path, f"{reference.path}/config.json"] if reference.path else []))
    for name in known:
        file = library.try_to_load_from_cache(reference.repository, name, revision=reference.revision)
        if isinstance(file, str):
            root = Path(file).parents[len(Path(name).parts) - 1]
            names = (each.relative_to(root).as_posix() for each in root.rglob("*") if each.is_file())
            return Repository(reference, frozenset(names), root.name)
    raise InputError(
        f"{reference} is not in the cache of the Hugging Face hub, and the hub cannot be reached: {_line(reason)}"
    ) from reason


def _download(reference: Reference, name: str) -> Path:
    """The path of a file of a repository in the cache, after downloading it if needed."""
    try:
        return Path(_library().hf_hub_download(reference.repository, name, revision=reference.revision))
    except Exception as error:  # of the HTTP client, of the disk, or of a cache that lacks the file
        raise InputError(f"{name} of {reference} could not be downloaded: {_line(error.__cause__ or error)}") from error


def _library() -> Any:
    """The library huggingface_hub."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "models of the Hugging Face hub need huggingface_hub: install it with pip install 'jaxdiff[hub]'"
        ) from error
    return huggingface_hub


def _line(error: BaseException) -> str:
    """The first line of an error message."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
