"""`python -m aevb.apps.worker <run folder>`: one of the processes of a run; `train.py` starts them."""

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
from aevb.distributed.processes import die_with_parent, report_error  # noqa: E402
from aevb.distributed.world import rank  # noqa: E402
from aevb.errors import EXPECTED  # noqa: E402
from aevb.runs.folder import RunFolder  # noqa: E402
from aevb.runs.log import logged  # noqa: E402

log = logging.getLogger("aevb")


def main(folder: RunFolder) -> int:
    """Train, and report an error to the parent process; returns the exit code."""
    die_with_parent()
    restore_hydra(folder)
    with nullcontext() if rank() else logged(folder.log_file, "process 0"):  # others: `rank_<rank>.log`
        try:
            fit_and_test(folder.config(), folder)
        except BaseException as error:
            report_error(error)
            if not isinstance(error, (*EXPECTED, OSError, KeyboardInterrupt, SystemExit)):
                log.exception("failed")
            return 1
    return 0


def restore_hydra(folder: RunFolder) -> None:
    """Restore `${hydra:…}` and the logging of the parent process."""
    setup_globals()
    config = OmegaConf.load(folder.hydra_file)
    config.hydra.runtime.output_dir = str(folder.path.resolve())
    HydraConfig.instance().cfg = config  # type: ignore[assignment]
    configure_log(config.hydra.job_logging, config.hydra.verbose)


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1]))))
