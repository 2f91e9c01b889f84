"""Files of torch.save are read without torch, and no pickle in them runs code or reads past its bytes.

The files are put together here, opcode by opcode, from the description of the format.
"""

import io
import os
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import torch_file
from jaxdiff.errors import InputError

TYPES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1",
    "Bool": "?",
}  # fmt: skip


class Raw(bytes):
    """Opcodes, as they are."""


def named(module: str, name: str) -> Raw:
    """The opcode that puts something of a module on the stack."""
    return Raw(f"c{module}\n{name}\n".encode())


def called(function: Raw, *arguments) -> Raw:
    """The opcodes of a call."""
    return Raw(function + code(arguments) + b"R")


def storage(kind: str, key: str, count: int, *, legacy: bool = False) -> Raw:
    """The opcodes of a reference to a storage."""
    return Raw(code(("storage", named("torch", f"{kind}Storage"), key, "cpu", count, *([None] if legacy else []))) + b"Q")


def tensor(numbers: Raw, size, stride, offset: int = 0) -> Raw:
    """The opcodes of a tensor over a storage."""
    hooks = called(named("collections", "OrderedDict"))
    return called(named("torch._utils", "_rebuild_tensor_v2"), numbers, offset, tuple(size), tuple(stride), False, hooks)


def code(value) -> bytes:
    """The opcodes of plain values and of what is made of them."""
    match value:
        case Raw():
            return value
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)
        case str():
            return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case list():
            return b"](" + b"".join(map(code, value)) + b"e"
        case dict():
            return b"}(" + b"".join(code(part) for pair in value.items() for part in pair) + b"u"
    raise TypeError(type(value))


def program(value) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + code(value) + b"."


def zipped(path, value, storages, *, compression=zipfile.ZIP_STORED, byteorder="little"):
    """A file as torch writes it since 1.6; `storages` are arrays by key."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program(value))
        archive.writestr("archive/byteorder", byteorder)
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", numbers.tobytes())
    return path


def in_a_row(path, value, storages, *, little=True, magic=0x1950A86A20F9469CFC6C):
    """A file as torch wrote it before 1.6."""
    pickles = (magic, 1001, {"protocol_version": 1001, "little_endian": little}, value, list(storages))
    rows = [array.size.to_bytes(8, "little") + array.tobytes() for array in storages.values()]
    path.write_bytes(b"".join([*map(program, pickles), *rows]))
    return path


def saved(path, state):
    """A state dictionary of contiguous arrays, in a zip."""
    kinds = {np.dtype(dtype): kind for kind, dtype in TYPES.items()}
    value = {}
    for index, (name, array) in enumerate(state.items()):
        strides = [step // array.itemsize for step in array.strides]
        value[name] = tensor(storage(kinds[array.dtype], str(index), array.size), array.shape, strides)
    return zipped(path, value, {str(index): array for index, array in enumerate(state.values())})


@pytest.fixture(params=["zip", "row"])
def write(request, tmp_path):
    """Writes a value and storages in either format: `write(value, storages)`; `write.legacy` says which."""

    def write(value, storages):
        return (in_a_row if write.legacy else zipped)(tmp_path / "file.pth", value, storages)

    write.legacy = request.param == "row"
    return write


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_read_as_it_was_written(kind, write, rng):
    numbers = rng.integers(0, 100, 6).astype(TYPES[kind])
    file = write({"a": tensor(storage(kind, "k", 6, legacy=write.legacy), (2, 3), (3, 1))}, {"k": numbers})
    read = torch_file.load(file)["a"]
    assert read.dtype == numbers.dtype
    np.testing.assert_array_equal(read, numbers.reshape(2, 3))


def test_bfloat16_is_read_as_the_upper_half_of_float32(write):
    exact = np.array([1.0, -2.5, 3.0e38, 0.0], np.float32)
    upper = (exact.view(np.uint32) >> 16).astype("<u2")
    file = write([tensor(storage("BFloat16", "0", 4, legacy=write.legacy), (4,), (1,))], {"0": upper})
    (read,) = torch_file.load(file)
    assert read.dtype == jnp.bfloat16
    np.testing.assert_array_equal(read.astype(np.float32).view(np.uint32) >> 16, upper)


def test_views_of_one_storage_differ_by_offset_size_and_stride(write):
    numbers = np.arange(24, dtype=np.float32)
    block = numbers.reshape(2, 3, 4)
    whole = storage("Float", "0", 24, legacy=write.legacy)
    value = {
        "all": tensor(whole, (2, 3, 4), (12, 4, 1)),
        "every second": tensor(whole, (2, 2), (12, 2), offset=4),
        "turned": tensor(whole, (4, 2, 3), (1, 12, 4)),
        "last": tensor(whole, (), (), offset=23),
        "none": tensor(whole, (0, 3), (3, 1), offset=24),
    }
    read = torch_file.load(write(value, {"0": numbers}))
    np.testing.assert_array_equal(read["all"], block)
    np.testing.assert_array_equal(read["every second"], block[:, 1, ::2])
    np.testing.assert_array_equal(read["turned"], block.transpose(2, 0, 1))
    assert read["last"].shape == () and read["last"] == 23 and read["none"].shape == (0, 3)
    assert not any(array.flags.writeable for array in read.values())


def test_plain_values_parameters_and_ordered_dictionaries_are_read_without_their_attributes(write):
    weight = tensor(storage("Float", "0", 1, legacy=write.legacy), (1,), (1,))
    parameter = called(named("torch._utils", "_rebuild_parameter"), weight, True, called(named("collections", "OrderedDict")))
    ordered = called(named("collections", "OrderedDict"))
    state = Raw(ordered + b"(" + code("w") + parameter + b"u" + code({"_metadata": {"": 1}, "items": "x"}) + b"b")
    read = torch_file.load(write([state, 3, -1, "text", None, True, (1, 2)], {"0": np.float32([2.5])}))
    assert list(read[0].items()) == [("w", np.float32([2.5]))] and not hasattr(read[0], "_metadata")
    assert read[1:] == [3, -1, "text", None, True, (1, 2)]


# What must not happen -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__builtin__", "exec"), ("builtins", "getattr"),
        ("collections", "OrderedDict.fromkeys"), ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("numpy", "dtype"),
        ("torch.nn.modules.linear", "Linear"), ("jaxdiff.torch_file", "load"),
    ],
)  # fmt: skip
def test_a_pickle_that_names_anything_else_is_refused_by_name(module, name, write):
    with pytest.raises(InputError, match=f"names {module}.{name}, which is neither") as caught:
        torch_file.load(write({"a": named(module, name)}, {}))
    assert "file.pth" in str(caught.value)


def test_a_pickle_that_would_run_a_command_runs_nothing(write, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    bomb = pickle.dumps(Bomb(), protocol=2)
    pickle.loads(bomb)  # the bomb is live
    (tmp_path / "ran").rmdir()
    with pytest.raises(InputError, match="posix.mkdir|nt.mkdir"):
        torch_file.load(write(Raw(bomb[2:-1]), {}))
    assert not (tmp_path / "ran").exists()


def test_the_first_pickles_of_an_old_file_are_read_as_strictly(tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(program(called(named("os", "getcwd"))))
    with pytest.raises(InputError, match="names os.getcwd"):
        torch_file.load(path)


@pytest.mark.parametrize("name", ["collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage"])
def test_a_pickle_cannot_change_what_it_names(name, write):
    before = torch_file.load(write([called(named("collections", "OrderedDict"))], {}))
    changed = Raw(named(*name.split()) + code((None, {"value": 1, "__defaults__": (1,)})) + b"b")
    with pytest.raises(InputError, match="sets attributes"):
        torch_file.load(write([changed], {}))
    assert torch_file.load(write([called(named("collections", "OrderedDict"))], {})) == before == [{}]


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((7,), (1,), 0), ((2,), (6,), 0), ((1,), (1,), 6), ((2,), (-1,), 3), ((-1,), (1,), 0), ((2,), (1,), -1),
        ((2, 3), (1,), 0), ((10**6, 10**6), (0, 0), 0), ((2**62, 4), (1, 0), 0),
    ],
)  # fmt: skip
def test_a_tensor_that_leaves_its_storage_is_refused(size, stride, offset, write):
    file = write([tensor(storage("Float", "0", 6, legacy=write.legacy), size, stride, offset)], {"0": np.zeros(6, "f4")})
    with pytest.raises(InputError, match="tensor (of|has)"):
        torch_file.load(file)


def test_a_storage_of_another_size_than_its_bytes_is_refused(write):
    for count, says in ((5, "storage 0"), (7, "storage 0|larger"), (-1, ""), (2**40, "storage 0 has 24 bytes|larger")):
        file = write([tensor(storage("Float", "0", count, legacy=write.legacy), (1,), (1,))], {"0": np.zeros(6, "f4")})
        with pytest.raises(InputError, match=f"no file of tensors .*({says})"):
            torch_file.load(file)


def test_a_storage_that_is_not_there_is_refused(write):
    file = write([tensor(storage("Float", "elsewhere", 6, legacy=write.legacy), (6,), (1,))], {"0": np.zeros(6, "f4")})
    with pytest.raises(InputError, match="elsewhere"):
        torch_file.load(file)


def test_a_file_that_is_cut_off_anywhere_is_refused(write, tmp_path):
    whole = write([tensor(storage("Float", "0", 6, legacy=write.legacy), (6,), (1,))], {"0": np.ones(6, "f4")}).read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut.pth is no file of tensors"):
            torch_file.load(path)


def test_other_files_are_refused(tmp_path):
    path, value = tmp_path / "file.pth", [tensor(storage("Float", "0", 6), (6,), (1,))]
    numbers = {"0": np.zeros(6, np.float32)}
    with pytest.raises(InputError, match="file .* does not exist"):
        torch_file.load(path)
    with pytest.raises(InputError, match="one data.pkl, got 0"):
        content = io.BytesIO()
        np.savez(content, a=np.zeros(2))
        path.write_bytes(content.getvalue())
        torch_file.load(path)
    with pytest.raises(InputError, match="is compressed"):
        torch_file.load(zipped(path, value, numbers, compression=zipfile.ZIP_DEFLATED))
    for big in (lambda: zipped(path, value, numbers, byteorder="big"), lambda: in_a_row(path, value, numbers, little=False)):
        with pytest.raises(InputError, match="big-endian"):
            torch_file.load(big())
    with pytest.raises(InputError, match="magic number"):
        torch_file.load(in_a_row(path, {}, {}, magic=7))


def test_a_place_in_the_memo_beyond_the_operations_is_refused_before_room_is_made(write):
    place = 10**5
    with pytest.raises(InputError, match="names place 100000 of its memo"):
        torch_file.load(write([Raw(b"N" + b"r" + place.to_bytes(4, "little"))], {}))
    assert torch_file.load(write([Raw(b"Nr" + (1).to_bytes(4, "little"))], {})) == [None]


def test_a_value_that_is_longer_than_the_file_is_refused_before_room_is_made(write):
    with pytest.raises(InputError, match="its pickle has a value of 16,777,216 bytes, beyond its end"):
        torch_file.load(write([Raw(b"X" + (2**24).to_bytes(4, "little") + b"x")], {}))


def test_entries_that_are_larger_than_their_file_are_refused(tmp_path):
    """Entries of one zip may lie on one another, and then hold more bytes than the zip."""
    file = saved(tmp_path / "file.pt", {"a": np.zeros(1000, np.float32), "b": np.ones(1000, np.float32)})
    torch_file.load(file)
    with zipfile.ZipFile(file) as archive, pytest.raises(Exception, match="its entries are larger than its 5000 bytes"):
        torch_file._from_zip(archive, 5000)
