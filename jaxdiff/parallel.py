"""Devices and hosts: one mesh, what is laid out over it, and what its processes tell one another. No other module knows hosts.

A program runs once in each of P processes, all of which run every computation in step (JAX's multi-controller model). The
devices of all form a mesh of two axes: a batch is dealt over both, parameters are whole on every device, or dealt over `fsdp`.
Inside `jax.set_mesh(mesh)` the library's samplers and searches deal their batches by themselves, see `over_devices`.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from jaxdiff.errors import InputError

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
    try:
        jax.distributed.initialize(
            coordinator, processes, process_id, initialization_timeout=seconds, heartbeat_timeout_seconds=HEARTBEAT
        )
    except (RuntimeError, ValueError) as error:
        where = f"{coordinator}, process {process_id} of {processes}" if processes else "the environment's coordinator"
        raise InputError(f"not all processes joined within {seconds} s ({where}): {str(error).splitlines()[0]}") from error


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
    owners = [device.process_index for device in mesh.devices.flat]
    if any(a > b for a, b in zip(owners, owners[1:], strict=False)):
        ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
        mesh = Mesh(np.array(ordered).reshape(sizes), AXES, axis_types=axis_types)
    return mesh


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


def _parameter_spec(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    divisible = [axis for axis, size in enumerate(shape) if size % devices == 0]
    if devices == 1 or math.prod(shape) < SMALL or not divisible:
        return PartitionSpec()
    # of equals the last: the output channels of a convolution
    largest = max(divisible, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*(None,) * largest, "fsdp")


def over_devices(tree: Any) -> Any:
    """The arrays of a tree, dealt by their leading axis over the mesh that `jax.set_mesh` set; as they are where none is."""
    if set(AXES) - set(jax.sharding.get_abstract_mesh().axis_names):
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec(AXES)), tree)


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

    def one(leaf):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable and not leaf.is_fully_replicated:
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(one, tree)


def exchange(message: bytes) -> list[bytes]:
    """What every process says, in their order. Bytes, so that float64 arrives as it left. Every process calls it."""
    if jax.process_count() == 1:
        return [message]
    sizes = np.asarray(multihost_utils.process_allgather(np.array([len(message)], np.int32))).ravel()
    padded = np.zeros(max(1, sizes.max()), np.uint8)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def together(function: Callable[[], Any]) -> list[Any]:
    """What a function that touches files gives in each process, JSON-ready, in every process. Every process calls it.

    Raises:
        InputError: in every process, where it was raised in any: a run ends as a whole, or goes on as a whole.
    """
    answer, error = None, None
    try:
        answer = function()
    except InputError as raised:
        error = raised
    told = [json.loads(each) for each in exchange(json.dumps([answer, error and str(error)]).encode())]
    failed = [(number, text) for number, (_, text) in enumerate(told) if text is not None]
    if failed:
        number, text = failed[0]
        raise InputError(text if jax.process_count() == 1 else f"process {number}: {text}") from error
    return [answer for answer, _ in told]


def once(function: Callable[[], Any]) -> Any:
    """What a function of files gives in the first process, which alone runs it, in every process; else as `together`."""
    return together(lambda: function() if is_first() else None)[0]
