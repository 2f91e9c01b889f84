"""The work of `jaxdiff cache`."""

import time

from rich.table import Table

from jaxdiff._console import cache, image_cache
from jaxdiff._console.terminal import console

from .options import Clear, List

_UNITS = ("B", "KiB", "MiB", "GiB")


def show(options: List) -> None:
    """Prints the cached files."""
    table = Table("kind", "size", "last used", "what", title=str(cache.folder("images").parent))
    total = 0
    for cached in cache.files("images"):
        what = "of an earlier version" if cached.file.suffix == ".npy" else image_cache.about(cached) or "damaged"
        table.add_row("images", _size(cached.size), _ago(cached.used), what)
        total += cached.size
    programs = cache.files("programs")
    if programs:
        size = sum(each.size for each in programs)
        table.add_row("programs", _size(size), _ago(programs[0].used), f"{len(programs)} files of compiled programs")
        total += size
    if table.row_count:
        console.print(table)
    limit = f"at most {_size(cache.MOST)} of each kind; what was not used for {cache.DAYS} days is removed"
    console.print(f"{_size(total)} cached ({limit})", highlight=False, soft_wrap=True)


def clear(options: Clear) -> None:
    """Removes cached files and prints how many."""
    kinds = cache.KINDS if options.kind is None else [options.kind]
    latest = time.time() - options.unused_days * 24 * 3600
    count, size = cache.remove([each for kind in kinds for each in cache.files(kind) if each.used <= latest])
    console.print(f"removed {count:,} files, {_size(size)}", highlight=False)


def _size(count: int) -> str:
    exponent = min(len(_UNITS) - 1, (int(count).bit_length() - 1) // 10 if count >= 1 else 0)
    return f"{count / 1024**exponent:.3g} {_UNITS[exponent]}"


def _ago(used: float) -> str:
    hours = max(0.0, time.time() - used) / 3600
    return f"{hours * 60:.0f} min ago" if hours < 1 else f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
