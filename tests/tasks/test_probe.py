"""A classifier on z reads the labels that are in z."""

import pytest
import torch

from aevb.data.module import Split
from aevb.tasks import Probe

from .known import collapsed_model, normal_data, run


def test_probe_reads_labels_that_are_in_z_and_only_those():
    x = normal_data(1000)
    seen, unseen = (x[..., 0].flatten() > 0).long(), (x[..., 3].flatten() > 0).long()
    for labels, low, high in ((seen, 0.97, 1.0), (unseen, 0.4, 0.62)):
        train, test = Split(x[:600], labels[:600]), Split(x[600:], labels[600:])
        found = run(Probe(), collapsed_model(2), test.x, test.y, train).results
        assert low <= found["accuracy"] <= high
        assert found["fitted_to"] == 600
        assert 0.4 < found["most_common_label"] < 0.6


def test_probe_needs_labels():
    with pytest.raises(ValueError, match="needs labels"):
        run(Probe(), collapsed_model(1), normal_data(5))


@pytest.mark.parametrize("labels", [torch.arange(100) * 10**5, torch.zeros(100, dtype=torch.long)])
def test_probe_refuses_labels_that_are_no_classes(labels):
    with pytest.raises(ValueError, match=r"task=probe needs labels that are classes, got (100|1) different"):
        run(Probe(), collapsed_model(1), normal_data(100), labels)
