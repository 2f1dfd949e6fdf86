"""The mathematics of data parallelism, by two real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aevb.distributed.strategy import average_gradients

SCRIPT = """
import json, os, sys
from functools import partial
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader
from aevb.distributed.strategy import average_gradients, trainer_options
from aevb.objectives import SGVB
from aevb.training.module import AEVB
from aevb.training.steps import verified
from tests.small import quiet_trainer, small_model

rank = int(os.environ["RANK"])
# A file is their meeting point: a port might be taken.
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/store", rank=rank, world_size=2)
parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (), (4,), (1, 2))]
gradients = []
for step in range(2):
    parameters[0].grad = torch.arange(6.0).view(2, 3) * (rank + 1)
    parameters[1].grad = torch.tensor(float(rank)) if step == 0 or rank == 0 else None
    parameters[2].grad = None
    parameters[3].grad = torch.full((1, 2), 1.0) if rank == 1 else None
    average_gradients(parameters)
    gradients.append([None if p.grad is None else p.grad.tolist() for p in parameters])

# Then a few blocks of training, eagerly and with recorded steps.
verified.WARM_UP = 3


class Deciding(SGVB):
    def estimate(self, p, q, x):
        estimate = super().estimate(p, q, x)
        if rank == 1:
            bool(estimate.loss > 0)
        return estimate


def train(case, steps):
    torch.manual_seed(0)
    objective = Deciding() if case == "one_cannot" else SGVB()
    objective.num_data = 400
    adagrad = partial(torch.optim.Adagrad, lr=0.05, fused=True)
    module = AEVB(small_model((4,)), objective, adagrad, steps=steps)
    x = torch.randint(2, (4, 5, 10, 4), generator=torch.Generator().manual_seed(rank)).float()
    found = []
    module.on_train_end = lambda: found.append(module.runners[0].active.name == "recorded")
    trainer = quiet_trainer(max_epochs=2, devices=2, use_distributed_sampler=False, **trainer_options())
    trainer.fit(module, DataLoader([(block,) for block in x], batch_size=None))
    return found[0], [parameter.tolist() for parameter in module.parameters()], module.samples_seen


found = {case: [train(case, "recorded"), train(case, "eager")] for case in ("all_can", "one_cannot")}
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump({"gradients": gradients} | found, file)
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes find."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "script.py").write_text(SCRIPT)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "0",
        "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(folder / "script.py"), str(folder)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=110) for process in processes] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_gradients_are_means_over_processes(both):
    first, second = (found["gradients"] for found in both)
    assert first == second
    mean = [[0.0, 1.5, 3.0], [4.5, 6.0, 7.5]]
    assert first == [[mean, 0.5, None, [[0.5, 0.5]]], [mean, 0.0, None, [[0.5, 0.5]]]]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["all_can", "one_cannot"])
def test_processes_record_their_steps_together(case, both):
    first, second = (found[case] for found in both)
    assert first == second
    (recorded, weights, samples), (eager, weights_eager, samples_eager) = first
    assert (recorded, eager) == (case == "all_can", False)
    assert weights == weights_eager
    assert samples == samples_eager == 800


def test_a_process_alone_keeps_its_gradients():
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.ones(3)
    average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1, 1]
