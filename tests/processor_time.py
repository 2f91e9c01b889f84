"""A plugin of pytest: prints the tests that take most processor time, on a busy machine too.

    python -m pytest -p tests.processor_time
    python -m pytest -p tests.processor_time --processor-times times.csv

The time of a test is that of its process and of those that it started, from its set-up to its end; the first test that uses a
fixture of a file or folder has the fixture's time as well. The second form also writes a line per test as it ends: the seconds
of its set-up, of itself and of what ends it, then its name.
"""

import os
from pathlib import Path

import pytest

SHOWN = 20
PHASES = ("setup", "call", "teardown")
_since = pytest.StashKey[float]()


def _used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def pytest_addoption(parser):
    parser.addoption(
        "--processor-times", type=Path, metavar="FILE", help="write the processor seconds of each test to this CSV file"
    )


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the workers of xdist report to it
        config.pluginmanager.register(Times(config.getoption("--processor-times")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[_since] = _used()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    if _since in item.stash:
        now = _used()
        item.user_properties.append((f"processor seconds of {call.when}", now - item.stash[_since]))
        item.stash[_since] = now


class Times:
    """Collects the processor seconds of each test, by phase, and writes them to a file, if there is one."""

    def __init__(self, path: Path | None):
        self._path = path
        self._taken: dict[str, float] = {}
        self._write(*PHASES, "test", mode="w")

    def _write(self, *cells: str, mode: str = "a") -> None:
        if self._path:
            with self._path.open(mode) as file:
                file.write(",".join(cells) + "\n")

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":
            properties = dict(report.user_properties)
            phases = [properties.get(f"processor seconds of {phase}", 0.0) for phase in PHASES]
            self._taken[report.nodeid] = sum(phases)
            self._write(*(f"{seconds:.3f}" for seconds in phases), report.nodeid)

    def pytest_terminal_summary(self, terminalreporter):
        slowest = sorted(self._taken.items(), key=lambda each: -each[1])[:SHOWN]
        terminalreporter.section(f"processor time: {sum(self._taken.values()):.0f} s, of which {SHOWN} tests take most")
        for test, seconds in slowest:
            terminalreporter.write_line(f"{seconds:7.1f} s  {test}")
