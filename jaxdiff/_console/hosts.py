"""Options for the processes and devices that a program runs on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.runtime_log import filter_runtime_log
from jaxdiff._console.terminal import only_errors
from jaxdiff.bounds import Bounds, Size
from jaxdiff.errors import InputError

if TYPE_CHECKING:
    from jax.sharding import Mesh


@dataclass(frozen=True, kw_only=True)
class Processes(CheckedOptions):
    """The processes of a run. One machine needs no options; on several machines, start the same command on each."""

    distributed: bool = False
    """Run on several processes, found from the environment: TPU pods, Slurm (srun), Kubernetes."""
    coordinator: str | None = None
    """HOST:PORT of process 0, to run on several processes if the environment does not describe them."""
    processes: Size | None = None
    """With --coordinator: number of processes."""
    process_id: Annotated[int, Bounds(least=0, limit=10**6)] | None = None
    """With --coordinator: number of this process, from 0."""
    arrival_seconds: Size = 300
    """Seconds to wait for the other processes, at least 1."""

    def join(self) -> None:
        """Joins the other processes, if there are any and it has not joined yet; call it before JAX is used.

        From then on only the first process prints progress; all processes print errors.
        """
        given = {"--coordinator": self.coordinator, "--processes": self.processes, "--process-id": self.process_id}
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < len(given):
            raise InputError(f"{', '.join(given)} must be given together; {', '.join(missing)} is missing")
        if self.distributed and not missing:
            raise InputError("--distributed finds the processes from the environment, got --coordinator too: use one of them")
        if not self.distributed and missing:
            return
        import jax

        from jaxdiff import parallel

        if not jax.distributed.is_initialized():
            parallel.join(self.coordinator, self.processes, self.process_id, self.arrival_seconds)
            filter_runtime_log()
            if not parallel.is_first():
                only_errors()


@dataclass(frozen=True, kw_only=True)
class Hosts(Processes):
    """The processes of a run, and the mesh of their devices."""

    mesh: str = ""
    """Device mesh over all processes, e.g. data=8,fsdp=4: batches are sharded over both axes, parameters over fsdp. By default
    every device holds all parameters."""

    def make_mesh(self) -> "Mesh":
        """Joins the other processes and returns the mesh; use it as `jax.set_mesh(mesh)`."""
        from jaxdiff import parallel

        self.join()
        return parallel.make_mesh(self.mesh)
