"""The tools of `python -m bench kills`: processes killed at any file operation, and folders that are equal but for times."""

import json
import os
import signal
import sys
from subprocess import run

import pytest

from bench.equal_folders import content, differences
from bench.kills import HOOK, _again

WRITING = """
import os, sys
folder = sys.argv[1]
os.mkdir(f"{folder}/set")
with open(f"{folder}/set/a.partial", "w") as file:
    file.write("a")
os.replace(f"{folder}/set/a.partial", f"{folder}/set/a.part")
print(open(f"{folder}/set/a.part").read())
os.remove(f"{folder}/set/a.part")
"""
OPERATIONS = ["os.mkdir {}/set", "open {}/set/a.partial", "os.rename {}/set/a.part", "os.remove {}/set/a.part"]
AFTER = [[], ["set"], ["set", "set/a.partial"], ["set", "set/a.part"], ["set"]]
"""What is in the folder before each operation, and in the end."""


def written(tmp_path, at, number=signal.SIGKILL, process=0):
    """The exit status of a small program that is killed at an operation, what it left, and the log."""
    folder = tmp_path / f"{at} {int(number)}"
    folder.mkdir()
    given = {"folder": str(folder), "log": str(tmp_path / "log"), "at": at, "signal": int(number), "process": process}
    variables = {**os.environ, "PYTHONPATH": str(HOOK), "JAXDIFF_BENCH_KILL": json.dumps(given)}
    (tmp_path / "log").unlink(missing_ok=True)
    code = run([sys.executable, "-c", WRITING, folder], env=variables, capture_output=True).returncode
    left = sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))
    return code, left, (tmp_path / "log").read_text().replace(str(folder), "{}").splitlines()


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_process_is_killed_just_before_any_operation(tmp_path, at):
    assert written(tmp_path, at) == (-signal.SIGKILL, AFTER[at - 1], [*OPERATIONS[: at - 1], "killed"])
    assert written(tmp_path, at, signal.SIGTERM)[0] == -signal.SIGTERM


def test_a_process_that_is_not_to_be_killed_logs_its_operations(tmp_path):
    assert written(tmp_path, None) == written(tmp_path, 5) == written(tmp_path, 2, process=1) == (0, AFTER[4], OPERATIONS)


def test_what_is_written_again_while_it_is_there_is_doubled():
    rename, remove = "os.rename /out/{}", "os.remove /out/{}"
    parts = [rename.format("x.part"), rename.format("y.part"), "killed"]
    assert _again(parts) == []
    assert _again([*parts, rename.format("report.json"), rename.format("report.json")]) == []
    assert _again([*parts, rename.format("y.part")]) == ["/out/y.part"]
    assert _again([*parts, remove.format("y.part"), rename.format("y.part")]) == []
    assert _again([rename.format("shard-00001.npz")] * 3) == ["/out/shard-00001.npz"] * 2


def test_folders_are_equal_but_for_what_was_measured_of_the_run(tmp_path):
    contents = {
        "a.npz": b"\0\1", "report.json": b'{"seconds": 1.5, "rows": [{"seconds_per_image": 2, "n": 3}]}',
        "metrics.jsonl": b'{"step": 1, "images_per_second": 7}\n', "report.md": b"`jaxdiff x`, 12.5 s on cpu.", "sub/b": b"",
    }  # fmt: skip
    changed = {
        "report.json": b'{"seconds": 9, "rows": [{"seconds_per_image": 1, "n": 3}]}',
        "metrics.jsonl": b'{"step": 1, "images_per_second": 8, "peak_memory_gib": 2}\n',
        "report.md": b"`jaxdiff x`, 1.0 s on cpu.",
    }  # fmt: skip

    def folder(name, **files):
        for path, data in {**contents, **{key.replace("__", "."): value for key, value in files.items()}}.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        return tmp_path / name

    whole = folder("whole")
    assert differences(folder("same"), whole) == ([], [])
    timed = folder("timed", **{name.replace(".", "__"): content for name, content in changed.items()})
    assert differences(timed, whole) == ([], sorted(changed))
    assert differences(folder("other", report__json=b'{"seconds": 1.5, "rows": []}'), whole) == (["report.json"], [])
    assert differences(folder("npz", a__npz=b"\0\2"), whole) == (["a.npz"], [])
    more = folder("more", x__partial=b"")
    (more / "report.parts").mkdir()
    (more / "a.npz").unlink()
    assert differences(more, whole)[0] == ["report.parts/ is left over", "x.partial is left over", "a.npz is missing"]
    assert differences(more, whole, ignored=("*.part*", "a.*")) == ([], [])


def test_weights_are_equal_in_any_order_of_their_metadata():
    def weights(value, *names):
        header = json.dumps({"__metadata__": {name: name.upper() for name in names}, "w": {"shape": [1]}}).encode()
        return len(header).to_bytes(8, "little") + header + bytes([value])

    same = [content("x.safetensors", weights(1, *names)) for names in ("ab", "ba")]
    assert same[0] == same[1] != content("x.safetensors", weights(2, "a", "b"))
    assert same[0] != content("x.safetensors", weights(1, "a", "c"))
