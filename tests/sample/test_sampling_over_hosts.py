"""Sampling, searching and judging by the processes of a run: the same on any number of them and of devices, cut off or not."""

import json
import shutil
from functools import partial

import numpy as np
import pytest

import sample.draw
from jaxdiff.sampleset import SampleSet
from sample.command_line import made
from sample.options import Draw
from tests import processes

succeed = partial(processes.succeed, **processes.QUICK)
COUNT = 44  # six shards of eight, the last of four
pytestmark = pytest.mark.usefixtures("own_cache")
GUARDED = {"unsafe": "embedded:glasses=yes", "unsafe_count": 12, "window": (0.0, 2.0), "deviation": 1e3, "guidance_scale": 2.0}
PATCH = """
import json, sys
from functools import partial
from pathlib import Path
import numpy as np
import jaxdiff.data.samples
from jaxdiff.errors import InputError
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw, Search
jaxdiff.data.samples.SHARD = 8
model, out = map(Path, sys.argv[1:3])
given = dict(count=44, batch_size=16, solver="ddim", steps=4)
"""
WHOLE = (
    PATCH
    + f"""
import sample.search
from evaluate.fairness import Fairness, fairness
from jaxdiff.image_classifier import ClassifierTraining
quick = ClassifierTraining(steps=4, batch=8)
sample.search.train_image_classifier = partial(sample.search.train_image_classifier, training=quick)
sample.search.REFERENCE_COUNT = 64
options = made(Search, model=model, attribute="group", steps=4, solver="ddim", batch=8, reference="embedded?glasses=0.5,0.5",
                               out=out / "tau.json", metric="feature")
found = sample.search.search(options)
draw(made(Draw, model=model, out=out / "set", method="switching", tau_file=out / "tau.json", **given))
draw(made(Draw, model=model, out=out / "guarded", **given, **{GUARDED}))
judged = fairness(Fairness(attribute="group", synthetic=(str(out / "set"),), out=out / "report", size="16", seeds=1, steps=4,
                           batch=8, test_count=300, replicates=10, permutations=9))
energy = judged.judgement.synthetic[0].energy["features"][0, 1].distance
told = [found.tau, found.curve, energy, judged.extras[1]["quality"]["frechet"], judged.judgement.classifier.logits(
    np.zeros((1, 16, 16, 3), np.uint8)).tolist()]
print("TOLD", json.dumps(told))
"""
)


@pytest.fixture(scope="module")
def model(save_model, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "run", size=16)


@pytest.fixture(scope="module")
def runs(model, tmp_path_factory):
    """What two processes, and one on eight devices, wrote and said."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("two", "eight")}
    two = succeed(("-c", WHOLE, model, folders["two"]), 2)
    eight = succeed(("-c", WHOLE, model, folders["eight"]), 1, devices=8)
    return folders, [json.loads(output.split("TOLD ")[1].splitlines()[0]) for output in (*two, *eight)]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("jaxdiff.data.samples.SHARD", 8)


def drawn(model, folder, **options) -> SampleSet:
    """The set that this process draws on its one device."""
    options = {"count": COUNT, "batch_size": 16, "solver": "ddim", "steps": 4, **options}
    sample.draw.draw(made(Draw, model=model, out=folder, **options))
    return SampleSet.open(folder)


def levels(one: SampleSet, other: SampleSet) -> np.ndarray:
    """By how many levels the values of two sets differ."""
    return np.abs(np.stack([one.image(i).astype(int) - other.image(i) for i in range(COUNT)]))


def test_samples_and_notes_are_the_same_on_any_number_of_processes_and_devices(model, runs, small_shards, tmp_path):
    alone = drawn(model, tmp_path / "guarded", **GUARDED)
    notes = alone.notes()
    assert notes["acted"].sum() > 0 and np.stack([alone.image(i) for i in range(COUNT)]).std() > 10
    for folder in runs[0].values():
        other = SampleSet.open(folder / "guarded")
        assert other.provenance == alone.provenance
        difference = levels(alone, other)
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
        for name, values in other.notes().items():
            np.testing.assert_allclose(values, notes[name], rtol=1e-4, err_msg=name)


def test_a_search_and_a_judgement_are_the_same_in_every_process_and_on_any_number(runs):
    first, second, eight = runs[1]
    assert first == second
    tau, curve, *numbers = first
    assert eight[0] == pytest.approx(tau, abs=1e-6)
    np.testing.assert_allclose(eight[1], curve, rtol=1e-4)
    for one, other in zip(eight[2:], numbers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)
    for folder in runs[0].values():
        assert json.loads((folder / "tau.json").read_text())["tau"] == pytest.approx(tau, abs=1e-6)
        assert {file.name for file in (folder / "report").iterdir()} == {"report.json", "report.md", "report.png"}


def test_what_two_processes_began_is_finished_by_one(model, runs, small_shards, tmp_path):
    """Of a set that lacks the shards of one process and some of the other's, none is drawn twice and none is missing."""
    whole = runs[0]["two"] / "guarded"
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    for number in (1, 3, 4, 5):
        (cut / f"shard-{number:05d}.npz").unlink()
    kept = {file: file.stat().st_mtime_ns for file in cut.glob("shard-*.npz")}
    finished = drawn(model, cut, **GUARDED)
    assert levels(finished, SampleSet.open(whole)).max() <= 1
    assert kept.items() <= {file: file.stat().st_mtime_ns for file in cut.glob("shard-*.npz")}.items()
    assert sorted(file.name for file in cut.glob("shard*")) == [f"shard-{number:05d}.npz" for number in range(6)]


WRONG = (
    PATCH
    + """
from contextlib import ExitStack
from jaxdiff._console.lock import lock
import sample.drawing

def told(name, **options):
    try:
        draw(made(Draw, model=model, out=out, **{**given, **options}))
        print("TOLD", name, "nothing")
    except InputError as error:
        print("TOLD", name, error)

# asked of one process, before which no other goes on
listed = lambda: sorted(file.name for file in out.glob("shard-*"))

told("batch", batch_size=15)
told("other", seed=1)
with ExitStack() as held:
    parallel.run_on_first(lambda: lock(out / "samples.json", "being drawn into", held))
    # a lock is of the file that was opened, not of the process: the run opens it again
    told("locked")
shard = out / "shard-00003.npz"
parallel.run_on_first((out / "shard-00005.npz").unlink)
whole = parallel.run_on_first(lambda: shard.read_bytes().hex())
parallel.run_on_first(lambda: shard.write_bytes(bytes.fromhex(whole)[:-100]))
told("damaged")
parallel.run_on_first(lambda: shard.write_bytes((out / "shard-00001.npz").read_bytes()))
told("foreign")
print("TOLD before", parallel.run_on_first(listed))
parallel.run_on_first(shard.unlink)
parallel.run_on_first((out / "shard-00004.npz").unlink)
saved = np.savez
def full(file, **arrays):
    file.write(b"half")
    raise OSError(28, "No space left on device")
if jax.process_index() == 1:
    np.savez = full
told("full")
def broken(file, **arrays):
    raise ZeroDivisionError("a fault")
if jax.process_index() == 1:
    np.savez = broken
try:
    told("fault")
except ZeroDivisionError as error:
    print("TOLD fault process 1 itself:", error)
np.savez = saved
original = sample.drawing.sample
sample.drawing.sample = lambda *a, **g: (lambda x, memory: (x * jax.numpy.nan, memory))(*original(*a, **g))
told("nan")
sample.drawing.sample = original
print("TOLD left", parallel.run_on_first(listed))
"""
)


def test_what_is_wrong_is_told_by_every_process_and_nothing_is_overwritten(model, tmp_path):
    out = tmp_path / "set"
    succeed(("-c", PATCH + "draw(made(Draw, model=model, out=out, **given))", model, out), 1)
    outputs = succeed(("-c", WRONG, model, out), 2)
    for output in outputs:
        told = dict(line.split("TOLD ")[1].split(" ", 1) for line in output.splitlines() if "TOLD " in line)
        assert "--batch-size of 15 does not divide over the 2 devices" in told["batch"]
        assert "process 0" in told["other"] and "seed 0 there, 1 now" in told["other"]
        assert "is being drawn into by another process" in told["locked"]
        assert "shard-00003.npz is damaged" in told["damaged"]
        assert "shard-00003.npz belongs to another set or another position" in told["foreign"]
        assert "process 1: cannot write" in told["full"] and "No space left on device" in told["full"]
        assert told["fault"] in ("process 1: ZeroDivisionError: a fault", "process 1 itself: a fault")
        assert "NaN or infinity" in told["nan"]
        # nothing is drawn where something is wrong; process 0 wrote its own two before process 1 failed twice
        assert told["before"] == str([f"shard-{number:05d}.npz" for number in range(5)])
        assert told["left"] == str([f"shard-{number:05d}.npz" for number in range(5)])
