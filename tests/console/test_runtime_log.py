"""What the runtime prints of a lost process becomes one line; everything else is passed on."""

import subprocess
import sys

import pytest

from jaxdiff._console import runtime_log

WARNING = "W1127 19:13:31.594524   20075 pjrt_client.cc:185] a warning\n"
POLLED = "E1127 19:11:43.970476   19551 coordination_service_agent.cc:289] Polled an error (of this or another task).\n"
FATAL = "F1127 19:11:43.970553   19551 client.h:80] Terminating process because of it.\nmore\n    @  0x7ff trace\n"
OTHER = "E1127 19:11:43.970553   19551 gpu_driver.cc:80] an error of something else\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([WARNING, OTHER], WARNING + OTHER),
        ([WARNING, POLLED, FATAL], f"{WARNING}{runtime_log.LOST}\n"),
        ([FATAL], f"{runtime_log.LOST}\n"),
        ([WARNING, POLLED, runtime_log._REPORTED.decode(), FATAL], WARNING),
        ([runtime_log._REPORTED.decode(), POLLED, FATAL], ""),
        (["[Gloo] Rank 0 is connected\n", "no end of a line"], "[Gloo] Rank 0 is connected\nno end of a line"),
        ([], ""),
    ],
)
def test_a_lost_process_is_one_line(given, expected):
    done = subprocess.run(
        [sys.executable, "-I", "-S", runtime_log.__file__], input="".join(given), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


WRITES = """
import os, sys
from jaxdiff._console.pipes import surviving_output
from jaxdiff._console.runtime_log import filter_runtime_log
with surviving_output():
    filter_runtime_log()
    print("of Python", file=sys.stderr, flush=True)
    os.write(2, b"of the runtime\\n")
    os.write(2, {polled!r}.encode())
    os.abort()
"""


def test_the_message_is_printed_though_the_process_ends_by_a_signal():
    done = subprocess.run([sys.executable, "-c", WRITES.format(polled=POLLED + FATAL)], capture_output=True, text=True)
    assert done.returncode == -6
    assert sorted(done.stderr.splitlines()) == sorted(["of Python", "of the runtime", runtime_log.LOST])
