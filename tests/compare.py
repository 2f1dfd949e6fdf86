"""Comparison of run folders."""

import csv

import torch

from aevb.runs.folder import RunFolder


def weights(folder: RunFolder, which: str = "last") -> dict[str, torch.Tensor]:
    return folder.load_checkpoint(which)[1]["state_dict"]


def assert_same_end(a: RunFolder, b: RunFolder) -> None:
    """Two runs ended with the same weights, optimizer state and metrics, bit for bit."""
    (_, first), (_, second) = a.load_checkpoint("last"), b.load_checkpoint("last")
    assert first["samples"] == second["samples"]
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
    for index, state in first["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, second["optimizer_states"][0]["state"][index][name]), name
    assert metrics_without_clock(a) == metrics_without_clock(b)


def metrics_without_clock(folder: RunFolder) -> list[dict[str, str]]:
    with folder.metrics_file.open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if "per_second" not in key} for row in rows]
