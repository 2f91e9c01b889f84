"""Programs that are killed and resumed."""

import os

import pytest

from jaxdiff._console.parts import Parts


class Killed(BaseException):
    """Ends a program where it stands."""


class Written(list):
    """The keys of the parts that are written, in order; the program is killed before part number `killed_at`."""

    killed_at = None


@pytest.fixture
def written(monkeypatch) -> Written:
    """The parts that programs write."""
    keys, write = Written(), Parts.__setitem__

    def counted(parts, key, arrays):
        if len(keys) == keys.killed_at:
            raise Killed
        write(parts, key, arrays)
        keys.append(key)

    monkeypatch.setattr(Parts, "__setitem__", counted)
    return keys


@pytest.fixture
def resumed(written, capsys):
    """`resumed(evaluate, folder, file, arguments, *kills)` runs a command undisturbed, and again killed before each of these
    parts and then to its end. Asserts that no part is computed twice, and the report in the file is the same but for its time;
    returns what the last run printed on standard error."""

    def run(evaluate, folder, file, arguments, *kills):
        lines = lambda: [line for line in (folder / file).read_text().splitlines() if '"seconds":' not in line]  # noqa: E731
        assert evaluate(*arguments) == 0
        files, report, keys = sorted(os.listdir(folder)), lines(), list(written)
        assert len(set(keys)) == len(keys) and not [name for name in files if name.startswith(".") or "part" in name]
        for name in files:
            (folder / name).unlink()
        written.clear()
        for written.killed_at in kills:
            with pytest.raises(Killed):
                evaluate(*arguments)
            assert len(list(folder.rglob("*.part"))) == written.killed_at == len(written)
        written.killed_at = None
        capsys.readouterr()
        assert evaluate(*arguments) == 0
        assert written == keys and sorted(os.listdir(folder)) == files
        assert lines() == report
        return capsys.readouterr().err

    return run
