"""Train a model: `python train.py model=gaussian data=freyface`; `python train.py --help` lists the settings."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from aevb.apps import run, yield_idle_cores
from aevb.apps.command_line import check_command_line


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    from aevb.apps.train import train  # brings torch, which --help need not wait for

    return run(train, config)


if __name__ == "__main__":
    check_command_line("train", Path(__file__).parent / "conf")
    yield_idle_cores()
    main()
