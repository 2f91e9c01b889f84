"""A plugin of pytest: prints the tests that take most processor time, on a busy machine too.

    python -m pytest -p tests.processor_time
    python -m pytest -p tests.processor_time --processor-times times.csv

The time of a test is that of its process and of those that it started, from its set-up to its end; the first test that uses a
fixture of a file or folder has the fixture's time as well. The second form also writes all times: a line per test with the
seconds of its set-up, of itself and of what ends it, then its name.
"""

import os
from pathlib import Path

import pytest

SHOWN = 20
PHASES = ("setup", "call", "teardown")
_since = pytest.StashKey[float]()
_taken: dict[str, dict[str, float]] = {}


def _used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def pytest_addoption(parser):
    parser.addoption(
        "--processor-times", type=Path, metavar="FILE", help="write the processor seconds of each test to this CSV file"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[_since] = _used()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    if _since in item.stash:
        now = _used()
        item.user_properties.append((f"processor seconds of {call.when}", now - item.stash[_since]))
        item.stash[_since] = now


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        properties = dict(report.user_properties)
        _taken[report.nodeid] = {phase: properties.get(f"processor seconds of {phase}", 0.0) for phase in PHASES}


def pytest_terminal_summary(terminalreporter, config):
    seconds = {test: sum(phases.values()) for test, phases in _taken.items()}
    terminalreporter.section(f"processor time: {sum(seconds.values()):.0f} s, of which {SHOWN} tests take most")
    for test in sorted(seconds, key=seconds.__getitem__, reverse=True)[:SHOWN]:
        terminalreporter.write_line(f"{seconds[test]:7.1f} s  {test}")
    if path := config.getoption("--processor-times"):
        lines = [",".join(f"{phases[phase]:.3f}" for phase in PHASES) + f",{test}" for test, phases in _taken.items()]
        path.write_text("\n".join([",".join((*PHASES, "test")), *lines]) + "\n")
