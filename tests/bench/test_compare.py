"""`python -m bench compare`: two checkouts of which nothing is left, and the ratios of what each needs."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import evaluate.timing
import evaluate.worker
from bench import checkouts as checking
from bench.checkouts import checkouts, resolved
from bench.compare import Compare, compare
from evaluate.timing import RemoteError, time_alternately
from evaluate.worker import Worker
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of two commits, with a change that is not committed and a hook that would fail."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for text in ("first", "second"):
        (folder / "file").write_text(text)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "-m", text)
    (folder / "file").write_text("changed")
    hook = folder / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\nexit 1\n")
    hook.chmod(0o755)
    yield folder
    assert not (tmp_path / "hooked").exists()
    assert not list((tmp_path / "temporary").iterdir())
    assert not list(folder.glob(".git/worktrees/*")) and len(git(folder, "worktree", "list").splitlines()) == 1
    assert (folder / "file").read_text() == "changed" and git(folder, "status", "--short") == "M file"
    assert git(folder, "branch", "--format=%(refname)").count("refs/heads/") == 1


def test_each_commit_has_a_folder(repository):
    with checkouts(repository, [resolved(repository, commit, "--base") for commit in ("HEAD~1", "HEAD")]) as folders:
        assert [(folder / "file").read_text() for folder in folders] == ["first", "second"]
        (folders[0] / "file").write_text("written by a run")
        (folders[1] / "untracked").write_text("too")


def test_the_same_commit_may_be_given_twice(repository):
    branch = git(repository, "symbolic-ref", "--short", "HEAD")
    with checkouts(repository, ["HEAD", branch]) as folders:
        assert [(folder / "file").read_text() for folder in folders] == ["second"] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_nothing_is_left_after_an_error(repository, error):
    with pytest.raises(error), checkouts(repository, ["HEAD~1", "HEAD"]):
        raise error


def test_nothing_is_left_where_git_was_interrupted(repository, monkeypatch):
    """git locks a worktree while it makes it."""
    run = checking._git

    def interrupted(given, *arguments):
        run(given, *arguments)
        (given / ".git/worktrees/0/locked").write_text("initializing")
        raise KeyboardInterrupt

    monkeypatch.setattr(checking, "_git", interrupted)
    with pytest.raises(KeyboardInterrupt), checkouts(repository, ["HEAD~1", "HEAD"]):
        raise AssertionError


PROGRAM = """
import os, sys, time, pathlib
from bench import checkouts
from jaxdiff._console.terminal import run

remove = checkouts.shutil.rmtree

def slowly(*given, **more):
    print("removing", flush=True)
    time.sleep(1)
    remove(*given, **more)

def main():
    with checkouts.checkouts(pathlib.Path(sys.argv[1]), ["HEAD~1", "HEAD"]):
        checkouts.shutil.rmtree = slowly
        print("ready", flush=True)
        time.sleep(60)

run(main)
"""


def test_ctrl_c_leaves_nothing_and_a_second_one_changes_nothing(repository):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(repository)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    for line in ("ready\n", "removing\n"):
        assert program.stdout.readline() == line
        program.send_signal(signal.SIGINT)
    _, told = program.communicate(timeout=60)
    assert program.returncode == 130, told


def test_what_is_no_commit_is_an_error_that_names_the_option(tmp_path, repository):
    for commit in ("nothing", "--help", ""):
        with pytest.raises(InputError, match="--base takes a commit of .*, got"):
            resolved(repository, commit, "--base")
    with pytest.raises(InputError, match="--head takes a commit of"):
        resolved(tmp_path, "HEAD", "--head")


def test_a_worker_of_another_root_has_its_modules_and_environment(tmp_path):
    package = Path(evaluate.worker.__file__).parent
    (tmp_path / "evaluate").mkdir()
    for name in ("__init__", "worker", "timing"):
        shutil.copy(package / f"{name}.py", tmp_path / "evaluate")
    lines = [
        "import os",
        "from importlib.util import find_spec",
        "class Place:",
        " def file(self):",
        "  return __file__, os.environ['PJRT_NPROC'], os.getcwd(), find_spec('evaluate.speed') is None",
    ]
    (tmp_path / "evaluate/speed_jaxdiff.py").write_text("\n".join(lines))
    build = SimpleNamespace(__module__="evaluate.speed_jaxdiff", __qualname__="Place")
    with Worker(build, root=tmp_path, environment={"PJRT_NPROC": "3"}) as worker:
        *found, lacks = worker.call("file")
    assert found == [str(tmp_path / "evaluate/speed_jaxdiff.py"), "3", str(tmp_path)]
    assert lacks  # a module that the root lacks is not taken from here


class Commit:
    """In place of a process: a commit of which a run takes these seconds of a clock, and which has so many weights."""

    seconds, weights, now, identifier = {"base": 2.0, "head": 1.0}, {"base": 5, "head": 5}, 0.0, 1

    def __init__(self, build, network, sizes, training, *, root, environment):
        self.name, self.training, self.prepared = root.name, training, None
        assert network == "small" and environment["JAX_PLATFORMS"] == "cpu" and root.is_dir()
        if self.weights[self.name] is None:
            raise RemoteError("TypeError: unexpected argument")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, method, *arguments):
        if method == "size":
            return [self.weights[self.name], 1]
        if method == "prepare":
            assert (arguments[0]["task"] == "training") == self.training
        if method == "run":
            Commit.now += self.seconds[self.name]
        return None


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the comparison of fakes with these loads of others while idle."""

    @contextmanager
    def fakes(*_):
        folders = [tmp_path / name for name in ("base", "head")]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        yield folders

    monkeypatch.setattr("bench.compare.checkouts", fakes)
    monkeypatch.setattr("bench.compare.resolved", lambda repository, commit, option: commit * 9)
    monkeypatch.setattr(evaluate.worker, "Worker", Commit)
    monkeypatch.setattr(evaluate.timing, "time_alternately", partial(time_alternately, clock=lambda: Commit.now))
    monkeypatch.setattr(
        "evaluate.speed_checks.matrix_rates", lambda benchmarks, _: {each.framework: [1.0] for each in benchmarks}
    )

    def run(*loads, **more):
        given = iter(loads)
        monkeypatch.setattr("evaluate.speed_checks.idle_load", lambda own: next(given))
        with console.capture() as captured:
            try:
                compare(Compare("a", "b", **more))
                status = 0
            except SystemExit as end:
                status = end.code
        return status, " ".join(captured.get().split())

    return run


def test_the_ratio_is_that_of_the_commits(run):
    status, told = run(0.0, 0.0, 0.0, 0.0)
    assert status == 0 and told.count("times faster than base, aaaaaaaaa [quartiles]") == 2
    # the first run, which compiles, takes no time here
    assert "head, bbbbbbbbb 0.0 1 16 2.00 [2.00, 2.00]" in told and "head, bbbbbbbbb 0.0 1 48 2.00 [2.00, 2.00]" in told
    assert "base, aaaaaaaaa 0.0 2 8 1.00 [1.00, 1.00]" in told and "not valid" not in told


def test_a_busy_machine_is_refused_or_has_no_ratios(run):
    for loads, when in (((0.5,), "before the start"), ((0.0, 0.5), "before the runs")):
        with pytest.raises(InputError, match=f"the machine is busy.*{when}, other processes used 0.50 cores"):
            run(*loads)
    status, told = run(0.0, 0.0, 0.0, 0.5)
    assert status == 1 and "left out: training, float32." in told and told.count("2.00 [2.00, 2.00]") == 1
    status, told = run(0.5, 0.5, 0.5, 0.5, busy=True)
    assert status == 0 and "[" not in told and "--busy was given" in told


def test_commits_with_other_workloads_are_errors(run, monkeypatch):
    monkeypatch.setattr(Commit, "weights", {"base": 5, "head": 6})
    with pytest.raises(InputError, match="the network small has 5 weights in --base, and 6 in --head"):
        run(0.0)
    monkeypatch.setattr(Commit, "weights", {"base": None, "head": 6})
    with pytest.raises(InputError, match="--base aaaaaaaaa cannot run this workload: TypeError"):
        run(0.0)
