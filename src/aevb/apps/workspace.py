"""`python -m aevb.apps.workspace`: a wandb workspace with the panels for a sweep of variational auto-encoders.

Needs the extra `workspace`.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from aevb.errors import fail

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
except ModuleNotFoundError:
    wr = None

PICTURES = ("samples", "reconstructions", "manifold")
"""Pictures that the runs log, as `images/<name>`."""
BY_LIKELIHOOD = "model.likelihood"


def make_workspace(
    entity: str, project: str, group: str | None = None, columns: tuple[str, ...] = ()
) -> "ws.Workspace":
    """The workspace, not saved yet; this does not contact wandb's server.

    Args:
        entity: User or team.
        project: wandb's project.
        group: Show one sweep; None: all runs of the project.
        columns: Further axes of the parallel coordinates: settings that the sweep varies, by wandb's names, such as
            `optimizer_lr`.
    """
    filters = [expr.Metric("JobType") == "train"]
    if group is not None:
        filters.append(expr.Metric("Group") == group)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"aevb: {group}" if group else "aevb",
        sections=[
            ws.Section(name="ELBO", panels=[elbo("train"), elbo("val")], is_open=True),
            ws.Section(
                name="KL and reconstruction",
                panels=[curve(f"{split}/{part}") for part in ("kl", "log_likelihood") for split in ("train", "val")],
                is_open=True,
            ),
            ws.Section(name="Sweep", panels=[parallel_coordinates(columns)], is_open=True),
            ws.Section(name="Pictures", panels=[pictures(name) for name in PICTURES], is_open=True),
        ],
        settings=ws.WorkspaceSettings(x_axis="samples", max_runs=50),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(*filters),
            groupby=[expr.Config(BY_LIKELIHOOD)],
            order=[expr.Ordering(expr.Summary("val/elbo"), ascending=False)],
            pinned_columns=["config:model.latent_dim", "summary:val/elbo", "summary:test/elbo"],
        ),
    )


def elbo(split: str) -> "wr.LinePlot":
    """The ELBO in nats against the samples on a logarithmic axis, as in the paper's figure 2."""
    return curve(f"{split}/elbo", log_x=True)


def curve(metric: str, log_x: bool = False) -> "wr.LinePlot":
    """A metric in nats against the samples, with a line for each likelihood and the range of its runs."""
    return wr.LinePlot(
        title=metric,
        x="samples",
        y=[metric],
        log_x=log_x,
        title_x="training samples evaluated",
        title_y="nats per datapoint",
        groupby=wr.Config(BY_LIKELIHOOD),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def parallel_coordinates(columns: tuple[str, ...]) -> "wr.ParallelCoordinatesPlot":
    """Settings that the sweep varies, and the resulting bounds."""
    settings = dict.fromkeys((BY_LIKELIHOOD, "model.latent_dim", *columns))
    return wr.ParallelCoordinatesPlot(
        title="settings and bounds",
        columns=[
            *(wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in settings),
            *(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(f"{split}/elbo")) for split in ("val", "test")),
        ],
    )


def pictures(name: str) -> "wr.MediaBrowser":
    """One kind of picture: a column for each run, a row for each step."""
    return wr.MediaBrowser(
        title=name, media_keys=[f"images/{name}"], mode="grid", grid_x_axis="run", grid_y_axis="step"
    )


def specification(workspace: "ws.Workspace") -> dict[str, Any]:
    """The workspace as it would be sent to wandb's server, as plain values."""
    found: dict[str, Any] = workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the workspace, and print it as JSON or save it on wandb's server."""
    parser = argparse.ArgumentParser(
        "python -m aevb.apps.workspace",
        description="Save a wandb workspace for variational auto-encoders: ELBO, KL, reconstruction, pictures, sweep.",
    )
    parser.add_argument("--entity", required=True, help="your wandb user or team")
    parser.add_argument("--project", default="aevb", help="wandb's project (default: aevb)")
    parser.add_argument("--group", help="show one sweep, by its name (default: all runs)")
    parser.add_argument(
        "--columns",
        nargs="*",
        default=[],
        metavar="SETTING",
        help="what the sweep varies, such as optimizer_lr",
    )
    parser.add_argument("--print", action="store_true", help="print it as JSON instead of saving it")
    chosen = parser.parse_args(arguments)
    if wr is None:
        fail("error: this needs wandb-workspaces; install it with: pip install 'aevb[workspace]'", 2)

    workspace = make_workspace(chosen.entity, chosen.project, chosen.group, tuple(chosen.columns))
    if chosen.print:
        print(json.dumps(specification(workspace), indent=2))
        return
    try:
        workspace.save()
    except Exception as error:  # of wandb's client: no credentials, no such project, no network
        fail(f"error: wandb refused the workspace: {str(error).splitlines()[0]}", 1)


if __name__ == "__main__":
    main()
