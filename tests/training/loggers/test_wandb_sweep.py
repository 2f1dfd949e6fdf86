"""The table of a sweep as a wandb run."""

import json
import os
from pathlib import Path

import wandb
import yaml
from hydra import compose, initialize_config_dir
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from aevb.settings import validate
from aevb.training.loggers import log_sweep_table

from ...wandb_file import exit_code, read_offline_run, run_of, values

ROOT = Path(__file__).parents[3]


def refuse(*arguments: object, **options: object) -> None:
    """Fail as a service or a disk may, in more than one line."""
    raise OSError("no such luck\nand a long story")


def test_failed_logging_of_the_table_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "init", refuse)
    assert log_sweep_table(tmp_path, [{"seed": 0}]) == "the table could not be logged: no such luck"


def test_sweep_table_is_one_run_of_the_group_however_often_it_is_logged(tmp_path):
    rows: list[dict[str, object]] = [
        {"seed": 0, "test/elbo": -3.5, "state": "finished"},
        {"seed": 1, "test/elbo": None, "state": "failed"},
    ]
    log_sweep_table(tmp_path, rows[:1], group="my sweep")
    (first,) = tmp_path.glob("wandb/offline-run-*")
    run = run_of(tmp_path)
    first.rename(tmp_path / "earlier")

    where = log_sweep_table(tmp_path, rows, 1, group="my sweep", tags=["t"])
    (second,) = tmp_path.glob("wandb/offline-run-*")
    assert where == f"wandb sync {os.path.relpath(second.parent)}/offline-run-*"
    records = read_offline_run(tmp_path)
    again = run_of(tmp_path)
    assert again.run_id == run.run_id
    assert (again.run_group, again.job_type, list(again.tags)) == ("my sweep", "sweep", ["t"])
    assert exit_code(tmp_path) == 1
    (logged,) = [values(record.history.item)["jobs"] for record in records if record.HasField("history")]
    table = json.loads((second / "files" / logged["path"]).read_text())
    assert table["columns"] == ["seed", "test/elbo", "state"]
    assert table["data"] == [[0, -3.5, "finished"], [1, None, "failed"]]


def test_the_sweep_of_the_docs_gives_commands_that_compose():
    sweep = yaml.safe_load((ROOT / "docs" / "wandb_sweep.yaml").read_text())
    parameters = sweep["parameters"]
    chosen = {
        name: {"value": node.get("value", node.get("min", node.get("values", [None])[0]))}
        for name, node in parameters.items()
    }
    macros = create_sweep_command_args({"args": chosen})
    command = [part for piece in sweep["command"] for part in macros.get(piece.strip("${}"), [piece])]
    assert command[1:3] == ["python", "train.py"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", [*command[3:], "paths.run=run"])
    validate(config, "train")
    assert (config.model.latent_dim, config.optimizer.lr, config.max_samples) == (2, 0.0003, 200_000)
    assert sweep["metric"] == {"name": config.metric, "goal": "maximize"}
