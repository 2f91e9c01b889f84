"""How much memory a run takes, by the operating system's account."""

import ctypes
from contextlib import suppress
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class ProcessMemory:
    """Bytes that this process came to hold beyond what it held at `forget`. Linux alone tells; elsewhere they are None."""

    def __init__(self):
        self._before: int | None = None

    def forget(self) -> None:
        """Begins anew.

        Memory that was freed, but kept by the process, goes back to the system first, for it would hide what a run takes; the
        next run is given new pages.
        """
        with suppress(OSError, AttributeError):  # of glibc alone
            ctypes.CDLL(None).malloc_trim(0)
        try:
            _FORGET.write_text("5")  # resets the peak (proc(5))
            self._before = _kibibytes("VmRSS")
        except OSError:
            self._before = None

    def __call__(self) -> int | None:
        """The bytes since."""
        return None if self._before is None else 1024 * (_kibibytes("VmHWM") - self._before)


def _kibibytes(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
