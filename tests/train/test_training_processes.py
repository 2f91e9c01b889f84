"""Training in several processes equals training in one, also when interrupted and resumed on another number; no error hangs."""

import json
import shutil
import signal
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import model as models
from tests import small_training
from tests.processes import QUICK, run, started, succeed

TRAIN = ("-m", "tests.small_training", "--preview-every", 0, "--log-every", 1)
STEPS = 50


def losses(out: Path) -> dict[int, float]:
    """The loss of each step."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


def trained(out: Path, *options) -> str:
    """Trains in this process; returns what it printed."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as output:
        patch.setattr("sys.argv", ["train", *map(str, (*TRAIN[2:], "--steps", STEPS, "--out", out, *options))])
        with pytest.raises(SystemExit) as ended:
            small_training.main()
    assert ended.value.code == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    trained(out)
    return out


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> tuple[Path, int]:
    """A run of two processes, of which only the second was interrupted, and its last step."""
    out = tmp_path_factory.mktemp("runs") / "interrupted"
    with started((*TRAIN, "--steps", STEPS, "--out", out), 2, **QUICK) as processes:
        processes[0].wait_until(lambda: (out / "metrics.jsonl").exists() and len(losses(out)) >= 4, 300)
        processes[1].send(signal.SIGTERM)
        ended = [process.end(300) for process in processes]
    assert [each.code for each in ended] == [143, 143], ended
    (step,) = (int(folder.name) for folder in (out / "checkpoints").iterdir())
    assert 4 < step < STEPS and max(losses(out)) == step
    return out, step


@pytest.mark.parametrize("devices", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_run_of_two_processes_resumed_in_one_is_the_run_of_one(devices, alone, interrupted, tmp_path):
    """In one with one device, and with four, sharded and accumulating."""
    (begun, step), other = interrupted, tmp_path / "other"
    shutil.copytree(begun, other)
    if devices == 1:
        output = trained(other)
    else:
        options = ("--mesh", f"fsdp={devices}", "--accumulate", 2)
        (output,) = succeed((*TRAIN, "--steps", STEPS, "--out", other, *options), 1, devices=devices, **QUICK)
    assert f"resuming from step {step}" in " ".join(output.split())
    expected, got = losses(alone), losses(other)
    assert list(got) == list(expected) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-5)
    # the models are one function; biases that a normalisation undoes are moved by rounding alone
    noise = jnp.asarray(np.random.default_rng(0).standard_normal((8, 8, 8, 3), np.float32))
    drawn = [
        np.asarray(model.denoise(noise, 0.6, model.conditions.encode(np.arange(8) % 2)))
        for model in map(models.load, (alone, other))
    ]
    np.testing.assert_allclose(*drawn, atol=1e-5)


def test_when_a_process_dies_the_other_ends_within_seconds(tmp_path):
    out = tmp_path / "run"
    with started((*TRAIN, "--steps", 5000, "--out", out), 2, **QUICK) as processes:
        processes[0].wait_until(lambda: (out / "metrics.jsonl").exists())
        processes[1].send(signal.SIGKILL)
        ended = processes[0].end()
    assert ended.code not in (0, 143)
    assert ended.output.count("error:") == 1 and "another process of the run " in ended.output
    assert "Traceback" not in ended.output and "stack trace" not in ended.output


TROUBLE = """
import json, resource, sys
from contextlib import ExitStack
from pathlib import Path
import numpy as np
from jaxdiff._console.lock import lock
from jaxdiff.checkpoint import Checkpoints
from jaxdiff.errors import InputError
from train.folder import claimed

out, me = Path(sys.argv[1]), jax.process_index()
mesh = parallel.make_mesh("fsdp=2")
jax.set_mesh(mesh)
shapes = {"w": jax.ShapeDtypeStruct((512, 256), np.float32), "n": jax.ShapeDtypeStruct((), np.int32)}
like = parallel.abstract_parameters(mesh, shapes)
def filled(value):
    w = np.random.default_rng(value).standard_normal((512, 256), np.float32)
    return parallel.place({"w": w, "n": np.int32(value)}, parallel.parameter_shardings(mesh, shapes))

def attempt(name, function):
    try:
        function()
        print("RESULT", name, "nothing")
    except InputError as error:
        print("RESULT", name, error)

def claim(config, path="run"):
    with claimed(out / path, config):
        pass

claim({"seed": 1})
attempt("options", lambda: claim({"seed": 1, "size": 8 + me}))
attempt("another", lambda: claim({"seed": 2}))
with ExitStack() as held:
    # as another run would, which this process does not know of
    parallel.run_on_first(lambda: lock(out / "run", "being trained", held))
    attempt("locked", lambda: claim({"seed": 1}))
attempt("seen", lambda: claim({"seed": 1}, "run" if me == 0 else "elsewhere"))

saved = out / "saved"
with Checkpoints(saved) as checkpoints:
    for step in (1, 2, 3):
        checkpoints.save(step, filled(step), {"step": step})
parallel.run_on_first(lambda: (out / "list").write_text(" ".join(sorted(entry.name for entry in saved.iterdir()))))
state, position = Checkpoints(saved).restore(3, like)
attempt("whole", lambda: None if (parallel.gather(state)["w"] == parallel.gather(filled(3))["w"]).all() else 1 / 0)

def cut():
    for file in (saved / "3" / "state" / "ocdbt.process_1" / "d").iterdir():
        file.write_bytes(file.read_bytes()[:-100])
parallel.run_on_first(cut)
attempt("cut", lambda: Checkpoints(saved).restore(3, like))
attempt("foreign", lambda: Checkpoints(saved).restore(2, {**like, "other": like["w"]}))
attempt("shape", lambda: Checkpoints(saved).restore(2, {**like, "n": like["w"]}))
attempt("before", lambda: Checkpoints(saved).restore(2, like))
whole = parallel.make_mesh("data=2")
state, _ = Checkpoints(saved).restore(2, parallel.abstract_parameters(whole, shapes))
print("RESULT elsewhere", state["w"].is_fully_replicated, (np.asarray(state["w"]) == parallel.gather(filled(2))["w"]).all())
def change():
    file = saved / "2" / "position" / "metadata"
    position = json.loads(file.read_text())
    file.write_text(json.dumps({**position, "digest": position["digest"] ^ 1}))
parallel.run_on_first(change)
attempt("numbers", lambda: Checkpoints(saved).restore(2, like))

# the disk takes no file of more than 64 KiB of the second process
checkpoints = Checkpoints(out / "full")
checkpoints.save(1, filled(1), {"step": 1})
checkpoints.finish()
if me == 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, resource.RLIM_INFINITY))
checkpoints.save(2, filled(2), {"step": 2})
attempt("full", checkpoints.finish)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
import shutil
from types import SimpleNamespace
usage = shutil.disk_usage
shutil.disk_usage = lambda path: SimpleNamespace(free=1000)
attempt("room", lambda: Checkpoints(saved).save(4, filled(4), {"step": 4}))
shutil.disk_usage = usage
state, position = Checkpoints(out / "full").restore(Checkpoints(out / "full").latest(), like)
print("RESULT kept", position, float(parallel.gather(state["n"])))
sys.stdout.flush()
jax.distributed.shutdown()
import os
os._exit(0)
"""


def test_errors_of_one_process_are_printed_by_both_and_nothing_is_overwritten(tmp_path):
    outputs = succeed(("-c", TROUBLE, tmp_path), 2, **QUICK)
    assert (tmp_path / "list").read_text() == "2 3"
    for output in outputs:
        results = dict(
            line.removeprefix("RESULT ").split(maxsplit=1) for line in output.splitlines() if line.startswith("RESULT ")
        )
        for name, words in {
            "options": ["process 0 was started with size 8, process 1 with 9"],
            "another": ["another seed: 1 there, 2 now"],
            "locked": ["is being trained by another process"],
            "seen": ["need a folder on a shared file system"],
            "whole": ["nothing"],
            "cut": ["process 1: checkpoint 3 in", "is damaged", "delete", "saved/3"],
            "foreign": ["checkpoint 2 in", "of another network"],
            "shape": ["checkpoint 2 in", "of another network"],
            "before": ["nothing"],
            "elsewhere": ["True True"],
            "numbers": ["checkpoint 2 in", "its values differ from those that were saved"],
            "full": ["process 1: checkpoint 2 could not be written", "the checkpoint of step 1 is kept"],
            "room": ["checkpoint 4 takes", "has 1000 free", "the checkpoint of step 3 is kept"],
            "kept": ["{'step': 1} 1.0"],
        }.items():
            for word in words:
                assert word in results[name], output


def test_a_dry_run_prints_the_cost_of_a_step_on_simulated_devices(tmp_path):
    options = ("--dry-run", "--devices", 6, "--mesh", "fsdp=3", "--batch-size", 12, "--out", tmp_path / "run")
    (output,) = succeed((*TRAIN, *options), 1, **QUICK)
    for words in (
        '"fsdp": 3',
        "34,072 parameters",
        "on each of 6 devices",
        "temporaries",
        "GFLOP",
        "all-reduce",
        "measured rate",
    ):
        assert words in output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # the refusal is that of test_parallel.py, and of sampling in two processes
def test_a_batch_that_the_devices_do_not_divide_is_refused_by_both(tmp_path):
    for ended in run((*TRAIN, "--batch-size", 15, "--out", tmp_path / "run"), 2, **QUICK):
        assert ended.code == 2
        assert "error: --batch-size of 15 does not divide over the 2 devices of the mesh data=2,fsdp=1" in ended.output
    assert not (tmp_path / "run").exists()
