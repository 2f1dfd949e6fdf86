"""`python -m aevb.apps.workspace`: save a wandb workspace that shows a sweep, or print what would be saved."""

import argparse
import json
from collections.abc import Sequence
from importlib.util import find_spec

from aevb.apps import fail


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the workspace, and print it as JSON or give it to wandb.

    Args:
        arguments: Of the command line; None: those of this process.

    Raises:
        SystemExit: an argument is wrong, the extra is not installed, or wandb refuses the workspace.
    """
    parser = argparse.ArgumentParser(
        "python -m aevb.apps.workspace",
        description="Save a wandb workspace for variational auto-encoders: ELBO, KL, reconstruction, pictures, sweep.",
    )
    parser.add_argument("--entity", required=True, help="your wandb user or team")
    parser.add_argument("--project", default="aevb", help="wandb's project (default: aevb)")
    parser.add_argument("--group", help="show one sweep, by its name (default: all runs)")
    parser.add_argument(
        "--columns", nargs="*", default=[], metavar="SETTING", help="what the sweep varies, such as optimizer_lr"
    )
    parser.add_argument("--print", action="store_true", help="print it as JSON, and ask nothing of wandb's server")
    chosen = parser.parse_args(arguments)
    if find_spec("wandb_workspaces") is None:
        fail("error: this needs wandb-workspaces; install it with: pip install 'aevb[workspace]'", 2)
    from aevb.workspace import make_workspace, specification  # brings the extra

    workspace = make_workspace(chosen.entity, chosen.project, chosen.group, tuple(chosen.columns))
    if chosen.print:
        print(json.dumps(specification(workspace), indent=2))
        return
    try:
        workspace.save()
    except Exception as error:  # of wandb's client: no credentials, no such project, no network
        fail(f"error: wandb did not take the workspace: {str(error).splitlines()[0]}", 1)


if __name__ == "__main__":
    main()
