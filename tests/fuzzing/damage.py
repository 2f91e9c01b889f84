"""Damages to valid files, as hypothesis strategies: bytes of any file, and fields of structured ones.

`damaged(content, name)` is the content of a file with some of it cut, flipped, replaced, inserted, doubled or swapped. Files of
a kind in `STRUCTURES` are half of the time taken apart instead, and a part of them is damaged and put back with the checksums
right, so that readers get past them. What was done is noted, and shown with an example that fails.
"""

import csv
import io
import json
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath

from hypothesis import note
from hypothesis import strategies as st

DEEP = "[" * 100_000
NUMBERS = (0, 1, -1, 2, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1, 10**20, 10**400)
TEXTS = (
    "", " ", "x", "0", "-1", "1.5", "nan", "None", "1" * 30, "1" * 5000, "../x", "/x", "a/../../x", ".", "\\x", "x\x00y",
    "\ud800", "$x^", "[red]", "é" * 300, "\n", "x,y", '"', "1e999", "true", "٣",
)  # fmt: skip
VALUES = (None, True, False, 1.5, -0.5, float("nan"), float("inf"), [], {}, [[]], [None], {"x": 1}, *NUMBERS, *TEXTS)
NAMES = ("", ".", "..", "../x", "/x", "a/../../x", "C:\\x", "\\\\h\\x", "x\ny", "a/" * 100 + "x", "é", ".x", "x" * 300)


@st.composite
def damaged(draw, content: bytes, name: str) -> bytes:
    """The content of a file with some damage; the suffix of its name says what its structure is, or else how it begins."""
    suffix = PurePosixPath(name).suffix.lower()
    structure = STRUCTURES.get(suffix or (".json" if content.startswith(b"{") else ""))
    if structure is not None and content and draw(st.booleans()):
        return draw(structure(content))
    for _ in range(draw(st.integers(1, 3))):
        content = draw(_damaged_bytes(content))
    return content


@st.composite
def _damaged_bytes(draw, content: bytes) -> bytes:
    """Bytes with one damage."""
    size = len(content)
    # beginnings and ends hold what the rest is read by
    places = st.one_of(st.integers(0, size), st.integers(0, min(size, 64)), st.integers(max(0, size - 256), size))
    start, stop = sorted((draw(places), draw(places)))
    kind = draw(st.sampled_from(("cut", "flip", "replace", "remove", "double", "swap", "insert")))
    note(f"{kind} at {start} to {stop} of {size}")
    if kind == "cut":
        return content[:start]
    if kind == "flip":
        flipped = bytes(each ^ (1 << draw(st.integers(0, 7))) for each in content[start : start + 1])
        return content[:start] + flipped + content[start + 1 :]
    if kind == "replace":
        new = draw(_words())
        return content[:start] + new + content[start + len(new) :]
    if kind == "remove":
        return content[:start] + content[stop:]
    if kind == "double":
        return content[:stop] + content[start:]
    if kind == "swap":
        return content[stop:] + content[start:stop] + content[:start]
    return content[:start] + draw(_words()) + content[start:]


def _words() -> st.SearchStrategy[bytes]:
    """A few bytes; numbers of any width and order among them."""
    numbers = st.tuples(st.sampled_from(NUMBERS[:-2]), st.sampled_from((1, 2, 4, 8)), st.sampled_from(("little", "big")))
    return st.one_of(st.binary(min_size=1, max_size=8), numbers.map(lambda n: (n[0] % 256 ** n[1]).to_bytes(n[1], n[2])))


@st.composite
def json_fields(draw, content: bytes) -> bytes:
    """JSON with an entry that is replaced, removed, renamed, doubled or nested deep."""
    tree = json.loads(content)
    places = _places(tree)
    if not places:
        return draw(_damaged_bytes(content))
    holder, key = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "double", "deep")))
    note(f"{kind} entry {key!r}")
    if kind == "replace":
        holder[key] = draw(st.sampled_from(VALUES))
    elif kind == "remove":
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        holder[draw(st.sampled_from(TEXTS))] = holder.pop(key)
    elif kind == "double" and isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[key] = "DEEP"
    return json.dumps(tree).replace('"DEEP"', DEEP, 1).encode()


def _places(tree) -> list:
    """The (container, key) of every entry of a tree, the outer ones first; of long lists the first and last."""
    found, level = [], [tree]
    while level:
        inner = []
        for holder in level:
            keys = list(holder) if isinstance(holder, dict) else sorted({*range(min(3, len(holder))), len(holder) - 1})
            found += [(holder, key) for key in keys]
            inner += [holder[key] for key in keys if isinstance(holder[key], dict | list) and holder[key]]
        level = inner
    return found


@st.composite
def json_lines(draw, content: bytes) -> bytes:
    """Lines of JSON, of which one is damaged."""
    lines = content.split(b"\n")
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = draw(json_fields(lines[at])) if lines[at] else b"[]"
    return b"\n".join(lines)


@st.composite
def csv_cells(draw, content: bytes) -> bytes:
    """A table with a cell or a row that is replaced, removed, doubled or swapped with another."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    first, second = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, len(rows) - 1))
    column = draw(st.integers(0, max(0, len(rows[first]) - 1)))
    kind = draw(st.sampled_from(("cell", "cell", "remove", "double cell", "row", "double row", "swap", "long", "quote")))
    note(f"{kind} in row {first + 1}, column {column + 1}")
    if kind == "cell":
        rows[first][column : column + 1] = [draw(st.sampled_from(TEXTS))]
    elif kind == "remove":
        del rows[first][column : column + 1]
    elif kind == "double cell":
        rows[first].append(rows[first][column] if rows[first] else "x")
    elif kind == "row":
        del rows[first]
    elif kind == "double row":
        rows.insert(second, rows[first])
    elif kind == "swap":
        rows[first], rows[second] = rows[second], rows[first]
    elif kind == "long":
        rows[first][column : column + 1] = ["x" * (csv.field_size_limit() + 1)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    found = text.getvalue() + ('"' if kind == "quote" else "")
    return found.encode(errors="surrogatepass")


_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
# place and width of the fields: flags, method, checksum, compressed size, size, and the lengths of name and extra field
_CENTRAL_FIELDS = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4))
_LOCAL_FIELDS = ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))


@st.composite
def zip_members(draw, content: bytes) -> bytes:
    """A zip with a member that is damaged, renamed, removed or doubled, or with a field of a header replaced."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(each.filename, archive.read(each), each.compress_type) for each in archive.infolist()]
    at = draw(st.integers(0, len(members) - 1))
    name, data, method = members[at]
    kind = draw(st.sampled_from(("damage", "damage", "field", "field", "rename", "remove", "double", "comment")))
    note(f"{kind} member {name}")
    if kind == "field":
        found = bytearray(content)
        for mark, fields in ((_CENTRAL, _CENTRAL_FIELDS), (_LOCAL, _LOCAL_FIELDS)):
            starts = [match.start() for match in re.finditer(re.escape(mark), content)]
            place, width = draw(st.sampled_from(fields))
            if draw(st.booleans()):
                value = draw(st.one_of(st.integers(0, 99), st.sampled_from(NUMBERS[:-2])))
                start = starts[min(at, len(starts) - 1)] + place
                found[start : start + width] = (value % 256**width).to_bytes(width, "little")
        return bytes(found)
    if kind == "damage":
        members[at] = name, draw(damaged(data, name)), method
    elif kind == "rename":
        members[at] = draw(st.sampled_from((*NAMES, *(each for each, _, _ in members)))), data, method
    elif kind == "remove":
        del members[at]
    elif kind == "double":
        members.append((name, draw(st.sampled_from((data, b"", b"x"))), method))
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for each, part, how in members:
            info = zipfile.ZipInfo("x")
            info.filename = each  # as it is, where the constructor makes it valid
            info.compress_type = how
            archive.writestr(info, part)
        if kind == "comment":
            archive.comment = draw(st.sampled_from((_CENTRAL, b"PK\x05\x06" + bytes(18))))
    return file.getvalue()


@st.composite
def tar_members(draw, content: bytes) -> bytes:
    """A tar with a member that is damaged, or with a field of its header replaced, and the checksum right."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = draw(st.sampled_from(archive.getmembers()))
    start, data = member.offset, content[member.offset_data : member.offset_data + member.size]
    note(f"member {member.name}")
    if draw(st.booleans()):
        # the size and the bytes of a file are kept in step
        new = draw(damaged(data, member.name))
        header = bytearray(content[start : start + tarfile.BLOCKSIZE])
        header[124:136] = b"%011o\0" % len(new)
        rest = content[member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE :]
        return content[:start] + _tar_checked(header) + new + bytes(-len(new) % tarfile.BLOCKSIZE) + rest
    place, width = draw(st.sampled_from(((0, 100), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))))
    value = draw(st.one_of(
        st.sampled_from((*NAMES, *(name for name in ("0.png", "L", "K", "x", "g", "S", "1", "2", "3", "6")))).map(str.encode),
        st.sampled_from((b"7" * 11, b"-1", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(3) + b"\x7f" * 8)),
    ))  # fmt: skip
    header = bytearray(content[start : start + tarfile.BLOCKSIZE])
    header[place : place + width] = value[:width].ljust(width, b"\0")
    return content[:start] + _tar_checked(header) + content[start + tarfile.BLOCKSIZE :]


def _tar_checked(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@st.composite
def npy_header(draw, content: bytes) -> bytes:
    """An array with another header."""
    size = struct.unpack("<H", content[8:10])[0]
    header = content[10 : 10 + size].decode("latin1")
    kind = draw(st.sampled_from(("shape", "shape", "descr", "order", "text")))
    note(f"{kind} of the header {header.strip()}")
    if kind == "shape":
        shapes = st.lists(st.sampled_from((0, 1, 2, 3, 8, 10**6, 10**7, 2**32, 2**62, 10**20, -1, 1.5, "x", None)), max_size=5)
        header = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': {tuple(draw(shapes))!r}", header)
    elif kind == "descr":
        kinds = (
            "|O",
            "|u1",
            "<i8",
            ">f8",
            "<f2",
            "<U9",
            "|S0",
            "|V9",
            "<M8[s]",
            "<c8",
            "x",
            "<U99999999",
            "|b1",
            "(10,)u1",
            "g",
        )
        descr = draw(st.one_of(st.sampled_from(kinds).map(repr), st.just("[('a', '<f4'), ('b', '|O')]"), st.just("1")))
        header = re.sub(r"'descr': '[^']*'", f"'descr': {descr}", header)
    elif kind == "order":
        header = re.sub("False", draw(st.sampled_from(("True", "None", "1"))), header)
    else:
        header = draw(
            st.sampled_from(("{", "((((", DEEP, "{}", "[]", "1", "", "{'descr': [[[[((\n", "__import__('os')", "\x00"))
        )
    new = header.encode("latin1")[:65535]
    return content[:8] + struct.pack("<H", len(new)) + new + content[10 + size :]


@st.composite
def png_chunks(draw, content: bytes) -> bytes:
    """A PNG with a chunk that is damaged, removed, doubled or moved, or of other dimensions; checksums are right."""
    chunks, at = [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    place = draw(st.integers(0, len(chunks) - 1))
    kind = draw(st.sampled_from(("damage", "damage", "header", "remove", "double", "swap", "text")))
    note(f"{kind} chunk {chunks[place][0].decode()}")
    if kind == "damage":
        chunks[place] = chunks[place][0], draw(_damaged_bytes(chunks[place][1]))
    elif kind == "header":
        numbers = st.sampled_from((0, 1, 7, 9, 2048, 70_000, 2**31 - 1, 2**32 - 1))
        depth, colour = draw(st.sampled_from((1, 2, 4, 8, 16, 3))), draw(st.sampled_from((0, 2, 3, 4, 6, 1)))
        chunks[0] = b"IHDR", struct.pack(">IIBBBBB", draw(numbers), draw(numbers), depth, colour, 0, 0, draw(st.integers(0, 2)))
    elif kind == "remove":
        del chunks[place]
    elif kind == "double":
        chunks.insert(place, chunks[place])
    elif kind == "swap":
        chunks[place], chunks[0] = chunks[0], chunks[place]
    else:
        chunks.insert(1, (draw(st.sampled_from((b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"iCCP"))), draw(st.binary(max_size=40))))
    parts = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    return content[:8] + b"".join(parts)


@st.composite
def safetensors_header(draw, content: bytes) -> bytes:
    """A safetensors file with an entry of its header damaged."""
    size = int.from_bytes(content[:8], "little")
    header = draw(json_fields(content[8 : 8 + size]))
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


STRUCTURES: dict[str, Callable[[bytes], st.SearchStrategy[bytes]]] = {
    ".csv": csv_cells,
    ".json": json_fields,
    ".jsonl": json_lines,
    ".npy": npy_header,
    ".npz": zip_members,
    ".png": png_chunks,
    ".pt": zip_members,
    ".safetensors": safetensors_header,
    ".tar": tar_members,
    ".zip": zip_members,
}
"""What takes a file apart, by its suffix."""
