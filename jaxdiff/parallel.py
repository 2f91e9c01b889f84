"""Devices and processes: the mesh, how arrays are sharded over it, and communication between processes.

A program runs once in each of P processes, all of which run every computation in step (JAX's multi-controller model). The
devices of all processes form a mesh with two axes: a batch is sharded over both, parameters are replicated, or sharded over
`fsdp`. Inside `jax.set_mesh(mesh)` the library's samplers and searches shard their batches, see `shard_batch`. No other module
handles more than one process.
"""

import io
import json
import math
import re
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError, LostProcess

AXES = ("data", "fsdp")
MIN_SHARDED_SIZE = 2**14
"""Entries from which a parameter is sharded under FSDP: a smaller one costs more to gather than to replicate."""
_COMMUNICATION = re.compile(r"\b(Gloo|NCCL|[Cc]oordination service|UNAVAILABLE|DEADLINE_EXCEEDED)\b")
"""In the errors of collectives that did not reach another process."""
HEARTBEAT = 20
"""Seconds after which the other processes stop once one has died."""


def join(
    coordinator: str | None = None, processes: int | None = None, process_id: int | None = None, seconds: int = 300
) -> None:
    """Connects the processes of a run; call it before JAX is used.

    Without arguments JAX reads the addresses from the environment (TPU pods, Slurm, Kubernetes).

    Arguments:
        coordinator: HOST:PORT of process 0, reachable from all processes.
        processes: the number of processes.
        process_id: the index of this one, 0 to `processes` - 1.
        seconds: how long to wait for the others.

    Raises:
        InputError: only some of the first three are given, the address is none or its port is taken, or not all processes
            connected in time.
    """
    given = (coordinator, processes, process_id)
    if any(each is not None for each in given) and None in given:
        raise InputError(f"`coordinator`, `processes` and `process_id` must be given together or not at all, got {given}")
    if processes is not None and process_id is not None and not 0 <= process_id < processes:
        raise InputError(f"`process_id` must be within 0 and {processes - 1}, got {process_id}")
    if coordinator is not None:
        _check_coordinator(coordinator, listens=process_id == 0)
    # JAX's own service would handle SIGTERM, which the programs handle themselves
    jax.config.update("jax_enable_preemption_service", False)
    failed: list[BaseException] = []
    # JAX's client aborts the process on its timeout: it waits in another thread, with a longer timeout than this one's
    waiting = threading.Thread(target=_initialize, args=(*given, seconds + 3600, failed), daemon=True)
    waiting.start()
    waiting.join(seconds)
    where = f"{coordinator}, process {process_id} of {processes}" if processes else "the environment's coordinator"
    if waiting.is_alive():
        raise InputError(f"not all processes joined within {seconds} s ({where}): is each started, and the address reachable?")
    if failed:
        raise InputError(f"this process cannot join the others ({where}): {str(failed[0]).splitlines()[0]}") from failed[0]


def _check_coordinator(address: str, *, listens: bool) -> None:
    """Checks HOST:PORT, and that process 0 can listen there: JAX's service would end the process by a signal if it cannot.

    Raises:
        InputError: another form, or the port is taken.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or not 1 <= int(port) < 2**16:
        raise InputError(f"`coordinator` must be HOST:PORT with a port from 1 to 65535, got {address!r}")
    if not listens:
        return
    try:
        if socket.has_dualstack_ipv6():
            listening = socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listening = socket.create_server(("", int(port)))
        listening.close()
    except OSError as error:
        reason = f"{address} cannot listen on port {port} of this machine: {error.strerror or error}"
        raise InputError(f"`coordinator` {reason}; choose another port") from error


def _initialize(
    coordinator: str | None, processes: int | None, process_id: int | None, seconds: int, failed: list[BaseException]
) -> None:
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process_id,
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except Exception as error:
        failed.append(error)


def make_mesh(text: str = "", devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh described by a text such as `data=8,fsdp=4`; an axis left out takes the remaining devices.

    Each process holds one contiguous block of the batch: devices are sorted by process where the topology order does not do so.

    Arguments:
        text: sizes of `data` and `fsdp`; empty is `data` over all devices.
        devices: by default all devices of all processes.

    Raises:
        InputError: an unknown axis, a size below 1, or a product that differs from the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_sizes(text, len(devices))
    axis_types = (AxisType.Auto,) * len(AXES)
    mesh = jax.make_mesh(sizes, AXES, axis_types=axis_types, devices=devices)
    return Mesh(_in_blocks(mesh.devices), AXES, axis_types=axis_types)


def _in_blocks(devices: np.ndarray) -> np.ndarray:
    """The devices of a mesh, sorted by process unless each process already holds one contiguous block."""
    owners = [device.process_index for device in devices.flat]
    if all(a <= b for a, b in zip(owners, owners[1:], strict=False)):
        return devices
    ordered = sorted(devices.flat, key=lambda device: (device.process_index, device.id))
    return np.array(ordered).reshape(devices.shape)


def mesh_sizes(text: str, count: int) -> tuple[int, int]:
    """The sizes of `data` and `fsdp` for `count` devices; `text` and errors as in `make_mesh`."""
    sizes = {}
    for part in text.split(",") if text else ():
        name, _, size = part.partition("=")
        if name not in AXES or name in sizes or not size.isdecimal() or len(size) > 9 or int(size) < 1:
            raise InputError(
                f"a mesh is written as data=8,fsdp=4, each axis at most once and of size at least 1; got {shortened(text)}"
            )
        sizes[name] = int(size)
    left = count // math.prod(sizes.values())
    sizes = {name: sizes.get(name, 1 if name == "fsdp" and "data" not in sizes else left) for name in AXES}
    if math.prod(sizes.values()) != count:
        wanted = " x ".join(f"{name}={size}" for name, size in sizes.items())
        raise InputError(f"the mesh {text!r} takes {wanted} devices, there are {count}")
    return sizes["data"], sizes["fsdp"]


# --- sharding ------------------------------------------------------------------------------------------------------------


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: its leading axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array replicated on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_shardings(mesh: Mesh, tree: Any) -> Any:
    """The shardings of parameters, their averages and an optimiser's moments: over `fsdp` along the largest axis it divides.

    Arguments:
        mesh: of `make_mesh`.
        tree: a pytree of arrays or shapes. Arrays of fewer than `MIN_SHARDED_SIZE` entries, or without such an axis, are
            replicated.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _parameter_spec(leaf.shape, mesh.shape["fsdp"])), tree)


def abstract_parameters(mesh: Mesh, tree: Any) -> Any:
    """Shapes, types and shardings of a tree of parameters, without the arrays."""
    at = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
    return jax.tree.map(at, tree, parameter_shardings(mesh, tree))


def _parameter_spec(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    divisible = [axis for axis, size in enumerate(shape) if size % devices == 0]
    if devices == 1 or math.prod(shape) < MIN_SHARDED_SIZE or not divisible:
        return PartitionSpec()
    # the last of equal axes: the output channels of a convolution
    largest = max(divisible, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*(None,) * largest, "fsdp")


def shard_batch(tree: Any) -> Any:
    """Constrains the arrays of a tree to be sharded by their leading axis over the mesh of `jax.set_mesh`.

    Leaves them unchanged where no mesh is set, or where the number of its devices does not divide the number of rows.
    """
    return _constrained(tree, lambda shape, mesh: PartitionSpec(AXES) if shape[0] % mesh.size == 0 else None)


def shard_parameters(tree: Any) -> Any:
    """Constrains the arrays of a tree to `parameter_shardings` on the mesh of `jax.set_mesh`, if one is set. Under jit."""
    return _constrained(tree, lambda shape, mesh: _parameter_spec(shape, mesh.shape["fsdp"]))


def replicate_at(tree: Any, now: Any) -> Any:
    """`replicate` of parameters sharded over `fsdp`, after some arrays are computed.

    A loop then gathers the parameters in each iteration and frees them, where the compiler would otherwise gather all of them
    before the loop and keep them in memory.

    Arguments:
        tree: a pytree of arrays, parameters.
        now: arrays that change in each iteration of the loop.
    """
    if dict(jax.sharding.get_abstract_mesh().shape).get("fsdp", 1) > 1:
        tree, _ = jax.lax.optimization_barrier((tree, now))
    return replicate(tree)


def replicate(tree: Any) -> Any:
    """Constrains the arrays of a tree to be replicated on the mesh of `jax.set_mesh`, if one is set. Under jit.

    For parameters where they are used: without it the compiler may move activations to the shards of a parameter, which takes
    more and larger collectives. For small arrays that every device computes itself: no collective is needed.
    """
    return _constrained(tree, lambda shape, mesh: PartitionSpec())


def _constrained(tree: Any, spec: Callable) -> Any:
    mesh = jax.sharding.get_abstract_mesh()
    if set(AXES) - set(mesh.axis_names):
        return tree

    def one(leaf):
        wanted = spec(leaf.shape, mesh)
        return leaf if wanted is None else jax.lax.with_sharding_constraint(leaf, wanted)

    return jax.tree.map(one, tree)


def stacked(*batches: Any) -> Any:
    """Concatenates K batches: K pytrees of arrays (B, ...) to one of arrays (K B, ...). `unstacked` is the inverse.

    On a mesh each device concatenates its own rows of the batches, so that no row moves between devices.
    """

    def one(*parts):
        count = _blocks(len(parts[0]))
        blocks = [part.reshape(count, -1, *part.shape[1:]) for part in parts]
        return jnp.concatenate(blocks, 1).reshape(-1, *parts[0].shape[1:])

    return jax.tree.map(one, *batches)


def unstacked(x: Shaped[Array, "..."], batches: int) -> Shaped[Array, "..."]:
    """The K batches (K, B, ...) that `stacked` concatenated to (K B, ...)."""
    blocks = _blocks(len(x) // batches)
    return rearrange(x, "(blocks batches rows) ... -> batches (blocks rows) ...", blocks=blocks, batches=batches)


def _blocks(rows: int) -> int:
    """The number of shards of a batch of so many rows on the mesh of `jax.set_mesh`."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if set(AXES) - set(mesh.axis_names) or rows % mesh.size else mesh.size


def process_rows(mesh: Mesh, count: int) -> slice:
    """The contiguous rows of a batch of `count` that this process provides and holds.

    Raises:
        InputError: the number of devices does not divide the batch.
    """
    check_divides(mesh, count)
    each = count // mesh.size
    places = [i for i, device in enumerate(mesh.devices.flat) if device.process_index == jax.process_index()]
    return slice(each * places[0], each * (places[-1] + 1))


def check_divides(mesh: Mesh, count: int, name: str = "a batch") -> None:
    """Raises `InputError` for a number of rows that the devices of a mesh do not divide; `name` is used in the message."""
    if count % mesh.size:
        raise InputError(f"{name} of {count} does not divide over the {mesh.size} devices of the mesh {_text(mesh)}")


def _text(mesh: Mesh) -> str:
    return ",".join(f"{name}={size}" for name, size in mesh.shape.items())


def shard_rows(mesh: Mesh, rows: Any) -> Any:
    """A batch sharded over all devices, from a pytree of the rows (B / P, ...) of each process, see `process_rows`."""
    return jax.tree.map(partial(jax.make_array_from_process_local_data, batch_sharding(mesh)), rows)


def place(tree: Any, shardings: Any) -> Any:
    """Puts arrays that every process holds in full onto the devices, without communication.

    Arguments:
        tree: a pytree of arrays.
        shardings: a pytree of the same structure, or one sharding for all arrays.
    """
    if not isinstance(shardings, NamedSharding):
        return jax.tree.map(place, tree, shardings)

    def one(leaf):
        return jax.make_array_from_callback(leaf.shape, shardings, lambda index: leaf[index])

    return jax.tree.map(one, tree)


def local_rows(x: Array) -> Shaped[np.ndarray, "..."]:
    """The rows of a sharded batch that are on this process's devices, in order, as an array on the host."""
    parts = {shard.index[0].start or 0 if shard.index else 0: shard.data for shard in x.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


# --- communication between processes -------------------------------------------------------------------------------------


def is_first() -> bool:
    """Whether this is process 0, which writes files. Never make a computation depend on it: all processes run all of them."""
    return jax.process_index() == 0


def gather(tree: Any) -> Any:
    """The arrays of a tree, in full, on the host of every process, however they are sharded. Every process must call it."""
    leaves, structure = jax.tree.flatten(tree)
    apart = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) and not leaf.is_fully_replicated]
    apart = [i for i in apart if not leaves[i].is_fully_addressable]
    if apart:
        gathered = jax.jit(lambda *each: each, out_shardings=replicated(leaves[apart[0]].sharding.mesh))
        for i, leaf in zip(apart, gathered(*(leaves[i] for i in apart)), strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])


def exchange(message: bytes) -> list[bytes]:
    """The messages of all processes, in their order. Every process must call it.

    Messages are bytes, so that float64 values are exact.

    Raises:
        LostProcess: another process has ended.
    """
    if jax.process_count() == 1:
        return [message]
    try:
        return _exchanged(message)
    except Exception as error:
        if lost := lost_process(error):
            raise lost from error
        raise


def lost_process(error: Exception) -> LostProcess | None:
    """The error to raise for one of a computation over several processes, if its cause is that one of them was lost."""
    # Gloo raises ValueError
    collective = isinstance(error, jax.errors.JaxRuntimeError | ValueError) and not isinstance(error, InputError)
    if not collective or not _COMMUNICATION.search(str(error)):
        return None
    reason = str(error).splitlines()[0]
    return LostProcess(
        "another process of the run has ended, or is out of reach; run the same command on each machine again to resume from "
        f"what is saved ({reason})"
    )


def exchange_arrays(arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The arrays of all processes, in their order; shapes may differ. Every process must call it.

    Raises:
        LostProcess: another process has ended.
    """
    if jax.process_count() == 1:
        return [list(arrays)]
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    received = []
    for message in exchange(buffer.getvalue()):
        with np.load(io.BytesIO(message), allow_pickle=False) as opened:
            received.append([opened[name] for name in opened.files])
    return received


def _exchanged(message: bytes) -> list[bytes]:
    sizes = np.asarray(multihost_utils.process_allgather(np.array([len(message)], np.int32))).ravel()
    # padded to powers of two: each length compiles a program
    padded = np.zeros(max(64, 1 << int(sizes.max() - 1).bit_length()), np.uint8)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def broadcast_from_first(tree: Any) -> Any:
    """The arrays of process 0's tree, bit for bit, on the host of every process. Every process must call it.

    Processes on different machines may differ in the last digits of the same computation; decisions based on it must not.
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    sent = exchange(b"".join(leaf.tobytes() for leaf in leaves) if is_first() else b"")[0]
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = [sent[end - leaf.nbytes : end] for leaf, end in zip(leaves, ends, strict=True)]
    arrays = [np.frombuffer(part, leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


def gather_results(function: Callable[[], Any]) -> list[Any]:
    """Runs a function in every process and returns the results of all of them, in every process. Every process must call it.

    For functions that read or write files, so that all processes of a run stop together or continue together.

    Arguments:
        function: returns a JSON-serialisable result.

    Raises:
        InputError: in every process, if any process raised one. Any other error is raised unchanged in its own process, and as
            an `InputError` in the others.
    """
    answer, error, text = None, None, None
    try:
        answer = function()
    except Exception as raised:
        error, text = raised, str(raised) if isinstance(raised, InputError) else f"{type(raised).__name__}: {raised}"
    results = [json.loads(each) for each in exchange(json.dumps([answer, text]).encode())]
    if error is not None and not isinstance(error, InputError):
        raise error
    failed = [(number, text) for number, (_, text) in enumerate(results) if text is not None]
    if failed:
        number, text = failed[0]
        raise InputError(text if jax.process_count() == 1 else f"process {number}: {text}") from error
    return [answer for answer, _ in results]


def run_on_all(function: Callable[[], Any]) -> Any:
    """Runs a function in every process and returns this process's own result; errors as in `gather_results`."""
    own = []
    gather_results(lambda: own.append(function()))
    return own[0]


def run_on_first(function: Callable[[], Any]) -> Any:
    """Runs a function in process 0 alone and returns its result in every process; result and errors as in `gather_results`."""
    return gather_results(lambda: function() if is_first() else None)[0]
