"""Sums and means over processes, by two real ones."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from aevb.collectives import means_over_processes, sums_over_processes
from aevb.likelihoods import OptimalGaussian
from aevb.networks import EMACodebook
from aevb.objectives import MonteCarloEM
from aevb.objectives.score_function import LearnedBaseline

from .small import small_model

H = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0))
"""Of each of three steps: the first half is that of the first process."""

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from aevb.collectives import sums_over_processes
from tests.test_collectives import H, averages, codebook, step_size

rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/store", rank=rank, world_size=2)
summed, of_first = sums_over_processes([torch.tensor([1.0, rank])], [torch.full((2, 2), rank + 5.0)])
found = {"sums": [summed.tolist(), of_first.tolist()]}
for restart_below in (0.0, 0.5):
    torch.manual_seed(rank)
    found[str(restart_below)] = codebook(restart_below, H.chunk(2, dim=1)[rank]).codebook.tolist()
found["averages"] = averages(H.chunk(2, dim=1)[rank])
found["step_size"] = step_size(rank)
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump(found, file)
dist.destroy_process_group()
os._exit(0)  # on a busy machine, a thread of torch's that still runs at the end of the interpreter aborts the process
"""


def codebook(restart_below: float, steps: torch.Tensor) -> EMACodebook:
    """A codebook of four vectors that has followed some steps."""
    codebook = EMACodebook(2, num_codes=4, decay=0.5, restart_below=restart_below)
    codebook.codebook.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]))
    for h in steps:
        codebook.update(h, codebook.nearest(h))
    return codebook


def averages(steps: torch.Tensor) -> list[float]:
    """What a likelihood's variance and a baseline's mean and scale have become after some steps."""
    head, baseline = OptimalGaussian((2,), (2,)), LearnedBaseline((2,), hidden=3, decay=0.5)
    for h in steps:
        head.distribution(h).log_prob(torch.zeros_like(h))
        baseline(h, h.square().sum(-1).unsqueeze(0))
    return [float(head.variance), *map(float, baseline.statistics())]


def step_size(seed: int) -> float:
    """That of Monte Carlo EM after a minibatch."""
    torch.manual_seed(0)
    vae, em = small_model((1, 2, 2)), MonteCarloEM(num_starts=2, transitions=6, leapfrog_steps=1, updates=1)
    torch.manual_seed(seed)
    em.expectation(vae.p, torch.randint(2, (3, 1, 2, 2)).float())
    return float(em.step_size)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes find."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(folder / "script.py"), str(folder)]
    processes = [subprocess.Popen(command, env=environment | {"RANK": str(rank)}) for rank in range(2)]
    assert [process.wait(timeout=110) for process in processes] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_tensors_are_summed_or_those_of_the_first_process(both):
    assert both[0]["sums"] == both[1]["sums"] == [[2.0, 1.0], [[5.0, 5.0], [5.0, 5.0]]]


@pytest.mark.slow
def test_a_codebook_follows_the_minibatches_of_all_processes(both):
    assert both[0] == both[1]
    torch.testing.assert_close(torch.tensor(both[0]["0.0"]), codebook(0.0, H).codebook)
    assert max(map(max, both[0]["0.5"])) < 9  # the vector far from everything has started anew, at one place


@pytest.mark.slow
def test_running_averages_are_of_the_minibatches_of_all_processes(both):
    assert both[0]["averages"] == both[1]["averages"]
    torch.testing.assert_close(torch.tensor(both[0]["averages"]), torch.tensor(averages(H)))
    alone = [step_size(seed) for seed in range(2)]
    assert alone[0] != alone[1]
    assert both[0]["step_size"] == both[1]["step_size"] == pytest.approx(sum(alone) / 2)


def test_a_process_alone_has_the_sums():
    tensors = [torch.ones(2), torch.zeros(1, 3)]
    assert all(
        found is given for found, given in zip(sums_over_processes(tensors[:1], tensors[1:]), tensors, strict=True)
    )
    assert means_over_processes(tensors[:1])[0] is tensors[0]
