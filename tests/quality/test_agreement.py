"""The mean CLIP score: means by hand, intervals as those of a mean, and errors."""

import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.quality.agreement import measure_agreement


def test_means_are_those_of_all_images_and_of_each_context(rng):
    scores, contexts = rng.uniform(0, 100, 30), np.arange(30) % 7 % 3
    found = measure_agreement(scores, contexts)
    assert found.mean == pytest.approx(sum(scores) / 30) and found.count.tolist() == np.bincount(contexts).tolist()
    for context in range(3):
        own = [score for score, each in zip(scores, contexts, strict=True) if each == context]
        assert found.by_context[context] == pytest.approx(sum(own) / len(own))
        assert found.intervals[context][0] <= found.by_context[context] <= found.intervals[context][1]


def test_intervals_are_those_of_a_mean_within_contexts(rng):
    # the contexts differ far more than the images of one: resampling over all would give a wide interval
    contexts = np.repeat([0, 1], 400)
    scores = np.where(contexts, 80.0, 20.0) + rng.normal(0, 2, 800)
    found = measure_agreement(scores, contexts, replicates=4000)
    spread = [scores[contexts == each].std() for each in (0, 1)]
    for context in (0, 1):
        assert np.diff(found.intervals[context])[0] == pytest.approx(2 * 1.96 * spread[context] / 20, rel=0.1)
    assert np.diff(found.interval)[0] == pytest.approx(2 * 1.96 * np.hypot(*spread) / 20 / 2, rel=0.1)


@pytest.mark.parametrize(
    ("scores", "contexts", "fault"),
    [
        ([1.0, 2.0], [0], "must be as many, at least 1, got 2 and 1"),
        ([], [], "must be as many, at least 1, got 0 and 0"),
        ([1.0, 2.0], [0, 2], "must include every index up to the largest"),
    ],
)
def test_what_cannot_be_averaged_is_refused(scores, contexts, fault):
    with pytest.raises(InputError, match=fault):
        measure_agreement(np.array(scores), np.array(contexts, int))
