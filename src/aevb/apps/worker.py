"""`python -m aevb.apps.worker <run folder>`: one of the processes that train a run together; `train.py` starts them."""

import logging
import sys
from contextlib import nullcontext
from pathlib import Path

from aevb.apps import yield_idle_cores

yield_idle_cores()  # before torch is imported

from hydra.core.hydra_config import HydraConfig  # noqa: E402
from hydra.core.utils import configure_log, setup_globals  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from aevb.apps.train import fit_and_test  # noqa: E402
from aevb.distributed.processes import KNOWN, die_with_parent, report_error  # noqa: E402
from aevb.distributed.world import rank  # noqa: E402
from aevb.runs.folder import RunFolder  # noqa: E402
from aevb.runs.log import logged  # noqa: E402
from aevb.runs.stored import linked  # noqa: E402

log = logging.getLogger("aevb")


def main(folder: RunFolder) -> int:
    """Train, and report an error; returns the exit code."""
    die_with_parent()
    restore_hydra(folder)
    with nullcontext() if rank() else logged(folder.log_file, "process 0"):  # the others' output has its own files
        try:
            fit_and_test(linked(folder.config()), folder)
        except BaseException as error:
            report_error(error)
            if not isinstance(error, (*KNOWN, OSError, KeyboardInterrupt, SystemExit)):
                log.exception("failed")
            return 1
    return 0


def restore_hydra(folder: RunFolder) -> None:
    """Take over `${hydra:…}` and the logging from the process that has started this one."""
    setup_globals()
    config = OmegaConf.load(folder.hydra_file)
    config.hydra.runtime.output_dir = str(folder.path.resolve())
    HydraConfig.instance().cfg = config  # type: ignore[assignment]
    configure_log(config.hydra.job_logging, config.hydra.verbose)


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1]))))
