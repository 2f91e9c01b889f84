"""The mesh: sizes, order and placement; and exact exchanges between processes."""

import json
import socket
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxdiff import parallel
from jaxdiff._console.hosts import Hosts
from jaxdiff.errors import InputError
from tests.processes import free_port, run, succeed


@pytest.mark.parametrize(
    ("text", "count", "sizes"),
    [
        ("", 8, (8, 1)),
        ("data=8", 8, (8, 1)),
        ("fsdp=4", 8, (2, 4)),
        ("data=2", 8, (2, 4)),
        ("fsdp=2,data=4", 8, (4, 2)),
        ("", 1, (1, 1)),
        ("fsdp=256", 256, (1, 256)),
    ],
)
def test_a_mesh_takes_the_devices_that_are_left(text, count, sizes):
    assert parallel.mesh_sizes(text, count) == sizes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fsdp=3", ["'fsdp=3'", "there are 8"]),
        ("data=4,fsdp=4", ["data=4 x fsdp=4", "there are 8"]),
        ("model=2", ["data=8,fsdp=4", "'model=2'"]),
        ("data=2,data=4", ["at most once"]),
        ("data=0", ["at least 1"]),
        ("data=" + "9" * 5000, ["at least 1", "999..."]),
        ("data", ["'data'"]),
    ],
)
def test_a_mesh_that_the_devices_do_not_make_is_refused(text, words):
    with pytest.raises(InputError) as refused:
        parallel.mesh_sizes(text, 8)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "devices", "spec"),
    [
        ((3, 3, 64, 128), 8, P(None, None, None, "fsdp")),
        ((3, 3, 128, 64), 8, P(None, None, "fsdp")),
        ((256, 256), 8, P(None, "fsdp")),  # of equals the last
        ((255, 128), 8, P(None, "fsdp")),  # the largest that it divides
        ((129, 255), 8, P()),
        ((64, 64), 8, P()),  # small
        ((3, 3, 64, 128), 1, P()),
        ((), 8, P()),
    ],
)
def test_parameters_are_sharded_by_the_largest_axis_that_divides(shape, devices, spec):
    assert parallel._parameter_spec(shape, devices) == spec


def test_each_process_has_one_block_of_the_batch_whatever_the_order_of_devices():
    """Four processes of two devices, as some wiring has them; devices that come in blocks stay as they are."""
    owners = [3, 0, 2, 1, 0, 3, 1, 2]
    devices = np.array([SimpleNamespace(process_index=owner, id=number) for number, owner in enumerate(owners)])
    ordered = parallel._in_blocks(devices.reshape(2, 4))
    assert ordered.shape == (2, 4)
    assert [device.process_index for device in ordered.flat] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [device.id for device in ordered.flat] == [1, 4, 3, 6, 2, 7, 0, 5]
    turned = ordered[:, [1, 0, 3, 2]]
    assert parallel._in_blocks(turned) is turned


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"coordinator": "here:1"}, ["--processes, --process-id is missing"]),
        ({"coordinator": "here:1", "processes": 2, "process_id": 2}, ["within 0 and 1, got 2"]),
        ({"coordinator": "here:1", "processes": 2, "process_id": 0, "distributed": True}, ["use one of them"]),
        ({"coordinator": "here", "processes": 2, "process_id": 1}, ["HOST:PORT", "got 'here'"]),
        ({"coordinator": "here:0", "processes": 2, "process_id": 1}, ["from 1 to 65535", "got 'here:0'"]),
        ({"coordinator": "here:65536", "processes": 2, "process_id": 0}, ["from 1 to 65535"]),
        ({"arrival_seconds": 0}, ["--arrival-seconds", "0"]),
        ({"mesh": "fsdp=3,data=7"}, ["devices, there are"]),
    ],
)
def test_hosts_that_cannot_be_joined_are_refused_at_once(given, words):
    with pytest.raises(InputError) as refused:
        Hosts(**given).make_mesh()
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("address", ["", "127.0.0.1"])
def test_a_port_that_is_taken_is_refused_before_jax_starts(address):
    with socket.create_server((address, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"`coordinator` 127.0.0.1:{port} cannot listen on .*; choose another port"):
            Hosts(coordinator=f"127.0.0.1:{port}", processes=2, process_id=0).join()
    # a connection that has just been closed does not count
    with socket.create_server(("127.0.0.1", port)) as served, socket.create_connection(("127.0.0.1", port)):
        served.accept()[0].close()
    parallel._check_coordinator(f"127.0.0.1:{port}", listens=True)


def test_a_single_process_exchanges_with_itself():
    assert parallel.exchange(b"word") == [b"word"]
    assert parallel.gather_results(lambda: [1, "a"]) == [[1, "a"]]
    assert parallel.run_on_first(lambda: 3) == 3
    assert parallel.run_on_all(lambda: {1, 2}) == {1, 2}
    with pytest.raises(InputError, match="^no file$"):
        parallel.gather_results(fails)


def fails():
    raise InputError("no file")


def test_without_a_mesh_nothing_is_laid_out():
    x = jnp.ones(3)
    assert parallel.shard_batch({"x": x})["x"] is parallel.shard_parameters(x) is parallel.replicate(x) is x


def test_a_host_that_never_arrives_is_an_error_of_one_line():
    joining = f"parallel.join('127.0.0.1:{free_port()}', 2, 0, 2)"
    code = f"from jaxdiff._console.terminal import run\nfrom jaxdiff import parallel\nrun(lambda: {joining})"
    (ended,) = run(("-c", code), 1)
    assert ended.code == 2
    assert "error: not all processes joined within 2 s" in ended.output and "Traceback" not in ended.output


SPOKEN = """
import json
import numpy as np
from jaxdiff.errors import InputError

me = jax.process_index()
mesh = parallel.make_mesh("fsdp=2")
exact = np.array([1 / 3, 1e-300, np.pi])[: me + 2]
heard = [np.frombuffer(each).tolist() for each in parallel.exchange(exact.tobytes())]
report = {"heard": heard, "results": parallel.gather_results(lambda: {"me": me})}
report["first"] = parallel.run_on_first(lambda: f"of {me}")

def failing():
    if me == 1:
        raise InputError("no such folder")

for name, function in (("gather_results", parallel.gather_results), ("run_on_all", parallel.run_on_all)):
    try:
        function(failing)
    except InputError as error:
        report[f"{name} failing"] = str(error)
try:
    parallel.run_on_first(lambda: failing())
    parallel.run_on_first(lambda: [][0] if me else 1)
    report["of the first alone"] = True
except InputError:
    report["of the first alone"] = False

rows = parallel.process_rows(mesh, 8)
whole = np.arange(16.0, dtype=np.float32).reshape(8, 2)
sharded = parallel.shard_rows(mesh, whole[rows])
report["rows"] = [rows.start, rows.stop]
report["here"] = np.array_equal(parallel.local_rows(sharded), whole[rows])
report["gathered"] = np.array_equal(parallel.gather(sharded), whole)
w = np.arange(32768.0, dtype=np.float32).reshape(128, 256)
placed = parallel.place({"w": w}, parallel.parameter_shardings(mesh, {"w": w}))["w"]
report["part"] = [[each.data.shape, bool((each.data == w[each.index]).all())] for each in placed.addressable_shards]
report["whole"] = np.array_equal(parallel.gather({"w": placed})["w"], w)
try:
    parallel.process_rows(mesh, 6)
except InputError as error:
    report["undivided"] = str(error)
with jax.set_mesh(mesh):
    halves = jax.jit(lambda x: parallel.shard_batch(x * 2))(whole)
report["sharded under jit"] = np.array_equal(parallel.local_rows(halves), 2 * whole[rows])
print("RESULTS", json.dumps(report))
"""


def test_two_processes_exchange_exactly():
    outputs = [json.loads(output.split("RESULTS ")[1].splitlines()[0]) for output in succeed(("-c", SPOKEN), 2, devices=2)]
    for me, one in enumerate(outputs):
        assert one["heard"] == [[1 / 3, 1e-300], [1 / 3, 1e-300, np.pi]]
        assert (one["results"], one["first"]) == ([{"me": 0}, {"me": 1}], "of 0")
        assert one["gather_results failing"] == one["run_on_all failing"] == "process 1: no such folder"
        assert one["of the first alone"]
        assert one["rows"] == [4 * me, 4 * me + 4]
        assert one["here"] and one["gathered"] and one["sharded under jit"]
        assert one["part"] == [[[128, 128], True]] * 2 and one["whole"]
        assert one["undivided"] == "a batch of 6 does not divide over the 4 devices of the mesh data=2,fsdp=2"
