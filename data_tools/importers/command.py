"""What the commands of all importers share: their options and their report."""

import argparse
from pathlib import Path

from data_tools import options
from data_tools.importers.importing import Format, ImportSettings, import_recordings


def add_arguments(parser: argparse.ArgumentParser, source: str, resample: bool = False) -> None:
    """Add the options of an importer.

    Args:
        parser: of the command.
        source: what the source folder holds.
        resample: whether there is `--fps`: only where no actions belong to the frames.
    """
    parser.add_argument("source", type=Path, metavar="SRC", help=source)
    parser.add_argument("out", type=options.folder, metavar="OUT", help="folder of raw episodes, made if absent")
    parser.add_argument(
        "--size", type=options.size, required=True, metavar="N|HxW", help="pixels, even; the centre is cropped to it"
    )
    if resample:
        parser.add_argument(
            "--fps", type=options.rate, help="frames a second to resample to (default: each video's own)"
        )
    parser.add_argument(
        "--segment-frames",
        type=options.positive,
        default=1024,
        metavar="N",
        help="frames an episode; longer recordings are cut (default: 1024)",
    )
    parser.add_argument(
        "--min-frames",
        type=options.positive,
        default=32,
        metavar="N",
        help="drop a last segment with fewer frames (default: 32)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on without damaged recordings, and list them")
    options.add_workers(parser)


def run(form: Format, arguments: argparse.Namespace) -> int:
    """Run an importer, and print what became of the recordings."""
    fps = getattr(arguments, "fps", None)
    settings = ImportSettings(arguments.size, fps, arguments.segment_frames, arguments.min_frames)
    report = import_recordings(form, arguments.source, arguments.out, settings, arguments.workers, arguments.skip_bad)
    for name, imported in report.items():
        if imported.dropped:
            what = (
                f"the last {imported.dropped} frames were"
                if imported.segments
                else f"all {imported.dropped} frames were"
            )
            print(f"{name}: {what} dropped, fewer than --min-frames {settings.min_frames}")
        if imported.bad:
            print(f"left out: {imported.bad}")
    written = sum(imported.written for imported in report.values())
    segments = sum(imported.segments for imported in report.values())
    bad = sum(imported.bad is not None for imported in report.values())
    already = f" ({segments - written} were there already)" if segments > written else ""
    left_out = f", {bad} damaged ones left out" if bad else ""
    print(f"{arguments.out}: imported {written} episodes{already} from {len(report) - bad} recordings{left_out}")
    return 0
