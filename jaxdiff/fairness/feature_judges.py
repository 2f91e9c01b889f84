"""Judges of the features that a label stands for, learnt from a data set in which nothing misleads them."""

from collections.abc import Callable, Mapping, Sequence

from jaxdiff.data import Source, load_arrays, open_data
from jaxdiff.data.embedded import DEFAULT_ASSOCIATIONS
from jaxdiff.errors import InputError
from jaxdiff.fairness.attributes import AttributeClassifier, train_attribute_classifiers
from jaxdiff.fairness.judge import Training

FEATURE_COUNT = 4000
"""Images that the classifiers are trained on, at most; half as many test them."""
_TRAINING = Training()


def others(opened: Source, attribute: str, associated: Sequence[str]) -> list[str]:
    """The names of the associated attributes; `all` stands for all other attributes of the data.

    Raises:
        InputError: an attribute that the data do not have, or the one under judgement.
    """
    known = [found.name for found in opened.attributes if found.name != attribute]
    if absent := [name for name in associated if name not in known and tuple(associated) != ("all",)]:
        raise InputError(f"--associated takes other attributes of {opened.name}, {', '.join(known)}; got {', '.join(absent)}")
    return known if tuple(associated) == ("all",) else list(associated)


def feature_judges(
    real: str,
    names: Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    value_names: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    training: Training = _TRAINING,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[AttributeClassifier, ...]:
    """A classifier for the attribute under judgement, first, and for each associated attribute.

    Of the embedded faces they are trained on faces in which nothing follows the group; of other data on images drawn so that
    the labelled attributes are independent.

    Arguments:
        real: the real data.
        names: the attribute under judgement and the associated ones.
        size, channels, value_names: as of `jaxdiff.data.open_data`.
        seed, training: of the classifiers.
        progress: called with what is being done, the classifiers done and their total.
    """
    spec = real
    if real == "embedded":
        spec = "embedded?" + "&".join(f"{name}=0.5,0.5" for name in DEFAULT_ASSOCIATIONS)
    tables = []
    for split, count in (("train", FEATURE_COUNT), ("test", FEATURE_COUNT // 2)):
        source = open_data(spec, split=split, size=size, channels=channels, attributes=names, value_names=value_names)
        tables += load_arrays(source, count=min(count, len(source)), seed=seed)
    return train_attribute_classifiers(
        *tables, source.attributes, group=names[0], seed=seed, training=training, progress=progress
    )
