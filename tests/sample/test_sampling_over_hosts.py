"""Sampling, searching and evaluating in several processes: the same results on any number of processes and devices, interrupted
or not."""

import json
import shutil
from functools import cache, partial

import numpy as np
import pytest

import sample.draw
from jaxdiff.sampleset import SampleSet
from sample.command_line import made
from sample.options import Draw
from tests import processes
from tests.sample.modifying import UNSAFE

succeed = partial(processes.succeed, **processes.QUICK)
COUNT = 44  # six shards of eight, the last of four
pytestmark = pytest.mark.usefixtures("own_cache")
GUARDED = {
    "method": "switching", "tau": (0.4,), "unsafe": UNSAFE["unsafe"], "unsafe_count": 12, "window": (0.0, 2.0),
    "deviation": 1e3, "guidance_scale": 2.0,
}  # fmt: skip
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
import evaluate.fairness, sample.search
from evaluate.fairness import Fairness, fairness
from jaxdiff.image_classifier import ClassifierTraining
quick = ClassifierTraining(steps=4, batch=8, widths=(8, 16))
evaluate.fairness.ClassifierTraining = partial(ClassifierTraining, widths=(8, 16))
sample.search.train_once = partial(sample.search.train_once, training=quick)
sample.search.REFERENCE_COUNT = 64
options = made(Search, model=model, attribute="group", steps=4, solver="ddim", batch=8, reference="embedded?glasses=0.5,0.5",
                               out=out / "tau.json", metric="feature")
found = sample.search.search(options)
assert json.loads((out / "tau.json").read_text())["tau"] == found.tau
draw(made(Draw, model=model, out=out / "guarded", **given, **{GUARDED}))
report = fairness(Fairness(attribute="group", synthetic=(str(out / "guarded"),), out=out / "report", size="16", seeds=1,
                           steps=4, batch=8, test_count=300, replicates=10, permutations=9))
energy = report.evaluation.synthetic[0].energy["features"][0, 1].distance
found_values = [found.tau, found.curve, energy, report.extras[1]["quality"]["frechet"], report.evaluation.classifier.logits(
    np.zeros((1, 16, 16, 3), np.uint8)).tolist()]
print("RESULT", json.dumps(found_values))
"""
)


@pytest.fixture(scope="module")
def model(save_model, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "run", size=16)


EIGHT = pytest.mark.parametrize("over", [(2, 1), pytest.param((1, 8), marks=pytest.mark.slow)], ids=["two", "eight"])


@pytest.fixture(scope="module")
def ran(model, tmp_path_factory):
    """What so many processes of so many devices wrote, and what each said."""

    @cache
    def made(processes, devices):
        folder = tmp_path_factory.mktemp("ran")
        outputs = succeed(("-c", WHOLE, model, folder), processes, devices=devices)
        return folder, [json.loads(output.split("RESULT ")[1].splitlines()[0]) for output in outputs]

    return made


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


@EIGHT
def test_samples_and_notes_are_the_same_on_any_number_of_processes_and_devices(over, model, ran, small_shards, tmp_path):
    alone = drawn(model, tmp_path / "guarded", **GUARDED)
    notes = alone.sample_notes()
    assert notes["acted"].sum() > 0 and np.stack([alone.image(i) for i in range(COUNT)]).std() > 10
    other = SampleSet.open(ran(*over)[0] / "guarded")
    assert other.provenance == alone.provenance
    difference = levels(alone, other)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
    for name, values in other.sample_notes().items():
        np.testing.assert_allclose(values, notes[name], rtol=1e-4, err_msg=name)


@EIGHT
def test_a_search_and_an_evaluation_are_the_same_in_every_process_and_on_any_number(over, ran):
    folder, found = ran(*over)
    _, (first, second) = ran(2, 1)
    assert first == second
    tau, curve, *numbers = first
    assert found[0][0] == pytest.approx(tau, abs=1e-6)
    np.testing.assert_allclose(found[0][1], curve, rtol=1e-4)
    for one, other in zip(found[0][2:], numbers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)
    assert json.loads((folder / "tau.json").read_text())["tau"] == pytest.approx(tau, abs=1e-6)
    assert {file.name for file in (folder / "report").iterdir()} == {"report.json", "report.md", "report.png"}


def test_a_set_begun_by_two_processes_is_finished_by_one(model, ran, small_shards, tmp_path):
    """Of a set that lacks the shards of one process and some of the other's, none is drawn twice and none is missing."""
    whole = ran(2, 1)[0] / "guarded"
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

def attempt(name, **options):
    try:
        draw(made(Draw, model=model, out=out, **{**given, **options}))
        print("RESULT", name, "nothing")
    except InputError as error:
        print("RESULT", name, error)

# read by the first process, for which the others wait
listed = lambda: sorted(file.name for file in out.glob("shard-*"))

attempt("batch", batch_size=15)
attempt("other", seed=1)
with ExitStack() as held:
    parallel.run_on_first(lambda: lock(out, "being drawn into", held))
    # a lock is of the file that was opened, not of the process: the run opens it again
    attempt("locked")
shard = out / "shard-00003.npz"
parallel.run_on_first((out / "shard-00005.npz").unlink)
whole = parallel.run_on_first(lambda: shard.read_bytes().hex())
parallel.run_on_first(lambda: shard.write_bytes(bytes.fromhex(whole)[:-100]))
attempt("damaged")
parallel.run_on_first(lambda: shard.write_bytes((out / "shard-00001.npz").read_bytes()))
attempt("foreign")
print("RESULT before", parallel.run_on_first(listed))
parallel.run_on_first(shard.unlink)
parallel.run_on_first((out / "shard-00004.npz").unlink)
saved = np.savez
def full(file, **arrays):
    file.write(b"half")
    raise OSError(28, "No space left on device")
if jax.process_index() == 1:
    np.savez = full
attempt("full")
def broken(file, **arrays):
    raise ZeroDivisionError("a fault")
if jax.process_index() == 1:
    np.savez = broken
try:
    attempt("fault")
except ZeroDivisionError as error:
    print("RESULT fault process 1 itself:", error)
np.savez = saved
original = sample.drawing.sample
sample.drawing.sample = lambda *a, **g: (lambda x, memory: (x * jax.numpy.nan, memory))(*original(*a, **g))
attempt("nan")
sample.drawing.sample = original
print("RESULT left", parallel.run_on_first(listed))
"""
)


def test_errors_are_printed_by_every_process_and_nothing_is_overwritten(model, small_shards, tmp_path):
    out = tmp_path / "set"
    drawn(model, out)
    outputs = succeed(("-c", WRONG, model, out), 2)
    for output in outputs:
        results = dict(line.split("RESULT ")[1].split(" ", 1) for line in output.splitlines() if "RESULT " in line)
        assert "--batch-size of 15 does not divide over the 2 devices" in results["batch"]
        assert "process 0" in results["other"] and "seed 0 there, 1 now" in results["other"]
        assert "is being drawn into by another process" in results["locked"]
        assert "shard-00003.npz is damaged" in results["damaged"]
        assert "shard-00003.npz belongs to another set or another position" in results["foreign"]
        assert "process 1: cannot write" in results["full"] and "No space left on device" in results["full"]
        assert results["fault"] in ("process 1: ZeroDivisionError: a fault", "process 1 itself: a fault")
        assert "NaN or infinity" in results["nan"]
        # nothing is drawn where something is wrong; process 0 wrote its own two before process 1 failed twice
        assert results["before"] == str([f"shard-{number:05d}.npz" for number in range(5)])
        assert results["left"] == str([f"shard-{number:05d}.npz" for number in range(5)])
