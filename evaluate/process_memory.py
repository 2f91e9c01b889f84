"""The peak memory of a process, from the operating system."""

import ctypes
from contextlib import suppress
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def trim() -> None:
    """Returns freed memory that the process keeps to the system, where the C library can."""
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


class ProcessMemory:
    """The peak memory of this process in bytes, beyond its memory at the last `reset`; None on systems other than Linux."""

    def __init__(self):
        self._before: int | None = None

    def reset(self) -> None:
        """Resets the peak.

        First returns freed memory that the process keeps to the system, since reusing it would not count.
        """
        trim()
        try:
            _RESET.write_text("5")  # resets the peak (proc(5))
            self._before = _kibibytes("VmRSS")
        except OSError:
            self._before = None

    def __call__(self) -> int | None:
        """The peak in bytes since the last reset."""
        return None if self._before is None else 1024 * (_kibibytes("VmHWM") - self._before)


def _kibibytes(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
