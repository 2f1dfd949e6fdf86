"""The choice of the learning rate on the training set."""

import json

import pytest
import torch

from aevb.errors import ConfigError
from aevb.runs.load import load_run

CANDIDATES = "learning_rate_search.candidates"

SEARCH = [
    "optimizer.lr=null",
    "learning_rate_search.samples=2000",
    "max_samples=3000",
    "model.encoder.hidden=[16]",
    "logger=none",
    "callbacks.images=null",
]


def test_best_candidate_trains_the_run_from_the_start(run_train, tmp_path, caplog):
    caplog.set_level("INFO", "aevb")
    folder, _ = run_train(*SEARCH, "learning_rate_search.candidates=[0.0001,0.05]")
    found = json.loads(folder.status_file.read_text())["learning_rate"]
    assert found["chosen"] == 0.05
    assert found["samples"] == 2000
    assert found["train_elbo"]["0.05"] > found["train_elbo"]["0.0001"] + 1
    assert folder.config().optimizer.lr == 0.05
    assert "learning rate 0.05 chosen" in caplog.text

    plain, _ = run_train("optimizer.lr=0.05", *SEARCH[1:], folder=tmp_path / "plain")
    for a, b in zip(load_run(folder.path).parameters(), load_run(plain.path).parameters(), strict=True):
        assert torch.equal(a, b)

    run_train(f"resume={folder.path}", "max_samples=4000", folder=folder.path)
    assert folder.status()["samples"] == 4000


def test_candidates_are_compared_by_their_last_weights_also_where_averages_are_evaluated(run_train, tmp_path):
    found = [
        run_train(*SEARCH, f"{CANDIDATES}=[0.01]", f"ema_decay={decay}", folder=tmp_path / decay)[0].status()
        for decay in ("null", "0.9999")
    ]
    assert found[0]["learning_rate"] == found[1]["learning_rate"]


def test_candidate_that_diverges_is_not_chosen(run_train):
    folder, _ = run_train(
        *SEARCH, "optimizer=adam", "optimizer.lr=null", "learning_rate_search.candidates=[1.0e30,0.001]"
    )
    status = folder.status()
    assert status["learning_rate"]["chosen"] == 0.001
    assert status["learning_rate"]["train_elbo"]["1e+30"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["learning_rate_search.candidates=[]"], "learning_rate_search.candidates must list learning rates"),
        (
            ["learning_rate_search.candidates=[-1]"],
            "learning_rate_search.candidates must be a list of positive numbers, got",
        ),
        (["learning_rate_search.samples=0"], "learning_rate_search.samples must be a whole number"),
        (
            ["optimizer=adam", "optimizer.lr=null", "learning_rate_search.candidates=[1.0e30]"],
            "training diverges with each",
        ),
    ],
)
def test_bad_search_is_named(run_train, settings, message):
    with pytest.raises(ConfigError, match=message):
        run_train(*SEARCH, *settings)
