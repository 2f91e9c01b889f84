"""The HTML report: its numbers, marks and images, in a self-contained file."""

import base64
import io
import json
import re
import shutil
import subprocess
import time
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluate.__main__ import main
from jaxdiff.data import Attribute
from jaxdiff.data.samples import SHARD
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from tests.processes import LIMIT

DIRECTIONS = ("synthetic->real", "real->synthetic", "synthetic->synthetic")
VALUES = ("square", "round")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "link", "img", "input", "br", "hr", "colgroup"}


class Page(HTMLParser):
    """The elements of a page, each with its attributes, inner text and parents."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        assert [tag for tag, *_ in self._open] == [], "unclosed elements"

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [], [id(inner) for inner in self._open])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, text):
        for element in self._open:
            element[2].append(text)

    def find(self, tag, within=None, **wanted):
        """Elements of a tag whose attributes contain the given words, within another element if given."""
        return [
            element
            for element in self.elements
            if element[0] == tag
            and all(word in (element[1].get(name.rstrip("_")) or "").split() for name, word in wanted.items())
            and (within is None or id(within) in element[3])
        ]


def text(element):
    return " ".join("".join(element[2]).split())


def pixels(image):
    """The pixels of an <img>."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image[1]["src"].partition(",")[2]))).convert("RGBA"))


def summary(rng, values):
    error = rng.uniform(0, 100, values)
    ber = error.mean()
    around = lambda middle: [middle - rng.uniform(0, 5), middle + rng.uniform(0, 5)]  # noqa: E731
    return {
        "error": error.tolist(), "gap": float(np.ptp(error)), "ber": ber, "count": [9] * values, "level": 0.95,
        "folded_ber": min(ber, 100 - ber) if values == 2 else None, "epsilon": 0.1 if values == 2 else None,
        "ber_deviation": rng.uniform(0, 5), "intervals": {"ber": around(ber)},
    }  # fmt: skip


def energy(rng, values):
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
    return [{"values": pair, "distance": rng.normal(), "relative": 0.1, "p_value": rng.uniform()} for pair in pairs]


def random_result(rng, name, values, directions=DIRECTIONS):
    return {
        "name": name, "count": [9] * len(values),
        "directions": {direction: summary(rng, len(values)) for direction in directions},
        "energy": {space: energy(rng, values) for space in ("pixels", "features")},
    }  # fmt: skip


def written_report(folder, names, *, values=VALUES, attribute="group", seed=0, **more):
    """Writes a report.json with random numbers for sets of these names, and returns it."""
    rng = np.random.default_rng(seed)
    report = {
        "attribute": attribute, "values": list(values), "train_count": 40, "seeds": 2,
        "training": {"steps": 30, "batch": 16, "widths": [16, 32]}, "real": random_result(rng, "Real", values, ["real->real"]),
        "synthetic": [random_result(rng, str(name), values) for name in names],
        "command": ["jaxdiff", "evaluate", "fairness"], "versions": {"jax": "0.10.2"}, "machine": "cpu", "seconds": 2.5,
        "options": {"synthetic": list(map(str, names)), "attribute": attribute, "real": "real.npz", "values": [], "seed": 0},
    } | more  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report))
    return report


def drawn(path, method, *, count=140, size=8, seed=0, content=0, attribute="group", values=VALUES, captions=None, **more):
    """Writes a set of samples of random images with alternating labels, and returns the images."""
    provenance = {"model": "m", "process": {"name": "vp"}, "solver": {"name": "ddim", "steps": 25}, "guidance_scale": 1.0,
                  "attribute": attribute, "values": list(values), "method": method, "seed": seed} | more  # fmt: skip
    labels = (np.arange(count) % 2).astype(np.int32)[:, None]
    attributes = [Attribute(attribute, tuple(values))]
    samples = SampleSet.create(path, provenance, attributes, labels, Pixels(size, size), captions=captions)
    images = np.random.default_rng(content).integers(0, 256, (count, size, size, 3), np.uint8)
    for start, stop in samples.missing():
        samples.write(start, images[start:stop])
    return images


def real(folder, *, size=8, attribute="group", values=VALUES):
    rng = np.random.default_rng(9)
    images = rng.integers(0, 256, (600, size, size, 3), np.uint8)
    names = {f"values_{attribute}": list(values)}
    np.savez(folder / "real.npz", images=images, labels=np.arange(600) % len(values), attributes=[attribute], **names)


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate")


@pytest.fixture
def report(tmp_path):
    """The report of four sets; also writes the sets and a sweep of three tau."""
    real(tmp_path)
    drawn(tmp_path / "vanilla", "vanilla", content=1)
    drawn(tmp_path / "mixing", "mixing", content=2, mixing=0.6)
    captions = {"parts": ["switching", "τ = 0.750"], "image": "$others until τ = 0.750, then $own"}
    drawn(tmp_path / "switching", "switching", content=3, tau=0.75, timestep=750, snr=0.1, captions=captions)
    drawn(tmp_path / "other-noise", "switching", content=4, tau=0.5, seed=1)
    for i, tau in enumerate((0.2, 0.6, 1.0)):
        drawn(tmp_path / "sweep" / f"tau-{tau:.3f}", "switching", content=10 + i, tau=tau, timestep=int(1000 * tau), snr=0.5)
    written_report(tmp_path / "sweep" / "report", [f"tau-{tau:.3f}" for tau in (0.2, 0.6)], seed=5)
    for name in ("criterion.png", "report/sweep.png", "report/report.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / "sweep" / name)
    return written_report(tmp_path / "report", ["vanilla", "mixing", "switching", "other-noise"])


@pytest.fixture
def page(report, evaluate, tmp_path):
    assert evaluate("report", "--fairness", "report", "--sweep", "sweep", "--out", "page") == 0
    return Page((tmp_path / "page" / "report.html").read_text())


def rows(page, which=0):
    """The heading and cells of each row of a table."""
    (body,) = page.find("tbody", page.find("table")[which])
    return [(text(page.find("th", row)[0]), page.find("td", row)) for row in page.find("tr", body)]


def shown(page, cells):
    """The number in each cell; None for a dash."""
    numbers = [page.find("span", cell, class_="number") for cell in cells]
    return [text(found[0]) if found else None for found in numbers]


def test_table_has_the_numbers_of_the_report(page, report):
    table = rows(page)
    assert [name.split()[0] for name, _ in table] == ["Real", "vanilla", "mixing", "switching", "other-noise"]
    for (_, cells), result in zip(table, [report["real"], *report["synthetic"]], strict=True):
        summaries = [result["directions"].get(each) or result["directions"]["real->real"] for each in DIRECTIONS]
        tests = [result["energy"][space][0] for space in ("pixels", "features")]
        expected = [f"{each[name]:.1f}" for each in summaries for name in ("ber", "folded_ber", "gap")]
        assert shown(page, cells) == expected + [f"{test['distance']:.3f}" for test in tests]
        for each, ber, gap in zip(summaries, cells[:9:3], cells[2:9:3], strict=True):
            low, high = each["intervals"]["ber"]
            assert text(ber).endswith(f"[{low:.1f}, {high:.1f}] ± {each['ber_deviation']:.1f}")
            assert text(gap).endswith(f"{each['error'][0]:.1f} / {each['error'][1]:.1f}")
        for test, cell in zip(tests, cells[9:], strict=True):
            assert text(cell).endswith(f"p {test['p_value']:.3f}")


def test_best_and_worst_methods_are_marked_but_not_the_baseline(page, report):
    table, methods = rows(page), report["synthetic"][1:]
    columns = [
        [measure(each["directions"][direction]) for each in methods]
        for direction in DIRECTIONS
        for measure in (*[lambda summary: -summary["folded_ber"]] * 2, lambda summary: summary["gap"])
    ] + [[abs(each["energy"][space][0]["distance"]) for each in methods] for space in ("pixels", "features")]
    for i, badness in enumerate(columns):
        names = [table[row][1][i][1].get("class") for row in range(5)]
        expected = [None] * 3
        expected[np.argmin(badness)], expected[np.argmax(badness)] = "best", "worst"
        assert names == [None, None, *expected], i
        for name, cell in zip(expected, [table[row][1][i] for row in (2, 3, 4)], strict=True):
            # a symbol, and a word for screen readers
            assert ("●" in text(cell), "○" in text(cell)) == (name == "best", name == "worst")
            assert (name or "") in text(cell)


def test_optional_columns_are_shown_if_the_report_has_them(report, evaluate, tmp_path):
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    _, mixing, switching, _ = content["synthetic"]
    mixing["quality"] = {"frechet": 12.345, "precision": None, "intervals": {"frechet": [11.0, 13.5]}}
    switching["quality"] = {"frechet": 20.0, "recall": 0.5}
    switching["cost"] = {"evaluations": 25, "seconds_per_image": 0.123456}
    (tmp_path / "report" / "report.json").write_text(json.dumps(content))
    assert evaluate("report", "--out", "report") == 0
    page = Page((tmp_path / "report" / "report.html").read_text())
    heads = [text(head) for head in page.find("th", page.find("table")[1], scope="col")]
    assert heads == ["set", "Fréchet", "recall", "evaluations", "seconds"]
    table = rows(page, 1)
    assert [shown(page, cells) for _, cells in table] == [
        [None] * 4, [None] * 4, ["12.35", None, None, None], ["20.00", "0.500", "25", "0.1235"], [None] * 4,
    ]  # fmt: skip
    assert text(table[2][1][0]).endswith("[11.00, 13.50]") and "best" in text(table[2][1][0])
    assert "–" in text(table[0][1][0]) and "worst" in text(table[3][1][0])


def test_page_is_self_contained(page, tmp_path):
    source = (tmp_path / "page" / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", source))
    named = [
        value
        for _, attributes, *_ in page.elements
        for name, value in attributes.items()
        if name in ("src", "srcset", "href", "action", "data", "poster", "xlink:href")
    ]
    assert named and all(value.startswith(("data:", "#")) for value in named)
    ids = [attributes["id"] for _, attributes, *_ in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids) and {f"#{each}" for each in ids} >= {value for value in named if value[0] == "#"}
    (policy,) = [each for each in page.find("meta") if "http-equiv" in each[1]]
    assert policy[1]["content"].startswith("default-src 'none'; img-src data:;")


def images_of(element, size=8, space=2):
    """The images in the grid of an <img> element, row by row."""
    found = pixels(element)
    cut = [
        found[top : top + size, left : left + size]
        for top in range(0, found.shape[0], size + space)
        for left in range(0, found.shape[1], size + space)
    ]
    return np.stack([image[..., :3] for image in cut if image[..., 3].all()])


def test_images_are_those_of_the_sets_bit_for_bit(page, tmp_path):
    kept = {name: SampleSet.open(tmp_path / name) for name in ("vanilla", "mixing", "switching", "other-noise")}
    images = {name: np.stack([samples.image(i) for i in range(64)]) for name, samples in kept.items()}
    grids = {text(page.find("summary", each)[0]).split()[0]: page.find("img", each) for each in page.find("details")}
    assert list(grids) == ["Real", *kept]
    for name, drawn in images.items():
        for value, element in enumerate(grids[name]):
            np.testing.assert_array_equal(images_of(element), drawn[value::2])
            assert name in element[1]["alt"] and VALUES[value] in element[1]["alt"]

    # one noise sample per column: the same positions of all sets from the same noise, the vanilla set first
    (section,) = page.find("section", id="pairs")
    elements = page.find("img", section)
    assert len(elements) == 6
    for place, element in enumerate(elements):
        name, value = ("vanilla", "mixing", "switching")[place % 3], place // 3
        np.testing.assert_array_equal(images_of(element), images[name][value:10:2])
    assert "square until τ = 0.750, then round" in text(section) and "other-noise" not in text(section)


def test_slider_has_a_frame_for_every_tau(page, tmp_path):
    frames = page.find("div", class_="frame")
    assert [frame[1]["data-tau"] for frame in frames] == ["0.2", "0.6", "1"]
    assert ["current" in frame[1]["class"].split() for frame in frames] == [False, True, False]  # nearest to switching's 0.75
    swept = json.loads((tmp_path / "sweep" / "report" / "report.json").read_text())["synthetic"]
    for frame, tau in zip(frames, (0.2, 0.6, 1.0), strict=True):
        samples = SampleSet.open(tmp_path / "sweep" / f"tau-{tau:.3f}")
        for value, element in enumerate(page.find("img", frame)):
            expected = np.stack([samples.image(i) for i in range(value, 10, 2)])
            np.testing.assert_array_equal(images_of(element), expected)
        stats = dict(zip(*([text(each) for each in page.find(tag, frame)] for tag in ("dt", "dd")), strict=True))
        assert (stats["τ"], stats["timestep"], stats["SNR"]) == (f"{tau:.3f}", str(int(1000 * tau)), "0.5")
        result = next((each for each in swept if each["name"] == f"tau-{tau:.3f}"), None)
        for direction in DIRECTIONS if result else ():
            assert stats[f"BER {direction}".replace("->", "→")] == f"{result['directions'][direction]['ber']:.1f}"
        assert len(stats) == (6 if result else 3)
    (slider,) = page.find("input")
    assert (slider[1]["type"], slider[1]["min"], slider[1]["max"], slider[1]["value"]) == ("range", "0", "2", "1")


def test_page_is_accessible(page):
    assert page.find("html")[0][1]["lang"] and page.find("meta", name="viewport")
    assert all(image[1]["alt"].strip() and int(image[1]["width"]) and int(image[1]["height"]) for image in page.find("img"))
    assert page.find("table") and len(page.find("caption")) == len(page.find("table"))
    assert all(head[1].get("scope") in ("col", "row", "colgroup") for head in page.find("th"))
    (slider,), (label,), (output,) = page.find("input"), page.find("label"), page.find("output")
    assert label[1]["for"] == output[1]["for"] == slider[1]["id"]
    assert all(each[1].get("aria-label") and each[1].get("tabindex") == "0" for each in page.find("div", class_="scroll"))


def test_figures_of_a_sweep_are_optional(report, evaluate, tmp_path):
    assert evaluate("report", "--fairness", "report", "--sweep", "sweep", "--out", "page") == 0
    assert len(Page((tmp_path / "page" / "report.html").read_text()).find("figure")) == 2
    for name in ("criterion.png", "report/sweep.png"):
        (tmp_path / "sweep" / name).unlink()
    assert evaluate("report", "--fairness", "report", "--sweep", "sweep", "--out", "page") == 0
    bare = Page((tmp_path / "page" / "report.html").read_text())
    assert not bare.find("figure") and bare.find("input")
    assert evaluate("report", "--out", "report") == 0
    assert not Page((tmp_path / "report" / "report.html").read_text()).find("input")


def test_names_from_files_are_escaped(evaluate, tmp_path):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;$title'
    values = (hostile, "b' <b>")
    real(tmp_path, attribute="a<i>", values=values)
    drawn(tmp_path / "vanilla", "vanilla", attribute="a<i>", values=values, model="<s>")
    drawn(tmp_path / "tricky&lt;", "sw<i>tched", attribute="a<i>", values=values, model="<s>")
    drawn(tmp_path / "sweep" / "tau-<u>", "switching", attribute="a<i>", values=values, tau=0.5)
    report = written_report(
        tmp_path / "report", ["vanilla", "tricky&lt;"], values=values, attribute="a<i>", command=[hostile], machine="<q>"
    )
    report["synthetic"][1]["name"] = hostile
    (tmp_path / "report" / "report.json").write_text(json.dumps(report))
    assert evaluate("report", "--out", "report", "--sweep", "sweep") == 0
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert not {"s", "u", "q"} & {each[0] for each in page.elements} and len(page.find("i")) == 1  # the legend's
    assert len(page.find("script")) == 1 and "alert" not in text(page.find("script")[0])
    assert all("onerror" not in each[1] and each[1].get("src") != "x" for each in page.elements)
    assert text(page.find("h1")[0]) == "Fairness of a<i>"
    assert rows(page)[2][0].startswith(" ".join(hostile.split()))


def test_page_of_three_values_and_of_images_that_jaxdiff_did_not_draw(evaluate, tmp_path):
    values = ("a", "b", "c")
    real(tmp_path, values=values)
    shutil.copy(tmp_path / "real.npz", tmp_path / "set.npz")
    report = written_report(tmp_path / "report", ["set.npz"], values=values)
    assert evaluate("report", "--out", "report") == 0
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert "folded" not in [text(head) for head in page.find("th")] and not page.find("section", id="pairs")
    furthest = max(report["synthetic"][0]["energy"]["pixels"], key=lambda test: test["distance"])
    assert shown(page, rows(page)[1][1])[6] == f"{furthest['distance']:.3f}"
    assert [len(page.find("img", each)) for each in page.find("details")] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "empty"], ["--out", "empty", "report.json"]),
        (["--fairness", "empty"], ["--fairness", "empty", "report.json"]),
        (["--fairness", "other"], ["other/report.json", "real", "synthetic"]),
        (["--fairness", "damaged"], ["damaged/report.json", "damaged"]),
        (["--fairness", "gone"], ["evaluates absent", "cannot be read"]),
        (["--fairness", "unreal"], ["evaluates nowhere.npz", "cannot be read"]),
        (["--fairness", "renamed"], ["evaluates real.npz", "flat"]),
        (["--fairness", "report", "--sweep", "empty"], ["--sweep", "empty", "tau-*"]),
        (["--fairness", "report", "--sweep", "mixed"], ["mixed/tau-0.400", "seed", "mixed/tau-0.200"]),
        (["--fairness", "report", "--sweep", "still"], ["still/tau-0", "no tau"]),
        (["--fairness", "report", "--sweep", "torn"], ["torn/report/report.json", "damaged"]),
        (["--fairness", "blurred"], ["blurred/report.png", "cannot be decoded as an image"]),
        (["--fairness", "report", "--out", "real.npz"], ["--out", "real.npz"]),
    ],
)
def test_wrong_input_is_one_line_and_status_2(report, evaluate, tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    written_report(tmp_path / "gone", ["vanilla", "absent"])
    options = {"synthetic": ["vanilla"], "attribute": "group", "real": "nowhere.npz"}
    written_report(tmp_path / "unreal", ["vanilla"], options=options)
    written_report(tmp_path / "renamed", ["vanilla"], values=("square", "flat"))
    drawn(tmp_path / "torn" / "tau-0.200", "switching", tau=0.2)
    written_report(tmp_path / "blurred", ["vanilla"])
    (tmp_path / "blurred" / "report.png").write_bytes(b"no picture")
    for name, content in (("other", '{"bits_per_dimension": 1}'), ("damaged", '{"real"'), ("torn/report", "[")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(content)
    drawn(tmp_path / "mixed" / "tau-0.200", "switching", tau=0.2)
    drawn(tmp_path / "mixed" / "tau-0.400", "switching", tau=0.4, seed=1)
    drawn(tmp_path / "still" / "tau-0", "vanilla")
    out = [] if "--out" in arguments else ["--out", "page"]
    capsys.readouterr()
    assert evaluate("report", *arguments, *out) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert "Traceback" not in error and not list(tmp_path.rglob("*.html*"))


def test_page_of_large_sets_is_small_and_quick(evaluate, tmp_path):
    real(tmp_path, size=32)
    names = [f"set-{i}" for i in range(5)]
    for i, name in enumerate(names):
        drawn(tmp_path / name, "switching" if i else "vanilla", count=8 * SHARD, size=32, content=i)
    for tau in np.linspace(0.05, 1, 20):
        drawn(tmp_path / "sweep" / f"tau-{tau:.3f}", "switching", count=20, size=32, tau=float(tau))
    written_report(tmp_path / "report", names)
    start = time.monotonic()
    assert evaluate("report", "--fairness", "report", "--sweep", "sweep", "--out", "page") == 0
    assert time.monotonic() - start < 60
    assert (tmp_path / "page" / "report.html").stat().st_size < 10e6


def browse(url, tmp_path, *arguments):
    """Runs headless Chromium and returns its output."""
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}")
    done = subprocess.run(
        [CHROMIUM, *flags, *arguments, url], cwd=tmp_path, timeout=LIMIT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_slider_changes_the_images_in_chromium(page, tmp_path):
    file = tmp_path / "page" / "report.html"
    moved = tmp_path / "page" / "moved.html"
    moving = """document.body.dataset.before = document.querySelector(".current").dataset.tau;
        slider.value = 0; slider.dispatchEvent(new Event("input")); slider.dispatchEvent(new Event("change"));
        document.body.dataset.link = location.hash;"""
    moved.write_text(file.read_text().replace("</body>", f"<script>{moving}</script></body>"))
    dom = Page(browse(f"{moved.as_uri()}#tau=0.9", tmp_path, "--dump-dom"))
    (body,), (slider,), (output,) = (dom.find(tag) for tag in ("body", "input", "output"))
    # a link finds the nearest tau; moving the slider changes the link
    assert (body[1]["data-before"], body[1]["data-link"]) == ("1", "#tau=0.2")
    assert [each[1]["data-tau"] for each in dom.find("div", class_="current")] == ["0.2"]
    assert slider[1]["aria-valuetext"] == "tau 0.200" and text(output) == "0.200"

    # without the other sections, since screenshots of a scrolled page are blank
    shots, alone = {}, tmp_path / "page" / "alone.html"
    alone.write_text(file.read_text().replace("</style>", "header, section:not(#tau), figure { display: none; }</style>"))
    for tau in ("0.2", "0.61"):
        browse(f"{alone.as_uri()}#tau={tau}", tmp_path, f"--screenshot={tau}.png", "--window-size=1280,900")
        with Image.open(tmp_path / f"{tau}.png") as shot:
            shots[tau] = np.asarray(shot.convert("RGB")).astype(int)
    # only the ten images of 96x96 pixels change
    changed = (np.abs(shots["0.2"] - shots["0.61"]).max(axis=2) > 16).sum()
    assert 0.8 * 10 * 96**2 < changed < 1.2 * 10 * 96**2


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_page_fits_the_screen_of_a_phone(page, tmp_path):
    file, probe = tmp_path / "page" / "report.html", tmp_path / "page" / "probe.html"
    measure = 'document.body.dataset.widths = [document.documentElement.scrollWidth, innerWidth].join(" ");'
    probe.write_text(file.read_text().replace("</body>", f"<script>{measure}</script></body>"))
    dom = browse(probe.as_uri(), tmp_path, "--dump-dom", "--window-size=390,844")
    needed, there = map(int, Page(dom).find("body")[0][1]["data-widths"].split())
    assert needed <= there <= 500  # some versions open no window below 500


@pytest.mark.skipif(CHROMIUM is None or shutil.which("pdftotext") is None, reason="no chromium or no pdftotext")
def test_print_has_every_tau_and_grid_but_no_slider(page, tmp_path):
    browse((tmp_path / "page" / "report.html").as_uri(), tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}")
    command = ["pdftotext", "-layout", tmp_path / "page.pdf", "-"]
    printed = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    for tau in ("0.200", "0.600", "1.000"):
        assert re.search(rf"^\s*{tau}\s+{int(1000 * float(tau))}\s", printed, flags=re.MULTILINE)
    assert "transition point" not in printed and "How to read this report" in printed
    grids = printed.partition("Images")[2].partition("How to read this report")[0]
    assert len(re.findall(r"^\s*square\s+round\s*$", grids, flags=re.MULTILINE)) == 5


def test_several_transition_points_are_listed_by_band_or_as_a_range(evaluate, tmp_path):
    real(tmp_path)
    drawn(tmp_path / "bands", "spectral", content=1, taus=[0.9, 0.625], edges=[2.0])
    drawn(tmp_path / "pairs", "switching", content=2, taus=[[1.0, 0.3, 0.5], [0.3, 1.0, 0.7], [0.5, 0.7, 1.0]])
    written_report(tmp_path / "report", ["bands", "pairs"])
    assert evaluate("report", "--out", "report") == 0
    page = Page((tmp_path / "report" / "report.html").read_text())
    cells_of = {name: [text(cell) for cell in cells] for name, cells in rows(page, -1)}
    assert cells_of["bands"][2] == "0.900, 0.625 by band" and cells_of["pairs"][2] == "0.300 to 0.700 by pair"


def test_sets_drawn_without_a_label_until_tau(evaluate, tmp_path):
    real(tmp_path)
    drawn(tmp_path / "vanilla", "vanilla", content=1)
    captions = {"parts": ["switching", "τ = 0.500"], "image": "no label until τ = 0.500, then $own"}
    drawn(tmp_path / "neutral", "switching", content=2, tau=0.5, start="none", captions=captions)
    for i, tau in enumerate((0.2, 1.0)):
        drawn(tmp_path / "sweep" / f"tau-{tau:.3f}", "switching", content=3 + i, tau=tau, start="none")
    written_report(tmp_path / "report", ["vanilla", "neutral"])
    assert evaluate("report", "--out", "report", "--sweep", "sweep") == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "no label until τ = 0.500, then square" in page and "<h3>no label until τ, then round</h3>" in page
    assert "drawn without a label until τ" in page and "other group" not in page


def test_captions_of_sets_with_a_fallback_to_the_method(evaluate, tmp_path):
    real(tmp_path)
    drawn(tmp_path / "old", "mixing", content=1, mixing=0.6)
    words = {"parts": ["mixing", "weight 0.6", "<b>guided</b>"], "image": "0.6 $own, 0.4 $others, $unknown & <i>"}
    drawn(tmp_path / "new", "mixing", content=2, mixing=0.6, captions=words)
    drawn(tmp_path / "odd", "mixing", content=3, captions={"parts": "no list", "image": 3})
    written_report(tmp_path / "report", ["old", "new", "odd"])
    assert evaluate("report", "--out", "report") == 0
    content = (tmp_path / "report" / "report.html").read_text()
    headers = {name.split()[0]: name for name, _ in rows(Page(content))}
    assert "mixing, weight 0.6, <b>guided</b>" in headers["new"]
    assert "mixing" in headers["old"] and "weight" not in headers["old"] and "mixing" in headers["odd"]
    assert "0.6 square, 0.4 round, $unknown &amp; &lt;i&gt;" in content and "0.6 round, 0.4 square" in content
    assert "<b>guided" not in content


def test_captions_do_not_identify_a_set(tmp_path):
    """A set begun without captions is continued without them, and its fingerprint does not depend on them."""
    begun = SampleSet.create(tmp_path / "set", {"seed": 0}, [], np.zeros((2, 0), np.int32), Pixels(2, 2))
    captions = {"parts": ["vanilla"], "image": "$own"}
    again = SampleSet.create(tmp_path / "set", {"seed": 0}, [], np.zeros((2, 0), np.int32), Pixels(2, 2), captions=captions)
    other = SampleSet.create(tmp_path / "other", {"seed": 0}, [], np.zeros((2, 0), np.int32), Pixels(2, 2), captions=captions)
    assert again.captions == begun.captions == {} and other.captions == captions
    assert begun.mark == again.mark == other.mark
    other.write(0, np.zeros((2, 2, 2, 3), np.uint8))
    assert SampleSet.open(tmp_path / "other").captions == captions
