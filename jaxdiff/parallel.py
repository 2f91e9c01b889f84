"""Devices and hosts: one mesh, what is laid out over it, and what its processes tell one another. No other module knows hosts.

A program runs once in each of P processes, all of which run every computation in step (JAX's multi-controller model). The
devices of all form a mesh of two axes: a batch is dealt over both, parameters are whole on every device, or dealt over `fsdp`.
Inside `jax.set_mesh(mesh)` the library's samplers and searches deal their batches by themselves, see `over_devices`.
"""

import json
import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from jaxdiff.errors import InputError, LostProcess

AXES = ("data", "fsdp")
SMALL = 2**14
"""Entries below which an array is whole on every device under FSDP: to gather it would cost more than to keep it."""
HEARTBEAT = 20
"""Seconds after which the others end, too, once a process is dead."""


def join(
    coordinator: str | None = None, processes: int | None = None, process_id: int | None = None, seconds: int = 300
) -> None:
    """Joins the processes of a run, before JAX is used; without arguments the environment tells (TPU, Slurm, Kubernetes).

    Arguments:
        coordinator: HOST:PORT of process 0, reachable from all.
        processes: how many there are.
        process_id: which this is, 0 to `processes` - 1.
        seconds: how long to wait for the others.

    Raises:
        InputError: only some of the first three are given, or not all processes arrived in time.
    """
    given = (coordinator, processes, process_id)
    if any(each is not None for each in given) and None in given:
        raise InputError(f"`coordinator`, `processes` and `process_id` are given together or not at all, got {given}")
    if processes is not None and not 0 <= process_id < processes:
        raise InputError(f"`process_id` must be within 0 and {processes - 1}, got {process_id}")
    # JAX's own service would take SIGTERM to itself; programs handle it, or end by it
    jax.config.update("jax_enable_preemption_service", False)
    failed: list[BaseException] = []
    # JAX's client aborts the process when it has waited for too long: so it waits elsewhere, and longer than is waited for it
    waiting = threading.Thread(target=_initialize, args=(*given, seconds + 3600, failed), daemon=True)
    waiting.start()
    waiting.join(seconds)
    where = f"{coordinator}, process {process_id} of {processes}" if processes else "the environment's coordinator"
    if waiting.is_alive():
        raise InputError(f"not all processes joined within {seconds} s ({where}): is each started, and the address reachable?")
    if failed:
        raise InputError(f"this process cannot join the others ({where}): {str(failed[0]).splitlines()[0]}") from failed[0]


def _initialize(coordinator, processes, process_id, seconds: int, failed: list[BaseException]) -> None:
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
    """The mesh that a text such as `data=8,fsdp=4` names; an axis that is left out takes the devices that are left.

    Each process has one block of the batch: devices are in the order of the processes where their wiring alone gives another.

    Arguments:
        text: sizes of `data` and `fsdp`; empty is `data` over all devices.
        devices: by default all, of all processes.

    Raises:
        InputError: another axis, a size below 1, or a product that is not the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_sizes(text, len(devices))
    axis_types = (AxisType.Auto,) * len(AXES)
    mesh = jax.make_mesh(sizes, AXES, axis_types=axis_types, devices=devices)
    return Mesh(_in_blocks(mesh.devices), AXES, axis_types=axis_types)


def _in_blocks(devices: np.ndarray) -> np.ndarray:
    """The devices of a mesh, in the order of their processes where a process has not one block of them."""
    owners = [device.process_index for device in devices.flat]
    if all(a <= b for a, b in zip(owners, owners[1:], strict=False)):
        return devices
    ordered = sorted(devices.flat, key=lambda device: (device.process_index, device.id))
    return np.array(ordered).reshape(devices.shape)


def mesh_sizes(text: str, count: int) -> tuple[int, int]:
    """The sizes of `data` and `fsdp` on so many devices; text and errors as of `make_mesh`."""
    sizes = {}
    for part in text.split(",") if text else ():
        name, _, size = part.partition("=")
        if name not in AXES or name in sizes or not size.isdecimal() or int(size) < 1:
            raise InputError(f"a mesh is written as data=8,fsdp=4, each at most once and at least 1; got {text!r}")
        sizes[name] = int(size)
    left = count // math.prod(sizes.values())
    sizes = {name: sizes.get(name, 1 if name == "fsdp" and "data" not in sizes else left) for name in AXES}
    if math.prod(sizes.values()) != count:
        wanted = " x ".join(f"{name}={size}" for name, size in sizes.items())
        raise InputError(f"the mesh {text!r} takes {wanted} devices, there are {count}")
    return sizes["data"], sizes["fsdp"]


# --- what lies where -----------------------------------------------------------------------------------------------------


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """A batch, dealt by its leading axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_shardings(mesh: Mesh, tree: Any) -> Any:
    """Where parameters, their averages and an optimiser's moments lie: dealt over `fsdp` by the largest axis that it divides.

    Arguments:
        tree: a pytree of arrays or shapes. Arrays under `SMALL` entries, or without such an axis, are whole on every device.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _parameter_spec(leaf.shape, mesh.shape["fsdp"])), tree)


def abstract_parameters(mesh: Mesh, tree: Any) -> Any:
    """Shapes and types of a tree of parameters, and where they lie, without the arrays."""
    at = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
    return jax.tree.map(at, tree, parameter_shardings(mesh, tree))


def _parameter_spec(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    divisible = [axis for axis, size in enumerate(shape) if size % devices == 0]
    if devices == 1 or math.prod(shape) < SMALL or not divisible:
        return PartitionSpec()
    # of equals the last: the output channels of a convolution
    largest = max(divisible, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*(None,) * largest, "fsdp")


def over_devices(tree: Any) -> Any:
    """The arrays of a tree, dealt by their leading axis over the mesh that `jax.set_mesh` set.

    As they are where none is set, and where its devices do not divide the rows: then each device has all of them.
    """
    return _constrained(tree, lambda shape, mesh: PartitionSpec(AXES) if shape[0] % mesh.size == 0 else None)


def as_parameters(tree: Any) -> Any:
    """The arrays of a tree, laid out as `parameter_shardings` says over the mesh that `jax.set_mesh` set, if any. Under jit."""
    return _constrained(tree, lambda shape, mesh: _parameter_spec(shape, mesh.shape["fsdp"]))


def whole_at(tree: Any, now: Any) -> Any:
    """`whole` of what lies in parts over `fsdp`, once some arrays are known: so that a loop gathers what it uses at each turn
    and lets it go, where the compiler would gather all of it before the loop and hold it.

    Arguments:
        tree: a pytree of arrays, parameters.
        now: arrays that are other ones at each turn.
    """
    if dict(jax.sharding.get_abstract_mesh().shape).get("fsdp", 1) > 1:
        tree, _ = jax.lax.optimization_barrier((tree, now))
    return whole(tree)


def whole(tree: Any) -> Any:
    """The arrays of a tree, whole on every device of the mesh that `jax.set_mesh` set, if any. Under jit.

    Of parameters, where they are used in full: without it the compiler may move activations to where a parameter's parts lie,
    which takes more exchanges and larger ones. Of what all devices decide alike from whole numbers: none asks another.
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
    """One batch of several alike: a pytree of arrays (K B, ...) of K pytrees of arrays (B, ...). `unstacked` takes it apart.

    Each device puts its own rows of one batch behind those of another, so that no row travels; on one device, all of them.
    """

    def one(*parts):
        count = _blocks(len(parts[0]))
        blocks = [part.reshape(count, -1, *part.shape[1:]) for part in parts]
        return jnp.concatenate(blocks, 1).reshape(-1, *parts[0].shape[1:])

    return jax.tree.map(one, *batches)


def unstacked(x: Shaped[Array, "..."], batches: int) -> Shaped[Array, "..."]:
    """The K batches (K, B, ...) that `stacked` made (K B, ...) of."""
    rows = len(x) // batches
    blocks = x.reshape(_blocks(rows), batches, -1, *x.shape[1:])
    return jnp.moveaxis(blocks, 0, 1).reshape(batches, rows, *x.shape[1:])


def _blocks(rows: int) -> int:
    """In how many blocks the devices of the mesh that `jax.set_mesh` set hold so many rows."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if set(AXES) - set(mesh.axis_names) or rows % mesh.size else mesh.size


def own_rows(mesh: Mesh, count: int) -> slice:
    """The rows of a batch of `count` that this process feeds and holds: a block, the same on each of its devices' behalf.

    Raises:
        InputError: the devices do not divide the batch.
    """
    check_divides(mesh, count)
    each = count // mesh.size
    places = [i for i, device in enumerate(mesh.devices.flat) if device.process_index == jax.process_index()]
    return slice(each * places[0], each * (places[-1] + 1))


def check_divides(mesh: Mesh, count: int, name: str = "a batch") -> None:
    """Raises `InputError` for a number of rows that the devices of a mesh do not divide; `name` is what is told of it."""
    if count % mesh.size:
        raise InputError(f"{name} of {count} does not divide over the {mesh.size} devices of the mesh {_told(mesh)}")


def _told(mesh: Mesh) -> str:
    return ",".join(f"{name}={size}" for name, size in mesh.shape.items())


def deal(mesh: Mesh, rows: Any) -> Any:
    """A batch on all devices, from the rows that each process feeds, see `own_rows`: a pytree of arrays (B / P, ...)."""
    return jax.tree.map(partial(jax.make_array_from_process_local_data, batch_sharding(mesh)), rows)


def place(tree: Any, shardings: Any) -> Any:
    """Arrays that every process has whole, laid out. No process asks another.

    Arguments:
        tree: a pytree of arrays.
        shardings: of the same structure, or one for all.
    """
    if not isinstance(shardings, NamedSharding):
        return jax.tree.map(place, tree, shardings)

    def one(leaf):
        return jax.make_array_from_callback(leaf.shape, shardings, lambda index: leaf[index])

    return jax.tree.map(one, tree)


def rows_here(x: Array) -> Shaped[np.ndarray, "..."]:
    """The rows of a dealt batch that lie on this process's devices, in order, on the host."""
    parts = {shard.index[0].start or 0 if shard.index else 0: shard.data for shard in x.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


# --- what processes tell one another -------------------------------------------------------------------------------------


def is_first() -> bool:
    """Whether this process writes what is written once. Never branch round a computation by it: all processes run all."""
    return jax.process_index() == 0


def gathered(tree: Any) -> Any:
    """The arrays of a tree on the host of every process, wherever they lie. Every process calls it."""
    leaves, structure = jax.tree.flatten(tree)
    apart = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) and not leaf.is_fully_replicated]
    apart = [i for i in apart if not leaves[i].is_fully_addressable]
    if apart:
        whole = jax.jit(lambda *each: each, out_shardings=replicated(leaves[apart[0]].sharding.mesh))
        for i, leaf in zip(apart, whole(*(leaves[i] for i in apart)), strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])


def exchange(message: bytes) -> list[bytes]:
    """What every process says, in their order. Bytes, so that float64 arrives as it left. Every process calls it.

    Raises:
        LostProcess: another process has ended.
    """
    if jax.process_count() == 1:
        return [message]
    try:
        return _exchanged(message)
    # Gloo's are ValueErrors
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise LostProcess(f"another process of the run has ended, or is out of reach: {str(error).splitlines()[0]}") from error


def _exchanged(message: bytes) -> list[bytes]:
    sizes = np.asarray(multihost_utils.process_allgather(np.array([len(message)], np.int32))).ravel()
    # lengths by powers of two: each length is a program of its own
    padded = np.zeros(max(64, 1 << int(sizes.max() - 1).bit_length()), np.uint8)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def of_first(tree: Any) -> Any:
    """The arrays of a tree as the first process has them, bit for bit, on the host of every process. Every process calls it.

    What processes have computed alike may differ in its last digits where their machines do; what they decide by it must not.
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    told = exchange(b"".join(leaf.tobytes() for leaf in leaves) if is_first() else b"")[0]
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = [told[end - leaf.nbytes : end] for leaf, end in zip(leaves, ends, strict=True)]
    arrays = [np.frombuffer(part, leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


def together(function: Callable[[], Any]) -> list[Any]:
    """What a function that touches files gives in each process, JSON-ready, in every process. Every process calls it.

    Raises:
        InputError: in every process, where it was raised in any: a run ends as a whole, or goes on as a whole. Another error is
            raised where it was, and told to all others by this one.
    """
    answer, error, text = None, None, None
    try:
        answer = function()
    except Exception as raised:
        error, text = raised, str(raised) if isinstance(raised, InputError) else f"{type(raised).__name__}: {raised}"
    told = [json.loads(each) for each in exchange(json.dumps([answer, text]).encode())]
    if error is not None and not isinstance(error, InputError):
        raise error
    failed = [(number, text) for number, (_, text) in enumerate(told) if text is not None]
    if failed:
        number, text = failed[0]
        raise InputError(text if jax.process_count() == 1 else f"process {number}: {text}") from error
    return [answer for answer, _ in told]


def in_all(function: Callable[[], Any]) -> Any:
    """What a function of files gives in this process, once it has in every one; else as `together`."""
    own = []
    together(lambda: own.append(function()))
    return own[0]


def once(function: Callable[[], Any]) -> Any:
    """What a function of files gives in the first process, which alone runs it, in every process; else as `together`."""
    return together(lambda: function() if is_first() else None)[0]
