"""The mathematics of data parallelism, by two real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from aevb.launch.strategy import average_gradients

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from aevb.launch.strategy import average_gradients

rank = int(os.environ["RANK"])
# A file is their meeting point: a port might be taken.
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/store", rank=rank, world_size=2)
parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (), (4,), (1, 2))]
found = []
for step in range(2):
    parameters[0].grad = torch.arange(6.0).view(2, 3) * (rank + 1)
    parameters[1].grad = torch.tensor(float(rank)) if step == 0 or rank == 0 else None
    parameters[2].grad = None
    parameters[3].grad = torch.full((1, 2), 1.0) if rank == 1 else None
    average_gradients(parameters)
    found.append([None if p.grad is None else p.grad.tolist() for p in parameters])
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump(found, file)
"""


def test_gradients_are_means_over_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    processes = [
        subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=os.environ | {"RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(timeout=110) for process in processes] == [0, 0]
    first, second = (json.loads(Path(tmp_path, f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    mean = [[0.0, 1.5, 3.0], [4.5, 6.0, 7.5]]
    assert first == [[mean, 0.5, None, [[0.5, 0.5]]], [mean, 0.0, None, [[0.5, 0.5]]]]


def test_a_process_alone_keeps_its_gradients():
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.ones(3)
    average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1, 1]
