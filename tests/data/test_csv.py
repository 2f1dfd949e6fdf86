"""Tables: columns by name, standardised on the training split, reported back in their units."""

import csv
import math

import numpy as np
import pytest
import torch

from aevb.data import CSV
from aevb.errors import ConfigError

RNG = np.random.default_rng(0)
ROWS = RNG.normal([1e6, 0.01, -5], [1e4, 0.002, 30], (60, 3))
SPECIES = RNG.choice(["setosa", "virginica"], 60)
SMALL = {"batch_size": 5}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mass", "width", "charge", "species"])
        writer.writerows([*map(repr, map(float, row)), name] for row, name in zip(ROWS, SPECIES, strict=True))
    return path


def test_columns_are_standardised_on_the_training_split(table):
    dm = CSV(table, label="species", **SMALL)
    assert dm.shape == (1, 1, 3)
    assert [len(split.x) for split in dm.splits] == [48, 6, 6]
    train = dm.splits.train.x[:, 0, 0].double()
    torch.testing.assert_close(train.mean(0), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    assert dm.splits.test.x.mean(0).abs().max() > 1e-3
    assert dm.columns == ["mass", "width", "charge"]
    # Back in units: every row of the file, once.
    back = torch.cat([dm.in_units(split.x) for split in dm.splits])[:, 0, 0].numpy()
    order = np.argsort(back[:, 0])
    np.testing.assert_allclose(back[order], ROWS[np.argsort(ROWS[:, 0])], rtol=1e-6, atol=1e-6)
    labels = torch.cat([split.y for split in dm.splits]).numpy()[order]
    assert [dm.classes[label] for label in labels] == list(SPECIES[np.argsort(ROWS[:, 0])])


def test_a_density_changes_by_the_scales(table):
    dm = CSV(table, columns=["charge", "mass"], **SMALL)
    raw = dm.in_units(dm.splits.val.x)[:, 0, 0]
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(dm.splits.val.x[:, 0, 0].double()).sum(-1)
    in_units = torch.distributions.Normal(dm.mean, dm.scale).log_prob(raw).sum(-1)
    torch.testing.assert_close(standard - dm.log_scale, in_units, rtol=1e-6, atol=1e-5)


def test_a_column_without_a_name_may_be_left_out(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(",a,b\n" + "".join(f"{i},{i * i},{i % 3}\n" for i in range(20)))
    assert CSV(path, columns=["a", "b"], **SMALL).shape == (1, 1, 2)


def test_values_may_stay_as_they_are(table):
    dm = CSV(table, columns=["width"], standardize=False, **SMALL)
    assert dm.log_scale == 0
    values = torch.cat([split.x for split in dm.splits]).flatten().numpy()
    np.testing.assert_array_equal(np.sort(values), np.sort(ROWS[:, 1].astype(np.float32)))


def test_other_delimiters_byte_order_marks_and_blank_lines(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("\ufeffa\tb\n\n" + "\n".join(f"{i}\t{i * i}" for i in range(20)) + "\n\n", encoding="utf-8")
    for delimiter in ("\t", r"\t"):
        dm = CSV(path, delimiter=delimiter, **SMALL)
        assert sum(len(split.x) for split in dm.splits) == 20
        assert dm.columns == ["a", "b"]


LINES = ["a,b,kind"] + [f"{i},{i * i},{'xy'[i % 2]}" for i in range(20)]


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({}, {"columns": ["a", "c"]}, "has no column 'c'; it has a, b, kind"),
        ({}, {"label": "kin"}, "has no column 'kin'; did you mean kind."),
        ({}, {}, "has 'x', which is no finite number, in line 2, column kind; mend it, or choose data.columns"),
        ({5: "4,,y"}, {"label": "kind"}, "has an empty cell in line 6, column b; mend it, or choose data.columns"),
        ({5: "4,nan,y"}, {"label": "kind"}, "has 'nan', which is no finite number, in line 6, column b; .*"),
        ({5: "4,5"}, {"label": "kind"}, "has 2 cells in line 6, and 3 columns"),
        ({0: "a,a,kind"}, {"label": "kind"}, "must name its columns in its first line, each once; it has a, a, kind"),
        (
            {i: f"{i},7.5" for i in range(21)},
            {},
            "must name its columns in its first line, which has the numbers 0, 7.5",
        ),
        ({0: ",b,kind"}, {"label": "kind"}, "has a column without a name, .*; name it, or choose data.columns"),
        (
            {i: f"{i};2" for i in range(1, 21)} | {0: "a;b"},
            {},
            "has '1;2', .* or choose data.columns or data.delimiter",
        ),
        ({i: f"{i},7,x" for i in range(1, 21)}, {"label": "kind"}, "has the same value in all training rows of b; .*"),
        ({i: f"{i},1e200,x" for i in range(1, 21)}, {"columns": ["b"], "standardize": False}, "has numbers too .*"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, change, settings, message):
    path = tmp_path / "x.csv"
    path.write_text("\n".join(change.get(i, line) for i, line in enumerate(LINES)))
    with pytest.raises(ConfigError, match=rf"^data\.path: {path} {message}$"):
        CSV(path, **settings, **SMALL).setup()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must name its columns in its first line, each once; it has none"),
        (b"a,b\n", "has 0 rows of 2 columns"),
        (b"a,b\n1,2\n3,4\n", "has too few datapoints to split, 2"),
        (b"\xff\xfe\x00", "must be in UTF-8; .*"),
        (b'a,b\n1,"' + b"2" * 200_000, "is no CSV file: .*"),
    ],
)
def test_files_that_hold_no_table(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^data\.path: {path} {message}$"):
        CSV(path, **SMALL).setup()
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        CSV(tmp_path / "none.csv", **SMALL).setup()


def test_a_run_reports_in_units(run_train, table, capsys):
    settings = ["data=csv", f"data.path={table}", "data.label=species", "data.batch_size=10", "model=gaussian"]
    folder, _ = run_train(*settings, "max_samples=200", "logger=none", "model.encoder.hidden=[8]")
    elbo = folder.status()["results"]["test/elbo"]
    dm = CSV(table, label="species", **SMALL)
    dm.setup()
    expected = elbo - dm.log_scale
    out = capsys.readouterr().out
    assert f"{expected:,.2f} nats per datapoint, as a density of the columns" in out
    with next(folder.images.glob("*_samples.csv")).open() as file:
        drawn = list(csv.DictReader(file))
    assert list(drawn[0]) == ["mass", "width", "charge"]
    assert len(drawn) == 100
    assert math.isfinite(float(drawn[0]["mass"]))
    assert np.mean([float(row["mass"]) for row in drawn]) == pytest.approx(1e6, rel=0.1)


def test_numbers_that_count_columns_name_them(tmp_path):
    """As pandas names the columns of an array."""
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["0,1,2", *(f"{i},{i * i},7.{i}" for i in range(20))]))
    table = CSV(path, **SMALL)
    table.setup()
    assert table.columns == ["0", "1", "2"]
    assert sum(len(part.x) for part in table.splits) == 20
