"""`jaxdiff sample forecast`: draws follow the conditional distribution of the rows to come, times go on, and each error."""

import csv

import numpy as np
import pytest

from jaxdiff import parallel
from jaxdiff.data.series import open_table
from jaxdiff.data.series.steps import continued
from jaxdiff.data.series.times import as_written, parsed
from jaxdiff.errors import InputError
from jaxdiff.series_filling import Filler
from sample import table_work
from sample.__main__ import main
from sample.forecast import Ends, times_to_come
from tests.sample.exact_series import COLUMNS, HIGH, LENGTH, LOW, MEAN, covariance, exact_model, units

FAST = ("--steps", 3)


def past(rows, missing=()):
    """Windows of which the rows before the last `rows` are observed, but for some entries."""
    known = np.ones((LENGTH, 2), bool)
    known[LENGTH - rows :] = False
    for row, column in missing:
        known[row, column] = False
    return known.ravel()


@pytest.fixture(scope="module")
def exact():
    return exact_model(np.stack([past(4), past(2), past(4, [(3, 0), (2, 1)])]))


@pytest.fixture
def use(monkeypatch, exact):
    monkeypatch.setattr(table_work, "load", lambda path: exact)


def rows_of(path, **options):
    with open(path, newline="") as opened:
        return list(csv.DictReader(opened, **options))


def write(path, values, dates=True, group=None, header="date,load,price"):
    """Writes values (T, 2), NaN where missing, of successive days."""
    days = np.arange("2020-01-01", len(values), dtype="datetime64[D]") if dates else None
    lines = [header if group is None else f"meter,{header}"]
    for i, row in enumerate(values):
        cells = ["" if value != value else repr(float(value)) for value in row]
        lines.append(",".join([*([group[i]] if group is not None else []), *([str(days[i])] if dates else []), *cells]))
    path.write_text("\n".join(lines) + "\n")


def truth(x, known, horizon):
    """Mean and covariance of the rows after x (T, 2) given its known entries, by the covariance of all rows."""
    count = len(x)
    cov, seen = covariance(count + horizon), np.append(known.ravel(), np.zeros(2 * horizon, bool))
    mean = np.tile(MEAN[:2], count + horizon)
    gain = cov[:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    ahead = slice(2 * count, None)
    return (mean + gain @ (x[known] - mean[seen]))[ahead], (cov - gain @ cov[seen])[ahead, ahead]


@pytest.mark.parametrize("missing", [[], [(-1, 0), (-2, 1)]])
def test_draws_are_those_of_the_conditional_distribution_also_beyond_a_window(missing, use, rng, tmp_path, call_program):
    """Of autoregressive series the rows before a window say nothing more, so that windows after one another are exact."""
    x = rng.multivariate_normal(np.tile(MEAN[:2], 12), covariance(12)).reshape(12, 2)
    known = np.ones((12, 2), bool)
    for row, column in missing:
        known[row, column] = False
    write(tmp_path / "in.csv", np.where(known, units(x), np.nan))
    draws, horizon = 4000, 10
    given = ("--data", "in.csv", "--horizon", horizon, "--draws", draws, "--draws-out", "d.npz", "--batch-size", 4000)
    more = ("--steps", 30, "--out", "o.csv")
    assert call_program(main, "sample", "forecast", "--model", "m", *given, *more) == 0
    drawn = np.load(tmp_path / "d.npz")["draws"][:, 0]
    z = 2 * (drawn - LOW) / np.subtract(HIGH, LOW) - 1
    # observed values just before the first window of 8 that are missing are not seen by it: none are
    mean, cov = truth(x, known, horizon)
    sd = np.sqrt(np.diag(cov))
    assert np.abs((z.mean(0).ravel() - mean) / sd).max() < 4.5 / draws**0.5
    np.testing.assert_allclose(z.std(0).ravel() / sd, 1, atol=4.5 / (2 * draws) ** 0.5 + 0.02)
    # a draw goes on from its own values: rows of two windows depend on each other as others do
    expected = cov / np.outer(sd, sd)
    np.testing.assert_allclose(np.corrcoef(z.reshape(draws, -1).T), expected, atol=4.5 / draws**0.5)
    made = open_table(tmp_path / "o.csv")
    np.testing.assert_allclose(made.values, np.median(drawn, axis=0), atol=6e-4)
    assert made.times[0] == np.datetime64("2020-01-13") and len(made) == horizon
    rows = rows_of(tmp_path / "o.intervals.csv")
    assert [(row["step"], row["time"], row["column"]) for row in rows[:3]] == [
        ("1", "2020-01-13", "load"), ("1", "2020-01-13", "price"), ("2", "2020-01-14", "load")
    ]  # fmt: skip
    for name, share in (("lower", 0.05), ("upper", 0.95)):
        found = np.array([float(row[name]) for row in rows]).reshape(horizon, 2)
        np.testing.assert_allclose(found, np.quantile(drawn, share, axis=0, method="weibull"), atol=6e-4)


def test_series_are_continued_each_from_its_own_rows(use, rng, tmp_path, call_program):
    values = units(rng.normal(0, 0.3, (22, 2)))
    write(tmp_path / "in.csv", values, group=["a"] * 12 + ["b"] * 10, header="date,price,load")
    given = ("--model", "m", "--data", "in.csv?group=meter", "--horizon", 3, *FAST)
    assert call_program(main, "sample", "forecast", *given, "--out", "o.csv") == 0
    rows = rows_of(tmp_path / "o.csv")
    assert list(rows[0]) == ["meter", "date", "price", "load"]
    assert [(row["meter"], row["date"]) for row in rows] == [
        *(("a", f"2020-01-{day}") for day in (13, 14, 15)), *(("b", f"2020-01-{day}") for day in (23, 24, 25))
    ]  # fmt: skip
    # the first alone is as it was
    write(tmp_path / "a.csv", values[:12], group=["a"] * 12, header="date,price,load")
    given = ("--model", "m", "--data", "a.csv?group=meter", "--horizon", 3, *FAST)
    assert call_program(main, "sample", "forecast", *given, "--batch-size", 7, "--out", "p.csv") == 0
    for whole, alone in zip(rows, rows_of(tmp_path / "p.csv"), strict=False):
        assert abs(float(whole["load"]) - float(alone["load"])) < 1e-4


def test_the_table_is_written_as_it_was_read(use, rng, tmp_path, call_program):
    values = units(rng.normal(0, 0.3, (12, 2)))
    lines = [f"{13 + i}.01.2020 06:30;{a:.2f};{b:.1f}".replace(".01.2020", "/01/2020") for i, (a, b) in enumerate(values)]
    (tmp_path / "in.csv").write_text("when;load;price\n" + "\n".join(lines).replace(".", ",") + "\n")
    assert (
        call_program(main, "sample", "forecast", "--model", "m", "--data", "in.csv", "--horizon", 2, *FAST, "--out", "o.csv")
        == 0
    )
    rows = rows_of(tmp_path / "o.csv", delimiter=";")
    assert [row["when"] for row in rows] == ["25/01/2020 06:30", "26/01/2020 06:30"]
    assert all("," in row["load"] and "." not in row["load"] for row in rows)
    assert open_table(tmp_path / "o.csv?time_format=%d/%m/%Y %H:%M").decimal == ","


def test_parquet_and_tables_without_times(use, rng, tmp_path, call_program):
    pq = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "in.csv", units(rng.normal(0, 0.3, (9, 2))))
    given = ("sample", "forecast", "--model", "m", "--horizon", 5, *FAST)
    assert call_program(main, *given, "--data", "in.csv", "--out", "o.parquet") == 0
    made = pq.read_table(tmp_path / "o.parquet")
    assert made.column_names == ["date", "load", "price"] and made.num_rows == 5
    assert made["date"].to_numpy()[-1] == np.datetime64("2020-01-14")
    assert call_program(main, *given, "--data", "in.csv?time=", "--out", "p.csv") == 0
    assert list(rows_of(tmp_path / "p.csv")[0]) == ["load", "price"]
    assert list(rows_of(tmp_path / "p.intervals.csv")[0]) == ["step", "column", "median", "lower", "upper", "level"]


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (12, ("--horizon", 0), "--horizon must be at least 1, got 0"),
        (7, (), "a window of 8 rows is longer than every series"),
        (12, ("--out", "in.csv"), "in.csv exists"),
    ],
)
def test_errors_before_anything_is_drawn(rows, more, message, use, tmp_path, call_program, capsys, monkeypatch):
    monkeypatch.setattr(Filler, "draw", lambda *_: pytest.fail("it drew"))
    write(tmp_path / "in.csv", np.full((rows, 2), 5.0))
    given = ("--model", "m", "--data", "in.csv", "--horizon", 2, "--out", "o.csv", *more)
    assert call_program(main, "sample", "forecast", *given) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [each.name for each in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("command", ["impute", "forecast"])
def test_processes_join_before_anything_else(command, use, tmp_path, call_program, capsys, monkeypatch):
    """JAX refuses to connect processes once it has computed anything."""

    def joining(*_):
        raise InputError("joined")

    monkeypatch.setattr(parallel, "join", joining)
    monkeypatch.setattr(parallel, "run_on_first", lambda *_: pytest.fail("it used JAX"))
    given = ("--model", "m", "--data", "in.csv", "--out", "o.csv", *(("--horizon", 1) if command == "forecast" else ()))
    processes = ("--coordinator", "localhost:1", "--processes", 2, "--process-id", 1)
    assert call_program(main, "sample", command, *given, *processes) == 2
    assert "error: joined" in capsys.readouterr().err


def test_times_without_a_usual_step_are_an_error(tmp_path):
    days = ["2020-01-01", "2020-01-02", "2020-01-04", "2020-01-07", "2020-01-11", "2020-01-16"]
    (tmp_path / "in.csv").write_text("date,load\n" + "".join(f"{day},1\n" for day in days))
    table = open_table(tmp_path / "in.csv", gaps="ignore")
    ends = Ends(np.array([0]), np.array([6]))
    with pytest.raises(
        InputError, match=r"have no usual step: 4 of 5 steps are other than 3 days, the first from row 2 to row 3"
    ):
        times_to_come(table, ends, 2)
    (tmp_path / "in.csv").write_text("date,load,id\n2020-01-01,1,a\n2020-01-01,1,b\n")
    table = open_table(tmp_path / "in.csv", group="id")
    with pytest.raises(InputError, match="the step of the times in column 'date' .* is unknown: no series has two rows"):
        times_to_come(table, Ends(np.array([0, 1]), np.array([1, 2])), 2)


@pytest.mark.parametrize(
    ("texts", "following"),
    [
        (["2020-01-30", "2020-01-31", "2020-02-01"], ["2020-02-02", "2020-02-03"]),
        (["2020-01-01", "2020-02-01", "2020-03-01"], ["2020-04-01", "2020-05-01"]),
        (["2019-11-30", "2019-12-31", "2020-01-31"], ["2020-02-29", "2020-03-31"]),
        (["2018-06-15", "2019-06-15", "2020-06-15"], ["2021-06-15", "2022-06-15"]),
        (["2020/01/01 22:00", "2020/01/01 23:00", "2020/01/02 00:00"], ["2020/01/02 01:00", "2020/01/02 02:00"]),
        (["31/12/2019 23:59:58", "31/12/2019 23:59:59", "01/01/2020 00:00:00"], ["01/01/2020 00:00:01", "01/01/2020 00:00:02"]),
        (["12/30/2019", "12/31/2019", "01/01/2020"], ["01/02/2020", "01/03/2020"]),
        (["2020-01-01T00:00Z", "2020-01-01T00:30Z", "2020-01-01T01:00Z"], ["2020-01-01T01:30Z", "2020-01-01T02:00Z"]),
        (["2020-01-01T02:00+02:00", "2020-01-01T03:00+02:00"], ["2020-01-01 02:00:00Z", "2020-01-01 03:00:00Z"]),
        (["2020-01-01T00:00:00.25", "2020-01-01T00:00:00.5"], ["2020-01-01 00:00:00.75", "2020-01-01 00:00:01"]),
    ],
)  # fmt: skip
def test_times_go_on_in_the_form_of_the_table(texts, following):
    count = len(texts)
    times = parsed(texts, range(count), "date", "it")
    first = np.arange(count) == 0
    found = continued(times, np.arange(count), first, count - 1, 2)
    assert as_written(found, texts, times) == following
    assert (parsed([*texts, *following], range(count + 2), "date", "it")[-2:] == found).all() or "/" in texts[0]


def test_numbers_as_times_go_on():
    times = np.array([0.5, 1.0, 1.5])
    found = continued(times, np.arange(3), np.arange(3) == 0, 2, 2)
    assert as_written(found, ["1.5"], times[-1:]) == ["2", "2.5"]
    assert COLUMNS == ("load", "price")
