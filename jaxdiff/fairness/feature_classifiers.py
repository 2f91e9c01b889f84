"""Classifiers of the evaluated attribute and its associated ones, trained on data without their association."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from jaxdiff.data import Attribute, DataSet, Source, load_arrays
from jaxdiff.data.columns import ValueNames
from jaxdiff.data.embedded import DEFAULT_ASSOCIATIONS
from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier, train_attribute_classifiers
from jaxdiff.finished import Finished
from jaxdiff.image_classifier import DEFAULT_TRAINING, ClassifierTraining

FEATURE_COUNT = 4000
"""Maximum number of training images of the classifiers; half as many test images."""


def associated_names(opened: Source, attribute: str, associated: Sequence[str]) -> list[str]:
    """The names of the associated attributes; `all` stands for all other attributes of the data.

    Arguments:
        opened: the data set.
        attribute: the evaluated attribute.
        associated: names of other attributes, or `all` alone.

    Raises:
        InputError: an attribute that the data do not have, or the evaluated one.
    """
    known = [found.name for found in opened.attributes if found.name != attribute]
    if absent := [name for name in associated if name not in known and tuple(associated) != ("all",)]:
        raise InputError(f"--associated takes other attributes of {opened.name}, {', '.join(known)}; got {', '.join(absent)}")
    return known if tuple(associated) == ("all",) else list(associated)


def train_feature_classifiers(
    real: DataSet,
    names: Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    value_names: Mapping[str, ValueNames] | None = None,
    seed: int = 0,
    training: ClassifierTraining = DEFAULT_TRAINING,
    finished: Finished | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[AttributeClassifier, ...]:
    """Trains a classifier of the evaluated attribute, first, and one of each associated attribute.

    For the embedded faces they are trained on faces generated without association with the group; for other data on images
    resampled so that the labelled attributes are independent, see `train_attribute_classifiers`.

    Arguments:
        real: the real data.
        names: the evaluated attribute, then the associated ones.
        size, channels, value_names: as in `open_data`.
        seed: of the images and the classifiers.
        training: how each classifier is trained.
        finished: where trained classifiers are kept and looked up; by default nowhere.
        progress: called with a description, the classifiers done and their number.

    Returns:
        One classifier for each name.
    """
    tables, attributes = [], ()
    for split, count in (("train", FEATURE_COUNT), ("test", FEATURE_COUNT // 2)):
        given = {"size": size, "channels": channels, "value_names": value_names, "seed": seed}
        images, labels, attributes = unassociated_images(real, names, split=split, count=count, **given)
        tables += [images, labels]
    return train_attribute_classifiers(
        *tables, attributes, group=names[0], seed=seed, training=training, finished=finished, progress=progress
    )


def unassociated_images(
    real: DataSet, names: Sequence[str], *, split: str, count: int, seed: int = 0, **reading: Any
) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, "n a"], tuple[Attribute, ...]]:
    """At most `count` random real images with their labels of the named attributes (N, A), and these attributes.

    Of the embedded faces they are generated without association with the group; those of other data have the data's.

    Arguments:
        real, names: as in `train_feature_classifiers`.
        split: of the data.
        count: the largest number of images.
        seed: of the choice.
        reading: `size`, `channels` and `value_names` of `DataSet.take`.
    """
    if real.spec == "embedded":
        real = DataSet("embedded?" + "&".join(f"{name}=0.5,0.5" for name in DEFAULT_ASSOCIATIONS))
    source = real.take(split=split, attributes=names, **reading)
    return *load_arrays(source, count=min(count, len(source)), seed=seed), source.attributes
