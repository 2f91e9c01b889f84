"""Logs the file operations of a process in a folder, and ends it just before one of them: for `python -m bench kills`.

Python runs this file at its start where its folder is on the path. The variable JAXDIFF_BENCH_KILL says what to do, in JSON:
`folder`, whose operations count; `log`, a file that gets a line for each; `at`, the number of the operation before which the
process is killed, or null; `signal`; and `process`, the number of the process, of several, that is killed.
"""

import json
import os
import signal
import sys

WRITING = os.O_WRONLY | os.O_RDWR
KINDS = {"os.rename": 1, "os.mkdir": 0, "os.remove": 0, "os.rmdir": 0}
"""Audit events of file operations, and which of their arguments is the path that they make or remove."""


def watch(folder: str, log: str, at: int | None, number: int, process: int) -> None:
    """Logs the operations of this process, and kills it before number `at`."""
    words = sys.orig_argv
    own = int(words[words.index("--process-id") + 1]) if "--process-id" in words else 0
    lines, count = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 0

    def operation(event: str, arguments: tuple) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if not (flags or 0) & WRITING:
                return
        elif event in KINDS:
            path = arguments[KINDS[event]]
        else:
            return
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(folder):
            return
        count += 1
        killed = count == at and own == process
        if killed:
            os.write(lines, b"killed\n")
        # after SIGTERM the operation is still done
        if not (killed and number == signal.SIGKILL):
            os.write(lines, f"{event} {os.fspath(path)}\n".encode())
        if killed:
            os.kill(os.getpid(), number)

    sys.addaudithook(operation)


if "JAXDIFF_BENCH_KILL" in os.environ:
    given = json.loads(os.environ["JAXDIFF_BENCH_KILL"])
    watch(given["folder"], given["log"], given["at"], given["signal"], given["process"])
