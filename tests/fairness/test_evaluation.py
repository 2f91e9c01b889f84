"""The evaluation finds known dependence, and reports none where there is none."""

import jax
import numpy as np
import pytest

from jaxdiff import InputError
from jaxdiff.fairness.evaluation import LabelledImages, evaluate_fairness
from jaxdiff.image_classifier import ClassifierTraining, _batches, _evaluate, _step, train_image_classifier

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

QUICK = ClassifierTraining(steps=40, batch=16, rate=5e-3, widths=(8, 16))


def coloured(name, count, *, seed, noise=10, size=16):
    """Images whose colour, dark or bright, determines their label."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    base = np.where(labels, 170, 85)[:, None, None, None]
    return LabelledImages(name, np.clip(base + rng.normal(0, noise, (count, size, size, 3)), 0, 255).astype(np.uint8), labels)


def relabelled(images, name, labels):
    return LabelledImages(name, images.images, np.asarray(labels))


@pytest.fixture(scope="module")
def evaluation():
    """Sets whose answers are known, evaluated once."""
    drawn = coloured("plain", 400, seed=2)
    rng = np.random.default_rng(3)
    wrong_half = np.where(rng.permuted(np.arange(400) % 4 < 2), 1 - drawn.labels, drawn.labels)
    sets = [
        drawn,
        relabelled(drawn, "flipped", 1 - drawn.labels),
        relabelled(drawn, "random", rng.permuted(drawn.labels)),
        relabelled(drawn, "half wrong", wrong_half),
    ]
    real = coloured("real", 300, seed=0), coloured("real", 200, seed=1)
    answer = evaluate_fairness(*real, sets, values=2, seeds=2, training=QUICK, permutations=99, replicates=200)
    return answer, {result.name: result for result in answer.synthetic}


def ber(result, direction):
    return float(result.directions[direction].mean.ber)


def test_labels_that_follow_from_the_images_are_found_in_every_direction(evaluation):
    answer, results = evaluation
    assert ber(answer.real, "real->real") < 3
    for direction in ("synthetic->real", "real->synthetic", "synthetic->synthetic"):
        assert ber(results["plain"], direction) < 3


def test_random_labels_are_found_in_no_direction(evaluation):
    random = evaluation[1]["random"]
    # A classifier of random labels may give all dark images one label and all bright ones another: real images then show it.
    assert 35 < ber(random, "synthetic->synthetic") < 65
    assert 45 < ber(random, "real->synthetic") < 55
    assert all(tests[0, 1].p_value > 0.01 for tests in random.energy.values())


def test_flipped_labels_are_folded_on_real_images_and_found_on_the_set_itself(evaluation):
    flipped = evaluation[1]["flipped"].directions
    assert flipped["synthetic->real"].mean.ber > 97 and flipped["real->synthetic"].mean.ber > 97
    assert flipped["synthetic->real"].mean.folded_ber < 3 and flipped["synthetic->real"].per_seed.epsilon < 0.03
    assert flipped["synthetic->synthetic"].mean.ber < 3


def test_half_wrong_labels_are_fair_by_every_measure(evaluation):
    wrong = evaluation[1]["half wrong"]
    assert 45 < ber(wrong, "real->synthetic") < 55
    assert 35 < ber(wrong, "synthetic->synthetic") < 65


def test_energy_separates_groups_only_where_images_do(evaluation):
    answer, results = evaluation
    for each in (answer.real, results["plain"], results["flipped"]):
        assert all(tests[0, 1].p_value == 0.01 and tests[0, 1].relative > 0.3 for tests in each.energy.values())
    assert results["random"].energy["pixels"][0, 1].relative < 0.05


def test_all_classifiers_see_equally_many_images(evaluation):
    answer, results = evaluation
    assert answer.train_count == 200  # half of each synthetic set; the real set has 300
    np.testing.assert_array_equal(results["plain"].directions["synthetic->synthetic"].mean.count, [100, 100])
    np.testing.assert_array_equal(results["plain"].directions["real->synthetic"].mean.count, [200, 200])
    np.testing.assert_array_equal(results["plain"].directions["synthetic->real"].mean.count, [100, 100])


def test_coarse_labels_with_other_details_still_separate_the_set_itself():
    """A set whose bright images are called dark but carry their label in a stripe: BER 50 on one side proves nothing."""
    rng = np.random.default_rng(4)
    drawn = coloured("striped", 400, seed=5)
    labels = rng.permuted(drawn.labels)
    images = drawn.images.copy()
    images[labels == 1, ::4] //= 2
    real = coloured("real", 200, seed=0), coloured("real", 200, seed=1)
    result = evaluate_fairness(*real, [LabelledImages("striped", images, labels)], values=2, seeds=1, training=QUICK).synthetic[
        0
    ]
    assert ber(result, "real->synthetic") > 40
    assert ber(result, "synthetic->synthetic") < 10


def test_halves_are_disjoint_and_hold_every_value_equally():
    images = np.arange(101, dtype=np.uint8)[:, None, None, None] * np.ones((16, 16, 3), np.uint8)
    halves = LabelledImages("x", images, np.arange(101) % 3).halves(values=3, seed=0)
    taken = [set(half.images[:, 0, 0, 0].tolist()) for half in halves]
    assert not taken[0] & taken[1] and taken[0] | taken[1] == set(range(101))
    assert np.abs(np.bincount(halves[0].labels) - np.bincount(halves[1].labels)).max() <= 1
    for half in halves:
        np.testing.assert_array_equal(half.images[:, 0, 0, 0] % 3, half.labels)


def test_a_classifier_is_a_function_of_its_seed():
    drawn = coloured("x", 60, seed=0, noise=60)
    short = ClassifierTraining(steps=4, batch=16, widths=(8, 16))
    first, again, other = (
        train_image_classifier(drawn.images, drawn.labels, values=2, seed=seed, training=short) for seed in (1, 1, 2)
    )
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.logits(drawn.images) != other.logits(drawn.images)).any()


def test_the_prediction_of_an_image_does_not_depend_on_its_batch():
    drawn = coloured("x", 150, seed=0, noise=60)
    classifier = train_image_classifier(
        drawn.images, drawn.labels, values=2, seed=0, training=ClassifierTraining(steps=4, batch=16, widths=(8, 16))
    )
    together = classifier.logits(drawn.images)
    np.testing.assert_allclose(classifier.logits(drawn.images[:1])[0], together[0], atol=1e-5)
    np.testing.assert_allclose(classifier.logits(drawn.images[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(classifier.logits(drawn.images / np.float32(127.5) - np.float32(1)), together, atol=1e-4)
    assert classifier.features(drawn.images).shape == (150, 16)


def test_sets_of_every_size_share_one_program():
    short = ClassifierTraining(steps=2, batch=16, widths=(8, 16))
    programs = []
    for count in (40, 90, 170):
        drawn = coloured("x", count, seed=count)
        train_image_classifier(drawn.images, drawn.labels, values=2, seed=count, training=short).predict(drawn.images)
        programs.append((_step._cache_size(), _evaluate._cache_size()))
    assert len(set(programs)) == 1


def test_batches_hold_every_value_equally_and_only_its_images():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 5)
    images = (labels[:, None, None, None] * np.ones((16, 16, 3))).astype(np.uint8)
    training = ClassifierTraining(steps=7, batch=12)
    batches = list(_batches(images, labels, 3, 0, training))
    assert len(batches) == 7
    for batch, batch_labels in batches:
        np.testing.assert_array_equal(np.bincount(batch_labels), [4, 4, 4])
        assert (batch == batch_labels[:, None, None, None]).all()


def test_images_are_mirrored_only_on_request():
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None], (20, 16, 16, 3)).copy()
    labels = np.arange(20) % 2
    for flip in (True, False):
        batches = _batches(ramp, labels, 2, 0, ClassifierTraining(steps=20, batch=10, flip=flip))
        mirrored = np.concatenate([batch[:, 0, 0, 0] > batch[:, 0, -1, 0] for batch, _ in batches])
        assert 0.3 < mirrored.mean() < 0.7 if flip else not mirrored.any()


def test_progress_ends_at_its_total():
    seen = []
    real = coloured("real", 20, seed=0)
    short = ClassifierTraining(steps=1, batch=16, widths=(8, 16))
    evaluate_fairness(
        real, real, [coloured("one", 20, seed=1)], values=2, seeds=2, training=short, permutations=1, replicates=1,
        progress=lambda *values: seen.append(values),
    )  # fmt: skip
    assert [done for _, done, _ in seen] == list(range(7)) and seen[-1][1] == seen[-1][2]


def test_sets_that_cannot_be_evaluated_are_refused():
    real = coloured("real", 20, seed=0)

    def refused(message, *sets, **options):
        with pytest.raises(InputError, match=message):
            evaluate_fairness(real, real, sets, values=2, **options)

    refused("large has 32x32x3, real has 16x16x3", coloured("large", 20, seed=1, size=32))
    refused("one-sided must have at least 4 images of every label", relabelled(real, "one-sided", np.zeros(20, int)))
    refused("short has 20 images but 3 labels", relabelled(real, "short", np.zeros(3, int)))
    refused("within 0 and 1, got 0 to 2", relabelled(real, "three", np.arange(20) % 3))
    refused("`train_count` must be within 2 and 10", coloured("one", 20, seed=1), train_count=11)
    refused("`seeds` must be at least 1", seeds=0)


def test_images_below_16_pixels_and_absent_values_are_refused():
    drawn = coloured("x", 20, seed=0)
    with pytest.raises(InputError, match="at least 16x16, got 15x16"):
        train_image_classifier(drawn.images[:, 1:], drawn.labels, values=2, seed=0)
    with pytest.raises(InputError, match="got none of \\[2\\]"):
        train_image_classifier(drawn.images, drawn.labels, values=3, seed=0)
