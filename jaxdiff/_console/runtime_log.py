"""What JAX's runtime prints when another process of a run is lost, as one line.

The runtime then ends this process by a signal, from a thread of its own, with several lines and a stack trace on standard
error. So its standard error goes through another process, which passes on everything but that.
"""

import os
import re
import signal
import subprocess
import sys

LOST = (
    "error: another process of the run was lost, which ends this one; run the same command on each machine again to resume "
    "from what is saved"
)
_REPORTED = b"another process of the run was lost, and the program has said so\n"
# an error, or a fatal error, of the runtime's coordination of processes
_FROM_COORDINATION = re.compile(rb"[EF]\d{4} .*(coordination_service\w*\.cc|client\.h):\d+\]")


def filter_runtime_log() -> None:
    """Starts the process that reads the runtime's standard error. Python's own, with its progress bars, stays as it is."""
    from jaxdiff._console.pipes import replace_standard_error

    terminal = os.dup(2)
    command = [sys.executable, "-I", "-S", __file__]  # without the packages of the environment, which take time to import
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal, start_new_session=True)
    assert reader.stdin is not None
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    replace_standard_error(open(terminal, "w", buffering=1, errors="backslashreplace"))  # noqa: SIM115


def say_no_more() -> None:
    """Leaves out what the runtime prints of a lost process, which the program has reported itself."""
    os.write(2, _REPORTED)


def _main() -> None:
    # it ends when the last process that prints there does, and not before
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    lost = reported = False
    for line in sys.stdin.buffer:
        reported |= line == _REPORTED
        lost |= bool(_FROM_COORDINATION.match(line))
        if not (lost or reported):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    if lost and not reported:
        sys.stdout.write(f"{LOST}\n")


if __name__ == "__main__":
    _main()
