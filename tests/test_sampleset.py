"""Sample sets: what is written is read, what is missing is named, and other or incomplete sets are not accepted."""

import csv
import json
import os
import shutil

import numpy as np
import pytest

from jaxdiff.data import Attribute, describe, load_arrays, open_data
from jaxdiff.data.samples import SHARD
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels

COUNT = SHARD + 44
GROUP, HAIR = Attribute("group", ("square", "round")), Attribute("hair", ("dark", "fair", "red"))
STORAGES = pytest.mark.parametrize("storage", ["npz", "png"])


def labels(count=COUNT):
    """Each label of both attributes, for every sample."""
    return np.stack([np.arange(count) % 2, np.arange(count) % 3], 1).astype(np.int32)


def images(count=COUNT, size=4):
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


def made(path, storage="npz", provenance=None, attributes=(GROUP, HAIR), values=None):
    """A set that is created, but has no images yet."""
    return SampleSet.create(
        path, provenance or {"seed": 3, "tau": 0.4}, attributes, labels() if values is None else values, Pixels(4, 4), storage
    )


def whole(path, storage="npz", **arguments):
    """A finished set with its images."""
    samples = made(path, storage, **arguments)
    drawn = images(len(samples))
    for start, stop in samples.missing():
        samples.write(start, drawn[start:stop])
    samples.finish()
    return drawn


@STORAGES
def test_what_is_written_is_read(tmp_path, storage):
    drawn = whole(tmp_path / "set", storage)
    samples = SampleSet.open(tmp_path / "set")
    assert len(samples) == COUNT and samples.storage == storage
    assert samples.provenance == {"seed": 3, "tau": 0.4} and samples.attributes == (GROUP, HAIR)
    np.testing.assert_array_equal(samples.labels, labels())
    np.testing.assert_array_equal(np.stack([samples.image(i) for i in range(COUNT)]), drawn)
    assert not list((tmp_path / "set").rglob("*.partial"))


@STORAGES
def test_a_set_is_data_for_every_program(tmp_path, storage):
    drawn = whole(tmp_path / "set", storage)
    source = open_data(tmp_path / "set", split="test", attributes=["hair"])
    assert source.attributes == (HAIR,)
    np.testing.assert_array_equal(source.labels[:, 0], labels()[:, 1])
    np.testing.assert_array_equal(source.image(SHARD + 1), drawn[SHARD + 1])


def test_a_set_is_described(tmp_path):
    whole(tmp_path / "set", "npz")
    samples = SampleSet.open(tmp_path / "set")
    counts = f"group: square {COUNT // 2}, round {COUNT // 2}; hair: dark {COUNT // 3}, fair {COUNT // 3}, red {COUNT // 3}"
    assert describe(samples) == f"{samples.name}: {COUNT} images; 4x4 RGB; {counts}"
    assert describe(open_data(tmp_path / "set")) == f"{samples.name}: {COUNT} images; 4x4 RGB; read as samples; {counts}"


@STORAGES
def test_a_cut_off_set_misses_exactly_what_was_not_written(tmp_path, storage):
    samples, drawn = made(tmp_path / "set", storage), images()
    assert samples.missing() == [(0, SHARD), (SHARD, COUNT)]
    samples.write(SHARD, drawn[SHARD:])
    again = made(tmp_path / "set", storage)
    assert again.missing() == [(0, SHARD)]
    for read in (SampleSet.open, open_data):
        with pytest.raises(InputError, match=f"{SHARD} of {COUNT} samples are missing"):
            read(tmp_path / "set")
    again.write(0, drawn[:SHARD])
    np.testing.assert_array_equal(np.stack([SampleSet.open(tmp_path / "set").image(i) for i in range(COUNT)]), drawn)


def test_one_lost_png_makes_its_shard_missing(tmp_path):
    whole(tmp_path / "set", "png")
    (tmp_path / "set" / "images" / f"{COUNT - 1:07d}.png").unlink()
    assert made(tmp_path / "set", "png").missing() == [(SHARD, COUNT)]


@STORAGES
def test_a_write_that_was_cut_off_counts_as_missing(tmp_path, storage):
    samples = made(tmp_path / "set", storage)
    samples.write(0, images()[:SHARD])
    for file in samples.path.rglob("*0*.*"):
        file.rename(file.with_name(f"{file.name}.partial"))  # as a kill leaves it
    assert list((tmp_path / "set").rglob("*.partial"))
    assert made(tmp_path / "set", storage).missing() == [(0, SHARD), (SHARD, COUNT)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"provenance": {"seed": 4, "tau": 0.4}}, ["seed", "3 there", "4 now"]),
        ({"provenance": {"seed": 3, "tau": 0.5}}, ["tau", "0.4 there", "0.5 now"]),
        ({"provenance": {"seed": 3}}, ["tau", "0.4 there", "None now"]),
        ({"values": labels(COUNT + 1)}, [f"{COUNT} samples there", f"{COUNT + 1} now"]),
        ({"values": 1 - labels() % 2}, ["labels"]),
        ({"storage": "png"}, ["storage"]),
    ],
)
def test_a_folder_with_other_samples_is_refused_and_kept(tmp_path, change, words):
    drawn = whole(tmp_path / "set")
    with pytest.raises(InputError) as refused:
        made(tmp_path / "set", **change)
    for word in [str(tmp_path / "set"), *words]:
        assert word in str(refused.value)
    np.testing.assert_array_equal(SampleSet.open(tmp_path / "set").image(7), drawn[7])


def test_a_file_is_no_set(tmp_path):
    (tmp_path / "set").touch()
    with pytest.raises(InputError, match="set is a file; use another folder"):
        made(tmp_path / "set")


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match="not empty and is not a sample set"):
        made(tmp_path / "set")
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["thesis.tex"]
    for path in (tmp_path / "set", tmp_path / "nowhere"):
        with pytest.raises(InputError, match="no sample set at"):
            SampleSet.open(path)


def test_no_samples_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError, match="`count` must be at least 1, got 0"):
        made(tmp_path / "set", values=labels(0))
    assert not (tmp_path / "set").exists()


def plain(folder, target):
    """The PNG files of a set as another program would take them: without samples.json."""
    shutil.copytree(folder / "images", target / "images")
    shutil.copy(folder / "labels.csv", target)
    return open_data(target, split="all")


def test_png_files_are_a_plain_folder_of_images_with_labels(tmp_path):
    drawn = whole(tmp_path / "set", "png")
    source = plain(tmp_path / "set", tmp_path / "plain")
    rows = list(csv.DictReader((tmp_path / "set" / "labels.csv").read_text().splitlines()))
    assert [row["group"] for row in rows[:3]] == ["square", "round", "square"]
    assert [row["hair"] for row in rows[:4]] == ["dark", "fair", "red", "dark"]
    # a plain folder numbers values in the order of their names, so names are compared
    for column, attribute in enumerate((GROUP, HAIR)):
        read = [source.attributes[column].values[label] for label in source.labels[:, column]]
        assert read == [attribute.values[label] for label in labels()[:, column]]
    np.testing.assert_array_equal(np.stack([source.image(i) for i in range(COUNT)]), drawn)


def test_an_unknown_attribute_is_no_column_of_the_plain_folder(tmp_path):
    known = labels(6)
    known[:, 1] = -1
    whole(tmp_path / "set", "png", values=known)
    assert SampleSet.open(tmp_path / "set").labels[:, 1].tolist() == [-1] * 6
    assert [attribute.name for attribute in plain(tmp_path / "set", tmp_path / "plain").attributes] == ["group"]


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"hello")])
@pytest.mark.parametrize(("storage", "name"), [("npz", "shard-00001.npz"), ("png", f"images/{SHARD:07d}.png")])
def test_a_damaged_shard_is_named(tmp_path, storage, name, damage):
    whole(tmp_path / "set", storage)
    damage(tmp_path / "set" / name)
    samples = SampleSet.open(tmp_path / "set")
    samples.image(0)
    with pytest.raises(InputError, match=name):
        samples.image(SHARD)


def test_a_shard_of_another_length_is_named(tmp_path):
    whole(tmp_path / "set")
    np.savez(tmp_path / "set" / "shard-00001.npz", images=images(3))
    with pytest.raises(InputError, match="shard-00001.npz is damaged: .*3"):
        SampleSet.open(tmp_path / "set").image(SHARD)


def edited(**changes):
    """samples.json with some entries changed, those that are None left out."""

    def edit(text):
        entries = {**json.loads(text), **changes}
        return json.dumps({name: value for name, value in entries.items() if value is not None})

    return edit


@pytest.mark.parametrize("seconds", ["-1", "1" + "0" * 400, "true", '"1"', "NaN", "[]"])
def test_a_time_that_is_none_is_named(tmp_path, seconds):
    whole(tmp_path / "set")
    (tmp_path / "set" / "timing.json").write_text(f'{{"seconds_per_image": {seconds}}}')
    with pytest.raises(InputError, match="timing.json must have a number of seconds"):
        SampleSet.open(tmp_path / "set").seconds_per_image  # noqa: B018


@pytest.mark.parametrize("space", [{"name": None}, {}, [], 3, {"name": "pixels", "height": 10**400, "width": 8, "channels": 3}])
def test_a_space_that_is_none_is_named(tmp_path, space):
    whole(tmp_path / "set")
    file = tmp_path / "set" / "samples.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"space": space}))
    with pytest.raises(InputError, match="samples.json"):
        SampleSet.open(tmp_path / "set").check([(0, 1)])


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: "[1, 2]", "must hold a JSON object"),
        (edited(labels=None), "labels"),
        (edited(storage=None, attributes=None), "attributes, storage"),
        (edited(format=None), "format"),
        (edited(format=99), "format 99"),
    ],
)
def test_a_damaged_description_is_named(tmp_path, edit, word):
    whole(tmp_path / "set")
    file = tmp_path / "set" / "samples.json"
    file.write_text(edit(file.read_text()))
    for read in (SampleSet.open, made, open_data):
        with pytest.raises(InputError, match=f"samples.json.*{word}"):
            read(tmp_path / "set")


def file_of(samples, start):
    """A file of the shard that begins at `start`."""
    named = f"shard-{start // SHARD:05d}.npz" if samples.storage == "npz" else f"images/{start:07d}.png"
    return samples.path / named


@STORAGES
@pytest.mark.parametrize("damage", ["cut off", "changed", "of another set", "of another place"])
def test_existing_files_are_checked_before_a_set_is_continued(tmp_path, storage, damage):
    drawn = whole(tmp_path / "set", storage)
    samples = made(tmp_path / "set", storage)
    samples.check(samples.shards())
    file = file_of(samples, 0)
    content = bytearray(file.read_bytes())
    if damage == "of another set":
        whole(tmp_path / "other", storage, provenance={"seed": 4})
        content = file_of(made(tmp_path / "other", storage, {"seed": 4}), 0).read_bytes()
    elif damage == "of another place":
        if storage == "png":
            content = file_of(samples, 1).read_bytes()
        else:
            # as long as the first, but of the second's place
            with np.load(file) as arrays:
                changed = dict(arrays)
            np.savez(tmp_path / "moved.npz", **{**changed, "set": np.array(str(changed["set"]).replace("/0", f"/{SHARD}"))})
            content = (tmp_path / "moved.npz").read_bytes()
    elif damage == "cut off":
        content = content[:-20]
    else:
        content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(InputError, match=file.name):
        samples.check(samples.shards())
    samples.check(samples.shards()[1:])
    file.unlink()
    samples.write(0, drawn[:SHARD])
    samples.check(samples.shards())


@STORAGES
def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(tmp_path, storage, monkeypatch):
    samples = made(tmp_path / "set", storage)

    def full(file, *_, **__):
        if isinstance(file, os.PathLike):
            file.write_bytes(b"half")
        else:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("numpy.savez", full)
        patched.setattr("PIL.Image.Image.save", lambda image, file, **_: full(file))
        with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
            samples.write(0, images()[:SHARD])
    assert samples.missing() == samples.shards()
    assert not [path for path in (tmp_path / "set").rglob("*") if path.is_file() and path.name != "samples.json"]


@STORAGES
def test_a_set_begun_before_sets_recorded_their_space_is_continued(tmp_path, storage):
    made(tmp_path / "set", storage)
    file = tmp_path / "set" / "samples.json"
    description = json.loads(file.read_text())
    assert description.pop("space") == {"name": "pixels", "height": 4, "width": 4, "channels": 3}
    file.write_text(json.dumps(description))
    drawn = whole(tmp_path / "set", storage)
    samples = SampleSet.open(tmp_path / "set")
    assert json.loads(file.read_text()) == description and samples.space == Pixels(4, 4)
    np.testing.assert_array_equal(np.stack([samples.image(i) for i in range(COUNT)]), drawn)


@STORAGES
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_shape_and_channels_are_restored(tmp_path, storage, channels):
    space = Pixels(3, 5, channels)
    drawn = np.random.default_rng(channels).integers(0, 256, (6, *space.shape), np.uint8)
    samples = SampleSet.create(tmp_path / "set", {}, (), np.zeros((6, 0), np.int32), space, storage)
    samples.write(0, drawn)
    samples.finish()
    samples.check(samples.shards())
    back = SampleSet.open(tmp_path / "set")
    np.testing.assert_array_equal(load_arrays(back)[0], drawn)
    assert back.space == space and open_data(tmp_path / "set").channels == channels
    # PNG files with labels.csv are data for other programs too
    if storage == "png":
        (tmp_path / "set" / "samples.json").unlink()
        np.testing.assert_array_equal(load_arrays(open_data(tmp_path / "set", split="all"))[0], drawn)


def test_a_shard_of_another_space_is_damaged(tmp_path):
    whole(tmp_path / "set")
    file = tmp_path / "set" / "shard-00000.npz"
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "images": arrays["images"][:, :3]})
    with pytest.raises(InputError, match=r"damaged: it contains uint8 \(3, 4, 3\), not uint8 \(4, 4, 3\)"):
        SampleSet.open(tmp_path / "set").check([(0, SHARD)])


def test_the_prompt_of_a_sample_is_that_of_all_its_labels(tmp_path):
    table = [f"a {group} face, {hair}" for group in GROUP.values for hair in HAIR.values]
    made(tmp_path / "set", provenance={"prompts": table})
    prompts = SampleSet(tmp_path / "set", json.loads((tmp_path / "set" / "samples.json").read_text())).prompts
    assert prompts == [f"a {GROUP.values[group]} face, {HAIR.values[hair]}" for group, hair in labels()]


def test_the_prompt_of_a_sample_is_the_one_that_it_was_asked_for_with(tmp_path):
    asked = Attribute("prompt", ("a doctor", "a nurse"))
    values = np.array([[0, 1], [1, -1], [1, 0]], np.int32)
    # one more prompt for samples without a group
    table = ["a square doctor", "a round doctor", "a doctor", "a square nurse", "a round nurse", "a nurse"]
    samples = made(tmp_path / "set", provenance={"prompts": table}, attributes=(asked, GROUP), values=values)
    assert samples.prompts == ["a doctor", "a nurse", "a nurse"]


@pytest.mark.parametrize(
    ("provenance", "values", "fault"),
    [
        ({}, None, "was not drawn by prompts"),
        ({"prompts": ["a"] * 5}, None, r"is damaged: its prompts .* are not 6 texts"),
        ({"prompts": [1] * 6}, None, "is damaged"),
        ({"prompts": 3}, None, "is damaged"),
        ({"prompts": ["a"] * 6}, np.array([[0, -1], [1, 2]], np.int32), "without a label, which have no prompt"),
    ],
)
def test_samples_without_prompts_are_named(tmp_path, provenance, values, fault):
    samples = made(tmp_path / "set", provenance={"seed": 1, **provenance}, values=values)
    with pytest.raises(InputError, match=fault):
        samples.prompts  # noqa: B018
