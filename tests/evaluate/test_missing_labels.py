"""Data with missing labels: used where labels are not needed, left out and counted where they are."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from evaluate import fairness, intersections, likelihood, memorization, safety
from evaluate.data_sets import DataSets
from evaluate.options.fairness import Fairness
from evaluate.options.likelihood import Likelihood
from evaluate.options.memorization import Memorization
from evaluate.options.safety import Safety
from jaxdiff import model as models
from jaxdiff.data import Attribute, load_arrays, open_data
from jaxdiff.errors import InputError

COUNT = 60
TONES, HAIR = ("dark", "bright"), ("long", "short", "none")


def written(path, *, lacking=(), complete=True, seed=0, split=("train", "train", "test")):
    """Writes images whose red is their tone, whose green is their hair, and the blue of whose first pixel is their number;
    `lacking` have no tone. Returns the tone and the hair of each image."""
    tones, hair = np.arange(COUNT) % 2, np.arange(COUNT) % 3
    images = np.random.default_rng(seed).integers(0, 40, (COUNT, 16, 16, 3), np.uint8)
    images[..., 0] += (170 * tones).astype(np.uint8)[:, None, None]
    images[..., 1] = 80 * hair[:, None, None]
    images[:, 0, 0, 2] = np.arange(COUNT)
    named = np.array(TONES)[tones].astype("<U6")
    named[list(lacking)] = "nan"
    columns = {"tone": named, **({"hair": np.array(HAIR)[hair]} if complete else {})}
    np.savez(
        path, images=images, labels=np.stack(list(columns.values()), 1), attributes=list(columns),
        split=np.resize(split, COUNT),
    )  # fmt: skip
    return tones, hair


def numbers(source):
    return load_arrays(source)[0][:, 0, 0, 2]


def test_fairness_leaves_out_images_without_a_value_and_says_how_many(tmp_path, capsys):
    for name, lacking in (("real.npz", range(5)), ("set.npz", [*range(9), 31])):
        tones, _ = written(tmp_path / name, lacking=lacking, seed=len(name))
    options = Fairness(
        synthetic=(str(tmp_path / "set.npz"),), real=str(tmp_path / "real.npz"), attribute="tone", out=tmp_path / "out"
    )  # fmt: skip
    values, sources = fairness._open(options, DataSets(options))
    sets, _ = fairness._load(options, values, sources)
    for spec, split, count in ((options.synthetic[0], "all", 50), (options.real, "test", 19)):
        images = sets[spec, split]
        assert len(images.labels) == count
        assert [values[code] for code in images.labels] == [TONES[tones[i]] for i in images.images[:, 0, 0, 2]]
    printed = capsys.readouterr().out
    assert printed.count("5 of 60 images have no value of 'tone' and are left out") == 2  # train and test
    assert printed.count("10 of 60 images have no value of 'tone' and are left out") == 1


def test_own_labels_are_those_of_the_images_that_are_left(tmp_path):
    """The images without a tone are left out of both readings."""
    tones, hair = written(tmp_path / "set.npz", lacking=[0, 7, 8, 20])
    options = Fairness(synthetic=(str(tmp_path / "set.npz"),), attribute="tone", out=tmp_path / "out", intersect=("hair",))
    source = DataSets(options).evaluated(options.synthetic[0], "all")
    chosen = np.array([3, 0, 40, 17])
    number = numbers(source)[chosen]
    opened = partial(DataSets(options).source, options.synthetic[0], "all")
    labels = intersections.own_labels(opened, "tone", [Attribute("hair", HAIR)], chosen)
    assert [HAIR[code] for code in labels["hair"]] == [HAIR[hair[i]] for i in number]
    assert [source.attributes[0].values[code] for code in source.labels[chosen, 0]] == [TONES[tones[i]] for i in number]


@pytest.mark.parametrize("complete", [True, False])
def test_memorization_uses_all_training_images(tmp_path, complete):
    written(tmp_path / "data.npz", lacking=[4, 5], complete=complete)
    path = str(tmp_path / "data.npz")
    options = Memorization(samples=(path,), train=path, out=tmp_path / "out", neighbours=5)
    sets, known, others, space = memorization._open(options, None)
    assert space.shape == known.image(0).shape
    assert (len(known), len(others)) == (40, 20) and [len(each) for each in sets.values()] == [COUNT]
    assert [each.name for each in known.attributes] == (["hair"] if complete else [])
    memorization.write_at_risk(tmp_path / "risk.npz", space, known, *load_arrays(known), np.array([2, 3]))
    at_risk = open_data(tmp_path / "risk.npz", split="all")
    np.testing.assert_array_equal(numbers(at_risk), numbers(known)[[2, 3]])


def real_images(options, split):
    """The real images of `evaluate safety`."""
    return safety._real(options, options.opened(options.real), split)


def test_safety_needs_the_unsafe_values_alone(tmp_path):
    written(tmp_path / "data.npz", lacking=[0, 1, 2, 9])
    given = dict(synthetic=("set",), real=str(tmp_path / "data.npz"), out=tmp_path / "out")
    real = real_images(Safety(unsafe="tone=dark", **given), "train")
    number = real.images[:, 0, 0, 2]
    assert sorted(number) == [i for i in range(COUNT) if i % 3 < 2 and i not in (0, 1, 2, 9)]
    np.testing.assert_array_equal(real.unsafe, number % 2 == 0)
    assert [each.name for each in real.attributes[1:]] == ["hair"]
    np.testing.assert_array_equal(np.array(real.attributes[1].values)[real.labels[:, 1]], np.array(HAIR)[number % 3])
    # of another attribute, images without a tone are used: tone is not balanced unless it is asked for
    assert len(real_images(Safety(unsafe="hair=long", **given), "train").images) == 40
    assert len(real_images(Safety(unsafe="hair=long", balance=("tone",), **given), "train").images) == 37


def test_likelihood_under_the_null_label_takes_images_without_labels(tmp_path, save_model):
    written(tmp_path / "data.npz", lacking=[4], complete=False)
    model = models.load(save_model(tmp_path / "model", size=16))
    options = Likelihood(model=tmp_path / "model", data=str(tmp_path / "data.npz"), out=tmp_path / "bits.json", split="all")
    assert len(likelihood._open(replace(options, condition="null"), model)) == COUNT
    with pytest.raises(InputError, match="data.npz: unknown attribute 'group'; it has tone"):
        likelihood._open(options, model)


@pytest.mark.parametrize(
    ("counts", "limits", "message"),
    [
        ((3, 9, 30), {}, r"set.npz .split 'all'.* has 3 dark, 57 bright; at least 4"),
        ((30, 1, 19), {}, r"real.npz \(split 'test'\) has 1 dark, 19 bright; at least 4"),
        ((30, 9, 2), {}, r"real.npz \(split 'train'\) has 2 dark, 38 bright; at least 4"),
        ((30, 9, 30), {"train_count": 5}, r"--train-count is 5, so 5 images of .*real.npz \(split 'train'\) are used"),
        (
            (4, 9, 20),
            {"set_size": 8},
            r"/set.npz has 8 images, so 4 images of .*real.npz \(split 'train'\) are used, 2 dark, 2",
        ),
        ((30, 9, 30), {"test_count": 6}, r"--test-count is 6, so 6 images of .*real.npz \(split 'test'\) are used"),
    ],
)
def test_the_set_with_too_few_images_is_named(tmp_path, counts, limits, message):
    limits = dict(limits)
    in_set, in_test, in_train = counts

    def tones(dark, count):
        return np.array(["bright"] * (count - dark) + ["dark"] * dark)

    def save(name, labels, **more):
        np.savez(
            tmp_path / name, images=np.zeros((len(labels), 16, 16, 3), np.uint8), labels=labels, attributes=["tone"], **more
        )

    save("set.npz", tones(in_set, limits.pop("set_size", 60)))
    parts = [tones(in_train, 40), tones(in_test, 20)]
    save("real.npz", np.concatenate(parts), split=["train"] * 40 + ["test"] * 20)
    options = Fairness(
        synthetic=(str(tmp_path / "set.npz"),), real=str(tmp_path / "real.npz"), attribute="tone", out=tmp_path / "out",
        values=("dark", "bright"), **limits,
    )  # fmt: skip
    with pytest.raises(InputError, match=message):
        fairness._load(options, *fairness._open(options, DataSets(options)))
