"""`jaxdiff sample impute`: draws follow the conditional distribution, observed cells stay as they are, and each error."""

import csv
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdiff import parallel, series_filling
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.conditions import SeriesConditions, of_attributes
from jaxdiff.data.attributes import Attribute
from jaxdiff.data.series import open_table
from jaxdiff.errors import InputError
from jaxdiff.model import load, series_model
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.priors import FixedPoints, Imputation
from jaxdiff.process import bridge_ve
from jaxdiff.series_filling import Filler, require_imputation
from jaxdiff.solvers import DDIM, HybridHeun, sample
from jaxdiff.spaces import Series
from sample import table_work
from sample.__main__ import main
from sample.table_work import Summary
from tests.sample.exact_series import COLUMNS, HIGH, LENGTH, LOW, MEAN, conditional, covariance, exact_model, units

ALL = np.ones((LENGTH, 2), bool)
POINTS, RUN = ALL.copy(), ALL.copy()
POINTS[[1, 2, 6], [0, 1, 0]] = False
RUN[3:7, 0] = RUN[2:4, 1] = False
FAST = ("--steps", 3)


@pytest.fixture
def use(monkeypatch):
    """Has the program load this model."""

    def using(model):
        monkeypatch.setattr(table_work, "load", lambda path: model)
        return model

    return using


@pytest.fixture(scope="module")
def exact():
    return exact_model(np.stack([POINTS.ravel(), RUN.ravel()]))


def rows_of(path):
    with open(path, newline="") as opened:
        return list(csv.DictReader(opened))


def table_of(rng, groups):
    """Windows (G, L, 2) of the exact model, on the scale of the process, and their masks in turn."""
    x = rng.multivariate_normal(MEAN, covariance(), groups).reshape(groups, LENGTH, 2)
    return x, np.stack([(POINTS, RUN)[i % 2] for i in range(groups)])


def write_groups(path, x, known):
    lines = ["meter,load,price"]
    for group, (window, seen) in enumerate(zip(units(x), known, strict=True)):
        for values, shown in zip(window, seen, strict=True):
            texts = [repr(float(value)) if here else "" for value, here in zip(values, shown, strict=True)]
            lines.append(f"m{group},{','.join(texts)}")
    path.write_text("\n".join(lines) + "\n")


def test_medians_and_intervals_are_those_of_the_conditional_distribution(exact, use, rng, tmp_path, call_program):
    use(exact)
    x, known = table_of(rng, 40)
    write_groups(tmp_path / "gaps.csv", x, known)
    draws = 99
    given = (
        "--model",
        "exact",
        "--data",
        "gaps.csv?group=meter",
        "--draws",
        draws,
        "--draws-out",
        "d.npz",
        "--solver",
        "unipc",
    )
    assert call_program(main, "sample", "impute", *given, "--steps", 30, "--batch-size", 1024, "--out", "filled.csv") == 0
    drawn = np.load(tmp_path / "d.npz")
    scale = np.array([each for _ in range(40 * LENGTH) for each in np.subtract(HIGH, LOW) / 2]).reshape(x.shape)
    conditionals = [conditional(seen.ravel(), window.ravel()) for window, seen in zip(x, known, strict=True)]
    mean = units(np.stack([mean for mean, _ in conditionals]).reshape(x.shape))
    sd = np.stack([np.sqrt(np.diag(cov)) for _, cov in conditionals]).reshape(x.shape) * scale
    # standardised draws are N(0, 1): mean and variance of all, within four standard errors of effectively independent windows
    z = (drawn["draws"] - mean[~known]) / sd[~known]
    count = 40 * draws
    assert abs(z.mean()) < 4 / count**0.5 and abs((z**2).mean() - 1) < 4 * (2 / count) ** 0.5 + 0.02  # and 1 % of the steps
    # the median of each cell
    filled = open_table(tmp_path / "filled.csv", group="meter").values.reshape(x.shape)
    error = (filled - mean)[~known] / (sd[~known] * 1.2533 / draws**0.5)
    assert np.abs(error).max() < 5 and abs((error**2).mean() - 1) < 0.25
    # intervals cover the values that were blanked
    intervals = rows_of(tmp_path / "filled.intervals.csv")
    low, high = (np.array([float(row[name]) for row in intervals]) for name in ("lower", "upper"))
    truth = units(x)[~known]
    inside = np.reshape((low <= truth) & (truth <= high), (20, -1)).mean(1)  # of pairs of windows
    assert abs(inside.mean() - 0.9) < 4 * inside.std(ddof=1) / 20**0.5
    assert all(row["level"] == "0.9" for row in intervals)
    assert [(row["row"], row["series"], row["column"]) for row in intervals[:3]] == [
        ("3", "m0", "load"), ("4", "m0", "price"), ("8", "m0", "load")
    ]  # fmt: skip


LAYOUTS = {
    "numbers": "date,load,note,price\r\n2020-01-01,1.50,x,1e2\r\n2020-01-02,,\"a, b\",150.00\r\n"
    + "".join(f"2020-01-{day:02d},+2.250, ,2.0E2\r\n" for day in range(3, 12)) + "2020-01-12,.5,,",
    "commas": "\ufeffdate;load;price;empty;last\r\n01.02.2020;1,50;100;;x\r\n14.02.2020;;1,5e2;;\r\n"
    + "".join(f"{day:02d}.02.2020; 2,250 ;200,0;;\r\n" for day in range(15, 24)),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_but_the_missing_cells_is_the_file_byte_for_byte(layout, use, exact, tmp_path, call_program):
    use(exact)
    (tmp_path / "in.csv").write_bytes(LAYOUTS[layout].encode())
    spec = "in.csv" if layout == "numbers" else "in.csv?gaps=ignore"
    assert call_program(main, "sample", "impute", "--model", "m", "--data", spec, *FAST, "--out", "out.csv") == 0
    before, after = LAYOUTS[layout].encode(), (tmp_path / "out.csv").read_bytes()
    separator = b"," if layout == "numbers" else b";"
    changed = 0
    for old, new in zip(before.split(b"\n"), after.split(b"\n"), strict=True):
        if old == new:
            continue
        places = [i for i, (a, b) in enumerate(zip(old.split(separator), new.split(separator), strict=True)) if a != b]
        assert [old.split(separator)[i].strip() for i in places] == [b""] * len(places)
        changed += len(places)
    table = open_table(tmp_path / spec, columns=COLUMNS)
    assert changed == (~table.mask).sum() > 0
    assert open_table(tmp_path / spec.replace("in", "out"), columns=COLUMNS).mask.all()


def test_parquet_keeps_observed_values_and_other_columns(use, exact, rng, tmp_path, call_program):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    use(exact)
    x, known = table_of(rng, 1)
    content = pa.table(
        {
            "date": pa.array(np.arange("2020-01-01", "2020-01-09", dtype="datetime64[D]").astype("datetime64[ns]")),
            "load": pa.array(np.where(known[0, :, 0], units(x)[0, :, 0], np.nan), from_pandas=True),
            "price": pa.array(np.where(known[0, :, 1], units(x)[0, :, 1], np.nan), from_pandas=True),
            "other": pa.array([None, *range(7)]),
        }
    )
    pq.write_table(content, tmp_path / "in.parquet")
    assert call_program(main, "sample", "impute", "--model", "m", "--data", "in.parquet", *FAST, "--out", "out.parquet") == 0
    made = pq.read_table(tmp_path / "out.parquet")
    assert made.schema == content.schema and made["other"] == content["other"] and made["date"] == content["date"]
    for column, name in enumerate(COLUMNS):
        values = made[name].to_numpy()
        np.testing.assert_array_equal(values[known[0, :, column]], content[name].to_numpy()[known[0, :, column]])
        assert np.isfinite(values).all()
    intervals = pq.read_table(tmp_path / "out.intervals.parquet")
    assert intervals.column_names == ["row", "time", "column", "median", "lower", "upper", "level"]
    assert intervals.num_rows == (~known).sum() and intervals["time"].type == pa.timestamp("ns")


@pytest.fixture
def windows(rng):
    """Four windows of the patterns, in the units of the table, with NaN where missing."""
    x, known = table_of(rng, 4)
    return np.where(known, units(x), np.nan)


def draws_of(model, windows, *, batch, numbers=None, streams=None, seed=0):
    count = len(windows)
    streams = np.stack([np.arange(count), np.zeros(count, int)], axis=1) if streams is None else streams
    filler = Filler(model, HybridHeun(3), parallel.make_mesh(), batch, seed)
    numbers = np.zeros(count, int) if numbers is None else numbers
    return filler.draw(windows, np.full(windows.shape, np.nan), np.zeros((count, 0), np.int32), streams, numbers)


def test_a_draw_does_not_depend_on_its_batch(exact, windows):
    whole = draws_of(exact, windows, batch=4)
    np.testing.assert_allclose(draws_of(exact, windows, batch=3), whole, rtol=1e-5)
    moved = draws_of(exact, windows[::-1], batch=3, streams=np.stack([np.arange(4)[::-1], np.zeros(4, int)], axis=1))
    np.testing.assert_allclose(moved[::-1], whole, rtol=1e-5)
    missing = np.isnan(windows)
    others = (
        draws_of(exact, windows, batch=4, numbers=np.ones(4, int)),
        draws_of(exact, windows, batch=4, streams=np.stack([np.arange(4), np.ones(4, int)], axis=1)),
        draws_of(exact, windows, batch=4, seed=1),
    )
    for other in others:  # noise is another for each number, stream and seed
        assert (np.abs(other - whole)[missing] > 1e-4).all()


def test_a_column_without_observed_values_ends_in_its_line(exact, windows, monkeypatch):
    seen = {}

    def stopping(*_, condition, **__):
        seen["condition"] = condition
        raise InterruptedError

    monkeypatch.setattr(series_filling, "sample", stopping)
    windows = windows[:1].copy()
    windows[:, :, 1] = np.nan
    filler = Filler(exact, HybridHeun(2), parallel.make_mesh(), 1)
    lines = np.stack([np.full((1, LENGTH), 3.0), np.linspace(150, 250, LENGTH)[None]], axis=-1)
    with pytest.raises(InterruptedError):
        filler.draw(windows, lines, np.zeros((1, 0), np.int32), np.zeros((1, 2), int), np.zeros(1, int))
    end, known = (np.asarray(each)[0] for each in seen["condition"][:2])
    np.testing.assert_array_equal(known, ~np.isnan(windows[0]))
    np.testing.assert_allclose(end[:, 1], 2 * (lines[0, :, 1] - 100) / 200 - 1, rtol=1e-6)
    observed = ~np.isnan(windows[0, :, 0])
    inside = np.interp(np.arange(LENGTH), np.flatnonzero(observed), windows[0, observed, 0])
    np.testing.assert_allclose(end[:, 0], 2 * inside / 10 - 1, atol=1e-6)


def test_a_killed_run_goes_on_and_draws_the_same(use, exact, rng, tmp_path, call_program, monkeypatch):
    use(exact)
    x, known = table_of(rng, 6)
    write_groups(tmp_path / "gaps.csv", x, known)
    monkeypatch.setattr(table_work, "AT_ONCE", 40)  # two windows at a time
    given = ("sample", "impute", "--model", "m", "--data", "gaps.csv?group=meter", *FAST)
    assert call_program(main, *given, "--out", "whole.csv") == 0
    draw, calls = Filler.draw, []

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise InputError("full")
        return draw(self, *arguments)

    monkeypatch.setattr(Filler, "draw", failing)
    assert call_program(main, *given, "--out", "again.csv") == 2
    assert not (tmp_path / "again.csv").exists() and not (tmp_path / "again.intervals.csv").exists()
    assert len(list((tmp_path / "again.csv.parts").glob("*.part"))) == 2
    assert call_program(main, *given, "--out", "again.csv") == 0
    assert len(calls) == 3 + 4  # of six parts two were finished
    for name in ("{}.csv", "{}.intervals.csv"):
        assert (tmp_path / name.format("again")).read_bytes() == (tmp_path / name.format("whole")).read_bytes()
    assert not (tmp_path / "again.csv.parts").exists()


def test_nothing_is_left_where_a_file_cannot_be_written(use, exact, rng, tmp_path, call_program, monkeypatch):
    use(exact)
    write_groups(tmp_path / "gaps.csv", *table_of(rng, 1))

    def failing(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sample.impute.show_panels", failing)
    given = ("--model", "m", "--data", "gaps.csv?group=meter", *FAST, "--out", "o.csv")
    assert call_program(main, "sample", "impute", *given) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["gaps.csv", "o.csv.parts"]  # the draws
    monkeypatch.undo()
    use(exact)
    monkeypatch.setattr(Filler, "draw", lambda *_: pytest.fail("it drew again"))
    assert call_program(main, "sample", "impute", *given) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["gaps.csv", "o.csv", "o.intervals.csv", "o.png"]


PLAIN = [f"2020-01-{day:02d},{day % 7},{100 + day}" for day in range(1, 13)]


def blanked(*cells, rows=PLAIN, header="date,load,price"):
    """A table with some cells, (row, column), empty."""
    made = [line.split(",") for line in rows]
    for row, column in cells:
        made[row][column] = ""
    return "\n".join([header, *map(",".join, made)]) + "\n"


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (blanked(), (), "no missing value in the columns of the model, load, price"),
        (blanked(*((row, column) for row in range(12) for column in (1, 2))), (), "has no value at all"),
        (blanked(*((row, 1) for row in range(12))), (), "column 'load' of in.csv has no value in rows 2 to 13"),
        (blanked((1, 1), header="date,load,cost"), (), "lacks the column price that the model at m was trained on"),
        (blanked((1, 1), header="date,a,b"), (), "lacks the columns load, price that the model"),
        (blanked((1, 1), rows=PLAIN[:7]), (), "a window of 8 rows is longer than every series of in.csv: the most that follow "
         "one another are 7, rows 2 to 8"),
        (blanked((1, 1), rows=PLAIN[::2] + PLAIN[-1:]), (), "the model must have shorter windows; gaps=ignore takes rows"),
        (blanked((1, 1)).replace("105", "x"), (), "row 6 of in.csv has 'x' in column 'price', which is no number"),
        (blanked((1, 1)), ("--draws", 18), "--draws must be at least 19 for intervals of level 0.9, got 18"),
        (blanked((1, 1)), ("--level", 1), "--level must lie in (0, 1), got 1"),
        (blanked((1, 1)), ("--fill", 9), "--fill must be at most 8"),
        (blanked((1, 1)), ("--draws-out", "d.csv"), "--draws-out must end in .npz, got d.csv"),
        (blanked((1, 1)), ("--eta", 1), "--eta is for --solver ddim"),
    ],
)  # fmt: skip
def test_errors_before_anything_is_drawn(content, more, message, use, exact, tmp_path, call_program, capsys, monkeypatch):
    use(exact)
    monkeypatch.setattr(Filler, "draw", lambda *_: pytest.fail("it drew"))
    (tmp_path / "in.csv").write_text(content)
    assert call_program(main, "sample", "impute", "--model", "m", "--data", "in.csv", *more, "--out", "out.csv") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.parametrize(
    ("out", "there", "message"),
    [
        ("in.csv", "in.csv", "in.csv exists, and nothing is overwritten"),
        ("out.csv", "out.png", "out.png exists"),
        ("out.csv", "out.intervals.csv", "out.intervals.csv exists"),
        ("out.txt", "in.csv", "--out must end in .csv or .parquet"),
    ],
)
def test_nothing_is_overwritten(out, there, message, use, exact, tmp_path, call_program, capsys):
    use(exact)
    (tmp_path / "in.csv").write_text(blanked((1, 1)))
    (tmp_path / there).write_text(content := blanked((1, 1)))
    assert call_program(main, "sample", "impute", "--model", "m", "--data", "in.csv", "--out", out) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / there).read_text() == content


def test_only_models_of_imputation_fill(exact, save_model, tmp_path):
    assert require_imputation(exact, "it") is exact.space
    with pytest.raises(InputError, match=r"m has the prior fixed; .* train one with .*--prior imputation"):
        require_imputation(exact_model(np.ones((1, 16), bool), prior=FixedPoints.fit(np.zeros((2, 8, 2), np.float32))), "m")
    with pytest.raises(InputError, match="m is a model of images; missing values are filled by a model of series"):
        require_imputation(load(save_model(tmp_path / "images")), "m")


def test_what_is_unknown_far_or_in_long_gaps_is_said(use, exact, tmp_path, call_program, capsys):
    use(exact)
    rows = [f"2020-{1 + day // 28:02d}-{1 + day % 28:02d},{day % 7},{100 + day},{day}" for day in range(40)]
    rows[0] = "2020-01-01,0.5,-500,7"
    content = blanked(*((row, 1) for row in range(10, 32)), header="date,load,price,extra", rows=rows)
    (tmp_path / "in.csv").write_text(content)
    assert call_program(main, "sample", "impute", "--model", "m", "--data", "in.csv?gaps=ignore", *FAST, "--out", "o.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the column extra: unknown to the model, and left alone" in said
    assert (
        "column 'price' has 1 values far outside of 100 to 300, the range that the model was trained on, the first -500" in said
    )
    # positions 10 to 31 in windows of 8 that fill 4: those that fill 14 to 29 show no value
    assert "Warning: 16 missing values are in gaps so long" in said, said


def test_windows_longer_than_their_rows_are_drawn_from_fewer(use, exact, rng, tmp_path, call_program, capsys):
    model = use(exact_model(np.stack([np.append(POINTS[:5], np.zeros((3, 2), bool), axis=0).ravel(), POINTS.ravel()])))
    assert model is not exact
    x, known = table_of(rng, 1)
    write_groups(tmp_path / "gaps.csv", np.concatenate([x, x]), np.concatenate([known, known]))
    lines = (tmp_path / "gaps.csv").read_text().splitlines()
    (tmp_path / "gaps.csv").write_text("\n".join(lines[:14]) + "\n")  # the second series has five rows
    given = ("--data", "gaps.csv?group=meter", "--draws", 399, "--draws-out", "d.npz", "--out", "o.csv", "--steps", 20)
    assert call_program(main, "sample", "impute", "--model", "m", *given, "--batch-size", 400) == 0
    assert "1 windows are longer than the rows without a gap" in " ".join(capsys.readouterr().out.split())
    drawn = np.load(tmp_path / "d.npz")
    part = np.append(known[0, :5], np.zeros((3, 2), bool), axis=0).ravel()
    mean, cov = conditional(part, x[0].ravel())
    mean, sd = units(mean.reshape(8, 2)), np.sqrt(np.diag(cov)).reshape(8, 2) * np.subtract(HIGH, LOW) / 2
    own = drawn["rows"] > 9
    z = (drawn["draws"][:, own].mean(0) - mean[:5][~known[0, :5]]) / sd[:5][~known[0, :5]]
    assert np.abs(z).max() < 4 / 399**0.5


@pytest.fixture(scope="module")
def labelled():
    """An untrained model of two classes, without a null label."""
    config = SeriesConfig(
        length=4, features=2, width=8, heads=1, encoder=1, decoder=1, values=(2,), null_label=False, end_input=True,
        known_input=True,
    )  # fmt: skip
    shapes = jax.eval_shape(partial(series_transformer, config), jax.random.key(0))
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape, np.float32)), shapes.weights)
    space, process = Series(COLUMNS, 4, LOW, HIGH), bridge_ve(1.0, Imputation.fit(np.zeros((2, 4, 2), np.float32)))
    attributes = (Attribute("kind", ("day", "night")),)
    return series_model(config, Network(weights, shapes.structure), process, "x0", space, attributes)


def test_windows_are_drawn_with_their_classes(labelled, rng):
    windows = units(rng.normal(0, 0.3, (4, 4, 2)))
    windows[:, 1:3, 0] = np.nan
    labels, zeros = np.array([[0], [1], [0], [1]], np.int32), np.zeros(4, int)
    filler = Filler(labelled, DDIM(3), parallel.make_mesh(), 4, seed=5)
    found = filler.draw(windows, np.full(windows.shape, np.nan), labels, np.stack([zeros + 7, zeros + 2], 1), np.arange(4))
    known = ~np.isnan(windows)
    values = labelled.space.encode(np.where(known, windows, 0.0))
    given = jax.vmap(labelled.process.prior_of_end.given)(values, known)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(5), 7), 2)
    x = sample(
        labelled.denoise, labelled.process, shape=(4, 2), solver=DDIM(3), key=key,
        condition=BridgeCondition(given.end, given.known, labels),
    )  # fmt: skip
    np.testing.assert_allclose(found, labelled.space.decode(x), rtol=1e-5)
    others = filler.draw(windows, np.full(windows.shape, np.nan), 1 - labels, np.stack([zeros + 7, zeros + 2], 1), np.arange(4))
    assert (np.abs(others - found)[~known] > 1e-4).all()


def test_classes_are_read_from_the_table(labelled, tmp_path):
    def labels(content, model=labelled):
        (tmp_path / "in.csv").write_text(content)
        label = [name for name in ("kind",) if name in content]
        return table_work.row_labels(
            model, open_table(tmp_path / "in.csv", columns=COLUMNS, **({"label": label} if label else {}))
        )

    found, usable = labels("kind,load,price\nnight,1,2\n,1,\nday,1,2\n")
    assert found.tolist() == [[1], [-1], [0]] and usable.tolist() == [True, False, True]
    with pytest.raises(InputError, match=r"row 3 of .*, column 'kind' has 'dusk'; the model knows day, night"):
        labels("kind,load,price\nnight,1,2\ndusk,1,2\n")
    with pytest.raises(InputError, match=r"without a null label, and .* has no column 'kind'"):
        labels("load,price\n1,2\n")
    null = SeriesConditions(of_attributes(labelled.conditions.attributes, True))
    found, usable = labels("load,price\n1,2\n", replace(labelled, conditions=null))
    assert found.tolist() == [[-1]] and usable.all()


def test_written_numbers_have_the_digits_of_the_range():
    space = Series(("a", "b"), 4, (0.0, 1e6), (46.0, 1e6 + 0.5))
    draws = np.array([[27.78712345, 1000000.123456789]])
    made = Summary.of(np.repeat(draws, 19, axis=0), np.array([0, 1]), space, 0.9)
    assert made.median.tolist() == made.lower.tolist() == [27.7871, 1000000.123457]


def test_the_ends_of_intervals_of_as_few_draws_as_possible_are_the_extremes(exact, rng):
    draws = rng.normal(5, 1, (19, 40))
    made = Summary.of(draws, np.zeros(40, int), exact.space, 0.9)
    for found, expected in zip((made.lower, made.median, made.upper), np.quantile(draws, [0, 0.5, 1], axis=0), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_picture_is_one(use, exact, rng, tmp_path, call_program):
    use(exact)
    write_groups(tmp_path / "gaps.csv", *table_of(rng, 3))
    given = ("--model", "m", "--data", "gaps.csv?group=meter", *FAST, "--out", "o.csv")
    assert call_program(main, "sample", "impute", *given) == 0
    with Image.open(tmp_path / "o.png") as image:
        assert image.format == "PNG" and image.width > 1000
