"""Real processes of one run on this machine: Gloo over loopback, forced CPU devices, free ports, time limits."""

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 900
"""Seconds before a process counts as stuck: over ten times what the slowest takes on an idle machine."""
QUICK_FLAGS: dict[str, bool | int | str] = {}
"""XLA's flags for compiling quickly: an older code generator, one module for all of a program's code, few passes."""
if version("jaxlib") == "0.10.2":  # another may not know a flag, which ends the process
    QUICK_FLAGS |= {
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
        # they make programs faster, or check the compiler itself
        "xla_disable_hlo_passes": "simplify-while-loops,while-loop-invariant-code-motion,while-loop-trip-count-annotator,"
        "reshape-mover,tree_reduction_rewriter,simplify-conditional,hlo-verifier",
    }
    if platform.machine() == "x86_64":
        QUICK_FLAGS["xla_cpu_max_isa"] = "SSE4_2"  # fewer and shorter vectors to choose from
QUICK = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": " ".join(
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in QUICK_FLAGS.items()
    ),
}
"""Variables of processes that compile quickly, to slower programs."""
_JOINED = """
from jaxdiff._console import device
device.prepare()
import jax
from jaxdiff import parallel
from tests import lowering
lowering.share()
if {processes} > 1:
    parallel.join("127.0.0.1:{port}", {processes}, {process}, 60)
"""


@dataclass(frozen=True)
class Ended:
    """What became of a process.

    Attributes:
        code: its exit status, or minus the signal that ended it.
        output: what it printed and what it complained of, in order.
        seconds: from its start to its end.
    """

    code: int
    output: str
    seconds: float


@dataclass
class Process:
    """One of the processes of a run, while it runs."""

    popen: subprocess.Popen
    file: Any
    begun: float = field(default_factory=time.monotonic)

    def output(self) -> str:
        """What it has printed so far."""
        return Path(self.file.name).read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = LIMIT) -> None:
        """Waits until it has printed this."""
        self.wait_until(lambda: text in self.output(), timeout)

    def wait_until(self, holds, timeout: float = LIMIT) -> None:
        """Waits until something holds; a process that ends, or runs late, fails with its output."""
        limit = time.monotonic() + timeout
        while not holds():
            assert self.popen.poll() is None, f"ended with {self.popen.returncode} while it was waited for:\n{self.output()}"
            assert time.monotonic() < limit, f"waited {timeout} s in vain:\n{self.output()}"
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.popen.send_signal(number)

    def end(self, timeout: float = LIMIT) -> Ended:
        """Waits for its end; one that outlasts the limit is killed, and fails with its output."""
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"still running after {timeout} s:\n{self.output()}") from None
        return Ended(code, self.output(), time.monotonic() - self.begun)


@contextmanager
def started(
    arguments: Sequence[Any],
    processes: int = 2,
    *,
    devices: int = 1,
    cwd: Path = ROOT,
    each: Sequence[Sequence[Any]] | None = None,
    port: int | None = None,
    **environment: str,
) -> Iterator[list[Process]]:
    """The processes of a run, started together; those that are left when the block ends are killed.

    Arguments:
        arguments: of Python. `("-m", program, ...)` gets --coordinator, --processes and --process-id, where there are
            several; of `("-c", code, ...)` each process has joined the others, if any, when the code begins.
        processes: how many there are.
        devices: of each.
        cwd: where they run.
        each: more arguments of each, such as a folder that only one of them lacks.
        port: of the coordinator, by default a free one.
        environment: variables, beside those of this process.
    """
    port = port or free_port()
    variables = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "agg",
        "PYTHONUNBUFFERED": "1",
        **environment,
    }
    running: list[Process] = []
    try:
        for process in range(processes):
            line = [str(argument) for argument in arguments]
            if line[0] == "-c":
                line[1] = _JOINED.format(port=port, processes=processes, process=process) + line[1]
            elif processes > 1:
                joining = {"--coordinator": f"127.0.0.1:{port}", "--processes": processes, "--process-id": process}
                line += [str(word) for option in joining.items() for word in option]
            line += [str(argument) for argument in (each[process] if each else ())]
            # a file, since a full pipe would stop it
            file = tempfile.NamedTemporaryFile("w", suffix=f".{process}.log")  # noqa: SIM115
            popen = subprocess.Popen(
                [sys.executable, *line], cwd=cwd, env=variables, stdout=file, stderr=subprocess.STDOUT, text=True
            )
            running.append(Process(popen, file))
        yield running
    finally:
        for process in running:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()
            process.file.close()


def run(arguments: Sequence[Any], processes: int = 2, *, timeout: float = LIMIT, **options: Any) -> list[Ended]:
    """Runs them to their end, in their order; options as of `started`. One that outlasts the limit fails with its output."""
    with started(arguments, processes, **options) as running:
        limit = time.monotonic() + timeout
        return [process.end(max(0.1, limit - time.monotonic())) for process in running]


def succeed(arguments: Sequence[Any], processes: int = 2, **options: Any) -> list[str]:
    """What each printed, of processes that must all end well; options as of `run`."""
    ended = run(arguments, processes, **options)
    for number, one in enumerate(ended):
        assert one.code == 0, f"process {number} ended with {one.code}:\n{one.output}"
    return [one.output for one in ended]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
