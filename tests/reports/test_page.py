"""The page of a report: texts stay texts, and the files beside it begin no formula."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib.figure import Figure

from aevb.reports import Item, Skipped, write_page
from aevb.reports.page import link, number, panels

EVIL = "<script>alert(1)</script>\"'{{ 7 * 7 }}&"


def test_texts_are_escaped_and_numbers_formatted(tmp_path):
    rows = [{"data": EVIL, "a<b": -1234.567, "n": 12345, "none": None}, {"data": "x", "more": "y"}]
    item = Item("table", EVIL, EVIL, rows=rows, show_rows=True)
    text = write_page(tmp_path / "new", EVIL, EVIL, [item], [Skipped(EVIL, "\x1b[31m" + EVIL)]).read_text()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;{{ 7 * 7 }}&amp;") == 9
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert '<th scope="col">a&lt;b</th>' in text
    assert '<td class="number" data-value="-1234.567">−1,234.57</td>' in text
    assert '<td class="number" data-value="12345">12,345</td>' in text
    assert "<td></td>" in text
    assert "<h2>Skipped</h2>" in text


def test_estimates_are_sorted_by_their_values_and_not_as_texts(tmp_path):
    values = ["-24.95 ± 0.02", "-100.00 ± 3.10", "-25.36", 7, "-1 of 2", "1.0.0", None]
    assert [number(value) for value in values] == ["-24.95", "-100.00", "-25.36", 7, None, None, None]
    item = Item("table", "T", "", rows=[{"test/elbo": value} for value in values], show_rows=True)
    text = write_page(tmp_path, "title", "note", [item], []).read_text()
    assert '<td class="number" data-value="-100.00">−100.00 ± 3.10</td>' in text
    assert "<td>-1 of 2</td>" in text


def test_empty_parts_and_skipped_runs_have_no_section(tmp_path):
    text = write_page(tmp_path, "title", "note", [Item("a", "A", "caption", show_rows=True)], []).read_text()
    assert "<table" not in text
    assert "Skipped" not in text
    assert not (tmp_path / "a.csv").exists()


def test_texts_are_no_formulas_in_a_spreadsheet(tmp_path):
    rows = [{"what": what, "value": -1.5} for what in ("=cmd|' /C calc'!A0", "@SUM(1)", "+x", "-x", "-1.00 ± 0.01")]
    write_page(tmp_path, "title", "note", [Item("table", "T", "", rows=rows)], [])
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert [line.startswith(("'", "\"'")) for line in lines[1:]] == [True, True, True, True, False]
    assert all(line.endswith(",-1.5") for line in lines[1:])


def test_curves_are_panels_of_lines():
    point = {"mean": -1.0, "deviation": 0.1, "seeds": 2}
    rows = [{"data": "FreyFace", "runs": name, "metric": "val/elbo", "samples": n, **point}
            for name in ("a", "b") for n in (1, 10)]  # fmt: skip
    points = [[1, -1.0, 0.1], [10, -1.0, 0.1]]
    lines = [{"name": name, "dashed": False, "points": points} for name in ("a", "b")]
    assert panels(rows) == [{"title": "Frey Face, val/elbo", "lines": lines}]
    rows = [
        {"train_size": None, "method": "AEVB", "split": split, "samples": 1, **point} for split in ("train", "test")
    ]
    (panel,) = panels(rows)
    assert panel["title"] == "all training data"
    assert [(line["name"], line["dashed"]) for line in panel["lines"]] == [
        ("AEVB (train)", False),
        ("AEVB (test)", True),
    ]


def test_a_link_is_relative_whatever_the_name(tmp_path):
    assert link(str(tmp_path / "runs" / "a b#?"), tmp_path / "report") == "./../runs/a%20b%23%3F"
    assert link("javascript:alert(1)", Path()) == "./javascript%3Aalert%281%29"


CURVE = {10: (-30.0, 0.5), 1000: (-20.0, 0.2), 10_000: (-15.0, 0.1), 100_000: (-14.0, 0.0)}


@pytest.fixture
def page(tmp_path, browser):
    """A report with a table and two curves, in a browser; what the browser complains about is in `complaints`."""
    rows = [
        {"data": "MNIST", "runs": name, "metric": "val/elbo", "samples": n, "mean": mean + shift, "deviation": spread,
         "seeds": 3}
        for name, shift in (("a", 0.0), (EVIL, 1.0))
        for n, (mean, spread) in CURVE.items()
    ]  # fmt: skip
    curves = Item("learning_curves", "Curves", "A caption.", Figure(), rows)
    results = [{"what": what, "test/elbo": elbo, "run": f"runs/{what}"} for what, elbo in
               (("second", -9.5), ("first", -100.25), ("third", None))]  # fmt: skip
    path = write_page(
        tmp_path, "A report", "3 runs.", [Item("table", "Runs", "", rows=results, show_rows=True), curves], []
    )
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    opened.complaints = []
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.complaints.append(request.url))
    opened.goto(path.as_uri())
    assert opened.complaints.pop(0) == path.as_uri()
    yield opened
    assert opened.complaints == []
    opened.close()


@pytest.mark.slow
def test_the_page_is_readable_on_a_telephone_and_by_a_screen_reader(page):
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []
    page.emulate_media(color_scheme="dark")
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_a_table_is_sorted_by_a_column_numbers_as_numbers_and_empty_cells_last(page):
    def order():
        return page.locator("tbody tr td:first-child").all_inner_texts()

    page.get_by_role("button", name="test/elbo").click()
    assert order() == ["first", "second", "third"]
    page.get_by_role("button", name="test/elbo").press("Enter")
    assert order() == ["second", "first", "third"]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("test/elbo")


@pytest.mark.slow
def test_curves_show_their_values_zoom_and_hide(page):
    box = page.locator(".chart svg").bounding_box()
    right, bottom = box["x"] + 0.95 * box["width"], box["y"] + 0.6 * box["height"]
    page.mouse.move(right, bottom)
    values = page.locator(".chart output")
    assert "a: −14 at 100K" in values.inner_text()
    assert f"{EVIL}: −13 at 100K" in values.inner_text()

    before = page.locator(".chart svg").inner_html()
    page.mouse.down()
    page.mouse.move(right - 60, bottom - 50)
    page.mouse.up()
    assert page.locator(".chart svg").inner_html() != before
    page.locator(".chart svg").dblclick()
    assert page.locator(".curve").count() == 2

    page.get_by_role("button", name="a", exact=True).click()
    assert page.locator(".curve").count() == 1
    page.locator(".chart svg").hover()
    assert "a: −1" not in values.inner_text()


@pytest.mark.slow
def test_without_scripts_the_figure_is_a_picture(page, browser):
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(page.url)
    assert plain.locator("img[alt=Curves]").is_visible()
    assert page.locator("img[alt=Curves]").count() == 0
