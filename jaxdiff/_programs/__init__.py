"""The programs train, sample, evaluate and demo. The installed package has them here; in a checkout all but the demo are at
the top of the repository."""

from pathlib import Path

if not Path(__file__).with_name("sample").is_dir():
    __path__.append(str(Path(__file__).parents[2]))
