"""trackio, a local dashboard, holds what W&B does, videos of several runs among it; without a network."""

import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.synthetic_run import make_run
from mstv.errors import UserError
from mstv.tracking import trackio_logger
from tests.trackio_store import LOGGER, logged, needs_trackio, run_with_store, stored

TRACK = """
import sys
from pathlib import Path
from mstv.cli.evaluation_tracking import track
for folder in sys.argv[1:]:
    track(Path(folder), "long", None)
"""


@needs_trackio
def test_evaluations_of_two_runs(tmp_path: Path) -> None:
    store, folders = tmp_path / "store", [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        make_run(folder, revisits=True)
        (folder / "evaluation/long/videos").rename(folder / "evaluation/long/side_by_side")
        logger = {"class_path": LOGGER, "init_args": {"project": "walks"}}
        (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}, "wandb": True}))
    # The first one twice.
    run_with_store(store, "-c", TRACK, *map(str, folders), str(folders[0]))
    rows = logged(store)
    assert sorted(rows) == ["a", "b"]
    for folder in folders:
        assert not (folder / "wandb").exists()
        of_run = rows[folder.name]
        for key in ("walk-0", "walk-1"):
            video = (folder / f"evaluation/long/side_by_side/{key}.mp4").read_bytes()
            assert stored(store, of_run, f"evaluation/long/video/{key}") == [video]
        name = "evaluation/long/psnr/raw/generated"
        steps = [row["step"] for row in of_run if name in row]
        assert steps == sorted(set(steps)) and steps[0] == 1 and steps[-1] == 24
        assert [row["step"] for row in of_run if "evaluation/long/revisits" in row] == [1450]


def test_without_trackio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match="pip install"):
        trackio_logger.TrackioLogger()
