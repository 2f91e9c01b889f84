"""The devices and processes that a program runs on: options that several programs take."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxdiff._console.terminal import only_errors
from jaxdiff.errors import InputError

if TYPE_CHECKING:
    from jax.sharding import Mesh


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a program: on one machine nothing is given; on several, the same command is started on each."""

    distributed: bool = False
    """Join the other processes of the run, which the environment tells: on TPU pods, under Slurm's srun, in Kubernetes."""
    coordinator: str | None = None
    """HOST:PORT of process 0, to join the others by, where the environment does not tell."""
    processes: int | None = None
    """How many processes there are, with --coordinator."""
    process_id: int | None = None
    """Which of them this is, from 0, with --coordinator."""
    arrival_seconds: int = 300
    """How long to wait for the other processes."""

    def join(self) -> None:
        """Joins the other processes, if any and not done yet; call it before JAX is used.

        From then on the first process alone tells how it goes; errors are told by all.
        """
        given = {"--coordinator": self.coordinator, "--processes": self.processes, "--process-id": self.process_id}
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < len(given):
            raise InputError(f"{', '.join(given)} are given together; {', '.join(missing)} is missing")
        if self.distributed and not missing:
            raise InputError("--distributed takes the processes from the environment, got --coordinator too: take one")
        if self.arrival_seconds < 1:
            raise InputError(f"--arrival-seconds must be at least 1, got {self.arrival_seconds}")
        if not self.distributed and missing:
            return
        import jax

        from jaxdiff import parallel

        if not jax.distributed.is_initialized():
            parallel.join(self.coordinator, self.processes, self.process_id, self.arrival_seconds)
            if not parallel.is_first():
                only_errors()


@dataclass(frozen=True, kw_only=True)
class Hosts(Processes):
    """Where a program runs: the processes, and how their devices are laid out."""

    mesh: str = ""
    """How the devices of all processes are laid out, e.g. data=8,fsdp=4: batches are dealt over both, parameters over fsdp. By
    default every device holds all parameters."""

    def make_mesh(self) -> "Mesh":
        """Joins the other processes and makes the mesh; use it as `jax.set_mesh(mesh)`."""
        from jaxdiff import parallel

        self.join()
        return parallel.make_mesh(self.mesh)
