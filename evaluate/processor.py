"""The processor of this machine."""

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "amd64", "i386", "i686")


def processor(cpuinfo: Path = _CPUINFO, machine: str | None = None) -> dict[str, str | None]:
    """The model of the processor, and the widest vector instructions that it has: AVX-512, AVX2 or neither.

    Arguments:
        cpuinfo: the file of the system (proc(5)); elsewhere Python's name of the processor is the model.
        machine: the architecture; by default this machine's. Processors other than x86 have no such instructions: None.
    """
    machine = machine or platform.machine()
    try:
        text = cpuinfo.read_text()
    except OSError:
        text = ""
    facts: dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    flags = facts.get("flags", "").split()
    vectors = None
    if flags and machine.lower() in _X86:
        vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "neither AVX2 nor AVX-512"
    return {"model": facts.get("model name") or platform.processor() or machine, "vectors": vectors}
