"""The boundary between files, which may be damaged or hostile, and the library."""

import json
import os
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError

MOST_TEXT = 2**28
"""Bytes of the largest text file that is read."""
MOST_BYTES = 2**31
"""Bytes of the largest file that is read whole: an image, or an archive in an archive."""
EXPANSION = 200
"""How many times its size a file may be compressed, where it is large; tables of labels are compressed 30 times."""
SMALL = 2**26
"""Bytes up to which a compressed file may be compressed any number of times."""
DEPTH = 100
"""How deep JSON may be nested."""


@contextmanager
def reading(what: str | os.PathLike, remedy: str = "") -> Generator[None, None, None]:
    """Within, whatever is raised about the content of a file is an `InputError` that names it.

    Arguments:
        what: the file, or a part of it.
        remedy: what the user can do, for the end of the message.

    Raises:
        InputError: for every exception of a library or of Python, and with the file's name before a message that lacks it.
    """
    name, what, remedy = Path(what).name, shown(os.fspath(what)), f"; {remedy}" if remedy else ""
    try:
        yield
    except InputError as error:
        text = str(error) if name in str(error) else f"{what}: {error}{remedy}"
        if text == str(error) == shown(text):
            raise
        raise type(error)(shown(text)) from error
    except MemoryError as error:
        raise InputError(f"{what} takes more memory than there is{remedy}") from error
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}{remedy}") from error
    except RecursionError as error:
        raise InputError(f"{what} is damaged: it is nested too deep{remedy}") from error
    except KeyError as error:
        raise InputError(f"{what} is damaged: it has no {shortened(error.args[0] if error.args else '')}{remedy}") from error
    except Exception as error:
        raise InputError(f"{what} is damaged: {line(error)}{remedy}") from error


def require_regular(file: Path) -> None:
    """Raises `InputError` unless a file exists and is a regular one: reading a pipe or a device may never end."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"file {file} does not exist") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {line(error)}") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{file} is no regular file but a {'folder' if stat.S_ISDIR(mode) else 'pipe or a device'}")


def require_size(size: int, what: str | os.PathLike, *, packed: int | None = None, most: int | None = MOST_BYTES) -> None:
    """Raises `InputError` unless a file may be read whole, before it is.

    Arguments:
        size: its bytes.
        what: its name.
        packed: its bytes in the archive that holds it compressed.
        most: the most bytes it may have; None for any number, of data that are meant to be large.
    """
    if most is not None and size > most:
        raise InputError(f"{os.fspath(what)} has {size:,} bytes, more than the {most:,} that are read at once")
    if packed is not None and size > SMALL and size > EXPANSION * packed:
        raise InputError(
            f"{os.fspath(what)} would unpack from {packed:,} to {size:,} bytes, more than {EXPANSION} times its size, as files "
            "made to fill memory do; unpack it, or write it without compression, if it is meant to"
        )


def read_bytes(file: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        InputError: it does not exist, is no regular file, or is too large.
    """
    require_regular(file)
    with reading(file), open(file, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        require_size(size, file, most=most)
        content = opened.read(size + 1)
        if len(content) > size:  # it grows, or the system makes it up as it is read
            raise InputError(f"{file} changes while it is read")
        return content


def read_text(file: Path) -> str:
    """The text of a regular file, UTF-8.

    Raises:
        InputError: it does not exist, is no regular file, too large or not of UTF-8.
    """
    content = read_bytes(file, MOST_TEXT)
    with reading(file):
        return content.decode()


def parse_json(text: str | bytes, what: str | os.PathLike) -> dict[str, Any]:
    """The JSON object in a text.

    Arguments:
        text: the text, or its bytes in UTF-8.
        what: the file, for errors.

    Raises:
        InputError: it is no JSON, nested too deep, or no object.
    """
    content = json_value(text, what)
    if not isinstance(content, dict):
        raise InputError(f"{what} must hold a JSON object, got {type(content).__name__}")
    return content


def json_value(text: str | bytes, what: str | os.PathLike) -> Any:
    """The value of any type in a text of JSON; as `parse_json` otherwise."""
    with reading(what):
        require_size(len(text), what, most=MOST_TEXT)
        content = json.loads(text)
        level, depth = [content], 0
        while level := [inner for each in level if isinstance(each, dict | list) for inner in _entries(each)]:
            depth += 1
            if depth > DEPTH:
                raise RecursionError
    return content


def _entries(holder: dict | list) -> Iterable[Any]:
    return holder.values() if isinstance(holder, dict) else holder


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; errors as in `read_text` and `parse_json`."""
    return parse_json(read_text(file), file)


def line(error: BaseException) -> str:
    """The first line of an error message, shortened; the error's kind where it has none."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return shown(first, 500)


def shown(text: str, most: int = 2000) -> str:
    """A text for a message: of bounded length, and without characters that a terminal does not print."""
    text = text if len(text) <= most else f"{text[: most - 60]} ... {text[-50:]}"
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
