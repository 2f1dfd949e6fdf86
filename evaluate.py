"""Evaluate a trained model: `python evaluate.py run=outputs/…`; `python evaluate.py --help` lists the settings."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from aevb.apps import run, yield_idle_cores
from aevb.apps.command_line import check_command_line


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    from aevb.apps.evaluate import evaluate  # brings torch, which --help need not wait for

    return run(evaluate, config)


if __name__ == "__main__":
    check_command_line("evaluate", Path(__file__).parent / "conf")
    yield_idle_cores()
    main()
