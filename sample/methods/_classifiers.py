"""Classifiers of noised images for methods that use them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxdiff.errors import InputError


def read_classifiers(option: str, paths: Sequence[Path], chosen: Any, check: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The classifiers of some runs, for the model of a setting.

    Arguments:
        option: the option that names them, for messages.
        paths: the folders of the runs.
        chosen: the setting.
        check: raises `InputError` if a classifier is not of the attributes that are needed.

    Raises:
        InputError: one cannot be read, is of another process or of images of another shape, or is refused by `check`.
    """
    from jaxdiff import load_classifier, parallel

    # every process reads them, so that all fail together
    read = parallel.run_on_all(lambda: tuple(map(load_classifier, paths)))
    for path, classifier in zip(paths, read, strict=True):
        try:
            classifier.require(chosen.model.process)
            check(classifier)
            if classifier.shape != (shape := tuple(chosen.model.shape)):
                raise InputError(f"it takes images of shape {classifier.shape}, the model's are {shape}")
        except InputError as error:
            raise InputError(f"{option} {path}: {error}") from error
    return read
