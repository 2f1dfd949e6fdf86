"""Make a report: `python report.py runs=outputs/sweeps/<name>`; `python report.py --help` lists the settings."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from aevb.apps import run, yield_idle_cores
from aevb.apps.command_line import check_command_line


@hydra.main(version_base="1.3", config_path="conf", config_name="report")
def main(config: DictConfig) -> None:
    from aevb.apps.report import report  # brings torch, which --help need not wait for

    run(report, config)


if __name__ == "__main__":
    check_command_line("report", Path(__file__).parent / "conf")
    yield_idle_cores()
    main()
