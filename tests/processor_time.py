"""A plugin of pytest: prints the tests that take most processor time, on a busy machine too.

    python -m pytest -p tests.processor_time

The time of a test is that of its process and of those that it started, from its set-up to its end; the first test that uses a
fixture of a file or folder has the fixture's time as well.
"""

import os

import pytest

SHOWN = 20
_begun = pytest.StashKey[float]()
_taken: dict[str, float] = {}


def _used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[_begun] = _used()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    if call.when == "teardown" and _begun in item.stash:
        item.user_properties.append(("processor seconds", _used() - item.stash[_begun]))


def pytest_runtest_logreport(report):
    seconds = dict(report.user_properties).get("processor seconds")
    if report.when == "teardown" and seconds is not None:
        _taken[report.nodeid] = seconds


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section(f"processor time: {sum(_taken.values()):.0f} s, of which {SHOWN} tests take most")
    for test, seconds in sorted(_taken.items(), key=lambda each: -each[1])[:SHOWN]:
        terminalreporter.write_line(f"{seconds:7.1f} s  {test}")
