"""A shard that takes long is kept in parts: a killed run goes on where they end, to the same bytes, and leaves none."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import sample.draw
import sample.drawing
from jaxdiff.sampleset import SampleSet
from sample import shard as shards
from sample.command_line import made
from sample.options import Draw
from tests import processes
from tests.sample.test_sampling_over_hosts import COUNT, GUARDED, PATCH

BATCH = 4
KILLED = PATCH.replace("json, sys", "json, os, signal, sys") + (
    """
import sample.shard, sample.drawing
sample.shard.EVERY = 0
jaxdiff.data.samples.SHARD = 16
solve, calls = sample.drawing.sample, []
def counted(*arguments, **options):
    calls.append(0)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return solve(*arguments, **options)
sample.drawing.sample = counted
draw(made(Draw, model=model, out=out, **{**given, "batch_size": 8}))
"""
)


class Killed(BaseException):
    """Ends the program where it stands."""


@pytest.fixture(scope="module")
def model(save_model, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "run", size=16)


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    """Shards of 16 that take so long that every batch is kept."""
    monkeypatch.setattr("jaxdiff.data.samples.SHARD", 16)
    monkeypatch.setattr(shards, "EVERY", 0.0)


@pytest.fixture
def batches(monkeypatch):
    """The first index of every batch that is drawn; the program is killed before batch number `killed_at`."""

    class Batches(list):
        killed_at = None

    drawn, solve = Batches(), sample.drawing.sample

    def counted(*arguments, indices, **options):
        if len(drawn) == drawn.killed_at:
            raise Killed
        drawn.append(int(indices[0]))
        return solve(*arguments, indices=indices, **options)

    monkeypatch.setattr(sample.drawing, "sample", counted)
    return drawn


def drawn(model, out, **options):
    """The content of the files of a set that the program draws, but for the time that it took."""
    given = {"count": COUNT, "batch_size": BATCH, "solver": "ddim", "steps": 4, **options}
    sample.draw.draw(made(Draw, model=model, out=out, **given))
    return files(out)


def files(out):
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in out.rglob("*")
        if file.is_file() and file.name != "timing.json"
    }


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("options", [{}, GUARDED, {"format": "png"}])
def test_killed_at_any_batch_it_draws_no_batch_twice_and_ends_to_the_byte(model, tmp_path, batches, monkeypatch, options):
    monkeypatch.setattr(shards, "EVERY", 1e9)
    whole = drawn(model, tmp_path / "whole", **options)
    assert not [name for name in whole if "part" in name]
    monkeypatch.setattr(shards, "EVERY", 0.0)
    every = list(batches)
    assert every == list(range(0, COUNT, BATCH))
    batches.clear()
    # in the first shard, at the end of one, in the second, after the first batch of the last
    for batches.killed_at in (1, 2, 4, 6, 9):
        with pytest.raises(Killed):
            drawn(model, tmp_path / "cut", **options)
    batches.killed_at = None
    assert drawn(model, tmp_path / "cut", **options) == whole
    assert batches == every


@pytest.mark.parametrize(("every", "parts"), [(2.5, ["0000000-0000012.part"]), (1.5, ["0000000-0000008.part"]), (3.5, [])])
def test_a_part_is_kept_when_its_time_is_over(model, tmp_path, monkeypatch, batches, every, parts):
    """With a second for each batch, and a kill after three."""
    monkeypatch.setattr(shards, "EVERY", every)
    monkeypatch.setattr(shards, "time", SimpleNamespace(monotonic=lambda: float(len(batches))))
    batches.killed_at = 3
    with pytest.raises(Killed):
        drawn(model, tmp_path)
    assert [file.name for file in tmp_path.rglob("*.part")] == parts


def test_a_part_after_a_gap_is_of_no_use(model, tmp_path, batches, monkeypatch):
    whole = drawn(model, tmp_path / "whole")
    batches.clear()
    batches.killed_at = 3
    with pytest.raises(Killed):
        drawn(model, tmp_path / "cut")
    (tmp_path / "cut" / shards.FOLDER / "0000004-0000008.part").unlink()
    monkeypatch.setattr(shards, "EVERY", 1e9)
    batches.killed_at = None
    assert drawn(model, tmp_path / "cut") == whole


@pytest.mark.parametrize("damage", ["cut", "flipped", "another set", "gone", "another batch size"])
def test_a_part_that_is_damaged_or_foreign_is_drawn_again(model, tmp_path, batches, damage):
    whole = drawn(model, tmp_path / "whole")
    if damage == "another set":
        batches.clear()
        batches.killed_at = 3
        with pytest.raises(Killed):
            drawn(model, tmp_path / "other", seed=1)
    batches.clear()
    batches.killed_at = 3
    with pytest.raises(Killed):
        drawn(model, tmp_path / "cut")
    parts = sorted((tmp_path / "cut" / shards.FOLDER).iterdir())
    assert [part.name for part in parts] == [f"{i:07d}-{i + BATCH:07d}.part" for i in (0, 4, 8)]
    content = parts[1].read_bytes()
    match damage:
        case "cut":
            parts[1].write_bytes(content[:-9])
        case "flipped":
            parts[1].write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
        case "gone":
            parts[1].unlink()
        case "another set":
            shutil.copy(tmp_path / "other" / shards.FOLDER / parts[1].name, parts[1])
    batches.clear()
    batches.killed_at = None
    again = drawn(model, tmp_path / "cut", batch_size=6 if damage == "another batch size" else BATCH)
    assert batches[0] == (12 if damage == "another batch size" else 4)
    if damage != "another batch size":  # programs of other shapes may round differently
        assert again == whole
    assert again.keys() == whole.keys()


def test_parts_that_are_left_of_a_whole_shard_are_removed(model, tmp_path, batches, monkeypatch):
    """A kill between writing the shard and removing its parts."""
    whole = drawn(model, tmp_path / "whole")

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(shards, "remove", killed)
        with pytest.raises(Killed):
            drawn(model, tmp_path / "cut")
    assert list((tmp_path / "cut" / shards.FOLDER).iterdir()) and (tmp_path / "cut" / "shard-00000.npz").exists()
    assert drawn(model, tmp_path / "cut") == whole


@pytest.mark.slow
def test_parts_of_two_processes_are_finished_by_one(model, tmp_path, batches):
    ended = processes.run(("-c", KILLED, model, tmp_path / "cut"), 2, **processes.QUICK)
    assert all(one.code for one in ended)
    parts = sorted(file.name for file in (tmp_path / "cut" / shards.FOLDER).iterdir() if file.suffix == ".part")
    # two batches of four of the first two shards each, a third where its process was quicker
    assert {"0000000-0000004.part", "0000004-0000008.part", "0000016-0000020.part", "0000020-0000024.part"} <= set(parts)
    kept = len(parts)
    drawn(model, tmp_path / "cut")
    assert len(batches) == COUNT // BATCH - kept
    assert files(tmp_path / "cut").keys() == drawn(model, tmp_path / "whole").keys()
    one, other = (SampleSet.open(tmp_path / name) for name in ("cut", "whole"))
    assert max(np.abs(one.image(i).astype(int) - other.image(i)).max() for i in range(COUNT)) <= 1
