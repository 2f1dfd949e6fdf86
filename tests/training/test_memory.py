"""A model that does not fit in memory is refused in one line, before its weights are drawn."""

import pytest
import torch
from torch import nn

from aevb.errors import ConfigError, Stopped, is_out_of_memory
from aevb.training import memory
from aevb.training.memory import weights_within_memory

TINY = ["logger=none", "model.encoder.hidden=[8]", "max_samples=1000", "callbacks={}"]


def test_weights_are_counted_while_they_are_made(monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: 4 * 1000)
    with weights_within_memory():
        nn.Linear(10, 10)
    with pytest.raises(MemoryError), weights_within_memory():
        nn.Linear(10, 100)
    nn.Linear(10, 100)


@pytest.mark.parametrize("override", ["model.encoder.hidden=[9000000]", "model.latent_dim=9000000"])
def test_too_large_a_model_is_one_line(run_train, monkeypatch, override):
    monkeypatch.setattr(memory, "memory_limit", lambda: 2**24)
    with pytest.raises(
        ConfigError, match=r"^model: it does not fit in memory \(its weights need over .*; lower model"
    ) as error:
        run_train(*TINY, override)
    assert "\n" not in str(error.value)


def test_memory_that_runs_out_in_training_is_one_line(run_train, monkeypatch):
    def run_out(self, *arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes\nand more of it")

    monkeypatch.setattr("aevb.training.module.AEVB.training_step", run_out)
    with pytest.raises(Stopped, match=r"allocate 8 bytes; lower data\.batch_size or objective\.num_samples$"):
        run_train(*TINY)


def test_out_of_memory_errors_of_torch_are_recognized():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50)
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
