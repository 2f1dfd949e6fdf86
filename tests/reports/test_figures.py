"""Curves, panels and tables of runs whose values are known."""

import json
from statistics import fmean, stdev

import pytest

from aevb.reports import Item, bound, find, learning_curves, marginal_likelihood, numbers, table, write_page
from aevb.reports.figures import over_seeds
from aevb.reports.reading import Statistics
from aevb.runs.folder import RunFolder
from aevb.runs.metrics import over_members


def of_one(*points: tuple[int, float]) -> list[Statistics]:
    return [Statistics(samples, value, 0.0, 1) for samples, value in points]


def test_over_seeds_is_mean_and_deviation_where_there_are_values():
    found = over_seeds([of_one((10, 1.0), (20, 2.0)), of_one((10, 3.0), (20, 6.0)), of_one((10, 5.0))])
    assert [(at.samples, at.mean, at.seeds) for at in found] == [(10, 3.0, 3), (20, 4.0, 2)]
    assert [at.deviation for at in found] == pytest.approx([2.0, 8**0.5])
    assert over_seeds([of_one((5, 1.5))])[0].deviation == 0


def test_seeds_trained_at_once_count_as_runs_of_their_own(make_run, tmp_path):
    values = [1.0, 4.0, 2.0, 9.0, -3.0]
    together, apart = over_members({"val/elbo": values[:3]}), values[3:]
    make_run("together", {name: {10: value} for name, value in together.items()}, seeds=3)
    for seed, value in enumerate(apart, 3):
        make_run(f"seed{seed}", {"val/elbo": {10: value}}, seed=seed)
    (found,) = over_seeds(run.curve("val/elbo") for run in find([str(tmp_path / "runs")])[0])
    assert (found.samples, found.seeds) == (10, 5)
    assert (found.mean, found.deviation) == pytest.approx((fmean(values), stdev(values)))


def test_standard_errors_are_in_the_tables(make_run, tmp_path):
    curves = {
        "curve/train_elbo": -90.0,
        "curve/test_elbo": -91.0,
        "curve/test_elbo_se": 0.25,
        "curve/train_elbo_se": 0.5,
    }
    make_run("run", {name: {10: value} for name, value in curves.items()}, seeds=4, seed=2)
    runs, _ = find([str(tmp_path / "runs")])
    (row,) = table(runs)
    assert (row["seed"], row["curve/test_elbo_se"]) == ("2 to 5", 0.25)
    (row,) = numbers(bound(runs)).rows
    assert row["AEVB (test)_se"] == pytest.approx(0.25)
    text = write_page(
        tmp_path / "page", "title", "note", [Item("table", "T", "", rows=[row], show_rows=True)], []
    ).read_text()
    assert "−91.00 ± 0.25" in text
    assert "_se" not in text.split("<table")[1]


def test_later_of_two_values_at_the_same_samples_counts(make_run, tmp_path):
    path = make_run("run", {"val/elbo": {10: 1.0}})
    with RunFolder(path).metrics_file.open("a") as file:
        file.write("10,2.0\r\n")
    (run,) = find([str(tmp_path / "runs")])[0]
    assert [at.mean for at in run.curve("val/elbo")] == [2.0]


def two_by_two(make_run, what="elbo"):
    for data, latent_dims in (("mnist", (3, 20)), ("freyface", (2,))):
        for latent_dim in latent_dims:
            for objective, offset in (("sgvb", 0.0), ("wake_sleep", -10.0)):
                curves = {
                    f"curve/{split}_{what}": {10**i: i + offset + latent_dim + gap for i in (4, 5, 6)}
                    for split, gap in (("train", 0.5), ("test", 0.0))
                }
                make_run(f"{data}-{latent_dim}-{objective}", curves, data, objective, latent_dim)


def test_figure_2_has_a_row_for_each_data_set_and_a_panel_for_each_latent_dim(make_run, tmp_path):
    two_by_two(make_run)
    item = bound(find([str(tmp_path / "runs")])[0])
    titles = [axes.get_title() for axes in item.figure.axes if axes.axison]
    assert titles == ["Frey Face, $N_z$ = 2", "MNIST, $N_z$ = 3", "MNIST, $N_z$ = 20"]
    labels = {line.get_label() for line in item.figure.axes[0].get_lines()}
    assert labels == {f"{method} ({split})" for method in ("AEVB", "Wake-Sleep") for split in ("train", "test")}
    assert len(item.rows) == 3 * 4 * 3
    (row,) = [
        row
        for row in item.rows
        if (row["latent_dim"], row["method"], row["split"], row["samples"]) == (20, "Wake-Sleep", "train", 10**5)
    ]
    assert row["mean"] == pytest.approx(5 - 10 + 20 + 0.5)


def test_a_panel_joins_seeds_but_not_settings(make_run, tmp_path):
    for lr, offset in (("0.01", 0.0), ("0.1", 7.0)):
        for seed in (0, 1):
            curves = {f"curve/{split}_elbo": {10: offset + 2 * seed} for split in ("train", "test")}
            make_run(f"{lr}-{seed}", curves, seed=seed, overrides=[f"optimizer.lr={lr}"])
    item = bound(find([str(tmp_path / "runs")])[0])
    found = {row["method"]: (row["mean"], row["seeds"]) for row in item.rows if row["split"] == "test"}
    assert found == {"AEVB, optimizer.lr=0.01": (1.0, 2), "AEVB, optimizer.lr=0.1": (8.0, 2)}
    assert len({line.get_color() for line in item.figure.axes[0].get_lines()}) == 2
    (row,) = numbers(item).rows
    assert row["AEVB, optimizer.lr=0.1 (test)_se"] == pytest.approx(1.0)


def test_numbers_of_a_panel_are_those_of_its_last_common_samples(make_run, tmp_path):
    for objective, end in (("sgvb", 1000), ("wake_sleep", 100)):
        curves = {f"curve/{split}_elbo": {10: 1.0, 100: 2.0, end: end / 40} for split in ("train", "test")}
        make_run(objective, curves, objective=objective)
    make_run("other", {f"curve/{split}_elbo": {50: -1.0} for split in ("train", "test")}, latent_dim=200)
    found = numbers(bound(find([str(tmp_path / "runs")])[0])).rows
    assert found[0] == {
        "data": "MNIST",
        "latent_dim": 3,
        "samples": 100,
        "AEVB (train)": 2.0,
        "AEVB (test)": 2.0,
        "Wake-Sleep (train)": 2.5,
        "Wake-Sleep (test)": 2.5,
    }
    assert [row["latent_dim"] for row in found] == [3, 200]
    assert found[1]["AEVB (test)"] == -1.0


def test_figure_3_has_a_panel_for_each_training_set(make_run, tmp_path):
    for train_size in (1000, 50000):
        for objective in ("sgvb", "wake_sleep", "monte_carlo_em"):
            curves = {f"curve/{split}_log_marginal": {10**4: -150.0, 10**5: -130.0} for split in ("train", "test")}
            make_run(f"{objective}-{train_size}", curves, objective=objective, train_size=train_size)
    item = marginal_likelihood(find([str(tmp_path / "runs")])[0])
    assert [axes.get_title() for axes in item.figure.axes] == ["$N_{train}$ = 1,000", "$N_{train}$ = 50,000"]
    assert {row["method"] for row in item.rows} == {"AEVB", "Wake-Sleep", "MCEM"}
    assert bound(find([str(tmp_path / "runs")])[0]) is None


def test_learning_curves_join_the_seeds_of_a_setting(make_run, tmp_path):
    for latent_dim in (3, 5):
        for seed in (0, 1):
            make_run(f"{latent_dim}-{seed}", {"val/elbo": {10: 1.0 + seed, 20: 3.0}}, latent_dim=latent_dim, seed=seed)
    item = learning_curves(find([str(tmp_path / "runs")])[0], ["val/elbo", "train/elbo"])
    assert {row["runs"] for row in item.rows} == {"model.latent_dim=3", "model.latent_dim=5"}
    first = item.rows[0]
    assert (first["samples"], first["mean"], first["seeds"]) == (10, 1.5, 2)
    assert first["deviation"] == pytest.approx(0.5**0.5)
    assert "standard deviation" in item.caption


@pytest.mark.parametrize("count", [2, 30, 60])
def test_legend_of_many_curves_leaves_the_panels_their_size(make_run, tmp_path, count):
    for latent_dim in range(2, count + 2):
        make_run(f"run-{latent_dim}", {"val/elbo": {10: 1.0 * latent_dim, 20: 3.0}}, latent_dim=latent_dim)
    figure = learning_curves(find([str(tmp_path / "runs")])[0], ["val/elbo"]).figure
    figure.savefig(tmp_path / "figure.png")
    (axes,) = figure.axes
    (legend,) = figure.legends
    panel, box = axes.get_tightbbox(), legend.get_window_extent()
    assert box.y1 <= panel.y0 + 1
    assert axes.get_window_extent().height / figure.dpi > 2.5  # inches
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert len(legend.get_texts()) == min(count, 30)
    more = "30 more curves are named in the CSV file" if count == 60 else ""
    assert legend.get_title().get_text() in (more, "None")


def test_there_is_no_figure_without_data(make_run, tmp_path):
    make_run("a", {"train/kl": {1: 1.0}})
    runs, _ = find([str(tmp_path / "runs")])
    assert bound(runs) is marginal_likelihood(runs) is learning_curves(runs, ["val/elbo"]) is None


def test_labels_are_drawn_as_they_are_written(make_run, tmp_path):
    for seed, tag in enumerate((r"$\frac$", "x" * 5000)):
        path = make_run(f"seed-{seed}", {"val/elbo": {1: 1.0, 2: 2.0}}, seed=seed)
        (path / ".hydra" / "overrides.yaml").write_text(json.dumps([f"data.note='{tag}'"]))
    item = learning_curves(find([str(tmp_path / "runs")])[0], ["val/elbo"])
    item.figure.savefig(tmp_path / "figure.png")
