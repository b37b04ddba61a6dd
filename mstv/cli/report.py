"""`mstv report`: several runs in one report of W&B."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = (
        "Save a report in W&B that lays evaluated runs out by horizon: curves, numbers, revisits, videos, training. "
        "The runs must be there: wandb sync RUN/wandb/offline-run-*. See docs/wandb.md."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--protocol", help="evaluation to show; not needed where the runs share only one")
    parser.add_argument("--entity", help="user or team in W&B (default: the account's)")
    parser.add_argument("--title", help="heading (default: what is evaluated)")


def run(arguments: argparse.Namespace) -> int:
    """Save the report and print its address; returns 0.

    Raises:
        UserError: runs that cannot be compared or that are not in W&B, no account, no network, no wandb-workspaces.
    """
    import wandb

    from mstv.compare.comparison import Comparison
    from mstv.errors import UserError
    from mstv.tracking.report import build_report

    comparison = Comparison.read(arguments.runs, arguments.protocol)
    ids = [_tracked_id(entry.run.folder, entry.evaluation.folder) for entry in comparison.entries]
    project = _project(arguments.runs)
    title = arguments.title or f"{comparison.protocol}: {', '.join(entry.label for entry in comparison.entries)}"
    try:
        entity = arguments.entity or wandb.Api().default_entity
        if not entity:
            raise UserError("the W&B account has no default entity: give --entity")
        report = build_report(comparison, ids, project, entity, title)
        report.save()
    except UserError:
        raise
    except wandb.errors.UsageError:
        raise UserError("no W&B account is known here: wandb login, then wandb sync RUN/wandb/offline-run-*") from None
    except Exception as error:  # what the package and its client raise is not documented
        what = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"W&B did not take the report ({what}): check the network, wandb login and --entity") from None
    print(report.url)
    return 0


def _tracked_id(run: Path, evaluation: Path) -> str:
    """Id of the W&B run that has the evaluation."""
    from mstv.errors import UserError
    from mstv.tracking.evaluation_log import tracked_runs
    from mstv.tracking.wandb_run import wandb_id

    found = wandb_id(run)
    if found is None or found not in tracked_runs(evaluation):
        raise UserError(
            f"{evaluation}: is in no W&B run: run the same mstv evaluate {run} --protocol {evaluation.name} again, "
            "with --wandb"
        )
    return found


def _project(runs: list[Path]) -> str:
    """The project that the runs are in."""
    import yaml

    from mstv.data.results import read_run
    from mstv.errors import UserError
    from mstv.tracking.wandb_run import PROJECT

    projects: dict[str, Path] = {}
    for folder in runs:
        path = read_run(folder).config
        config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        projects.setdefault(config.get("wandb_project", PROJECT), folder)
    if len(projects) > 1:
        where = ", ".join(f"{folder} in {project}" for project, folder in projects.items())
        raise UserError(f"the runs are in several projects of W&B ({where}): a report is of one")
    return next(iter(projects))
