"""The page of a report: texts stay texts, and the files beside it begin no formula."""

from aevb.reports import Item, Skipped, write_page

EVIL = "<script>alert(1)</script>\"'{{ 7 * 7 }}&"


def test_texts_are_escaped_and_numbers_formatted(tmp_path):
    rows = [{"data": EVIL, "a<b": -1234.567, "n": 12345, "none": None}, {"data": "x", "more": "y"}]
    item = Item("table", EVIL, EVIL, rows=rows, show_rows=True)
    text = write_page(tmp_path / "new", EVIL, EVIL, [item], [Skipped(EVIL, "\x1b[31m" + EVIL)]).read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;{{ 7 * 7 }}&amp;") == 8
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert "<th>a&lt;b</th>" in text
    assert '<td class="number">−1,234.57</td>' in text
    assert '<td class="number">12,345</td>' in text
    assert "<td></td>" in text
    assert "<h2>Skipped</h2>" in text


def test_no_part_without_rows_and_no_section_of_what_was_skipped(tmp_path):
    text = write_page(tmp_path, "title", "note", [Item("a", "A", "caption", show_rows=True)], []).read_text()
    assert "<table" not in text
    assert "Skipped" not in text
    assert not (tmp_path / "a.csv").exists()


def test_spreadsheet_takes_no_text_for_a_formula(tmp_path):
    rows = [{"what": what, "value": -1.5} for what in ("=cmd|' /C calc'!A0", "@SUM(1)", "+x", "-x", "-1.00 ± 0.01")]
    write_page(tmp_path, "title", "note", [Item("table", "T", "", rows=rows)], [])
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert [line.startswith(("'", "\"'")) for line in lines[1:]] == [True, True, True, True, False]
    assert all(line.endswith(",-1.5") for line in lines[1:])
