"""The programs train, sample, evaluate, cache and demo. The installed package has them here; in a checkout the first three
are at the top of the repository."""

from pathlib import Path

if not Path(__file__).with_name("sample").is_dir():
    __path__.append(str(Path(__file__).parents[2]))
