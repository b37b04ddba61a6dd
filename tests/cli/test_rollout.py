"""`mstv rollout`: every plan, resume, ranks, evaluations per level, and any length in constant memory."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mstv.cli import generation
from mstv.cli.main import main
from mstv.data.conditions import Conditions
from mstv.data.latent_shards import LatentStore
from mstv.data.results import Summary
from mstv.data.schema import HOST
from mstv.data.video import decode_video
from mstv.rollout.generate import Rollout
from tests.cli.conftest import Pipeline

PLANS: dict[str, dict[str, Any]] = {
    "full_resolution.FullResolution": {"num_frames": 6},
    "framepack.FramePack": {"num_context_frames": [1, 2, 4], "num_target_frames": 2},
    "framepack.FramePackMirrored": {"num_context_frames": [1, 2, 4], "num_target_frames": [2, 2, 4]},
    "framepack.FramePackLatents": {"num_context_frames": [1, 2, 4], "num_target_frames": 2},
    "upscale.Upscale": {"base_num_frames": 2, "num_levels": 2},
    "upscale.RolloutUpscale": {"base_num_frames": 4, "num_levels": 2},
}
OF_ONE_LEVEL = ("full_resolution.FullResolution", "framepack.FramePackLatents")


def fit(pipeline: Pipeline, run: Path, plan: tuple[str, dict[str, Any]] | None = None, **model: Any) -> None:
    """One training step of a small diffusion transformer, with another plan than the demo's."""
    command = pipeline.fit_diffusion(run, "--trainer.max_steps", "1", "--trainer.val_check_interval", "1")
    config = Path(command[2])
    values = yaml.safe_load(config.read_text())
    if plan:
        values["plan"] = {"class_path": f"mstv.rollout.{plan[0]}", "init_args": plan[1]}
    values["model"]["init_args"].update(model)
    values["trainer"]["callbacks"] = []
    config = run.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(values))
    assert main([*command[:2], str(config), *command[3:]]) == 0


def latents(run: Path, protocol: str) -> dict[str, np.ndarray]:
    folder = run / "evaluation" / protocol / "latents"
    assert not list(folder.glob(".*")), "nothing unfinished is left"
    return {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))}


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_rolls_out(name: str, pipeline: Pipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(pipeline, run, (name, PLANS[name]))
    span = ["--context", "64", "--end", "81", "--nfe", "2", "--episodes", "1"]
    assert main(["rollout", str(run), *span]) == 0
    (generated,) = latents(run, "context64-end81").values()
    assert generated.shape == (81, 4, 4, 32) and np.isfinite(generated).all()
    assert (np.abs(generated[64:]).max((1, 2, 3)) > 0).all()
    card = json.loads((run / "evaluation" / "context64-end81" / "card.json").read_text())
    assert card["plan"]["parameters"] == PLANS[name] and card["attention"] == "isolated"
    # What each coarse level of the plan shows alone, where it has any.
    levels = run / "evaluation" / "context64-end81" / "levels"
    assert [path.name for path in sorted(levels.glob("*"))] == [str(level) for level in card["coarse_levels"]]
    assert card["coarse_levels"] == ([1, 2] if "FramePack" in name else [1])[: 0 if name in OF_ONE_LEVEL else None]
    for level in card["coarse_levels"]:
        (coarse,) = (np.load(path) for path in levels.glob(f"{level}/*.npy"))
        assert coarse.shape == (81, 4 >> level, 4 >> level, 32) and (np.abs(coarse).max((1, 2, 3)) > 0).all()
        (video,) = levels.glob(f"{level}/*.mp4")
        assert len(decode_video(video)) == 81


def test_an_interrupted_rollout_resumes_bit_identically(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    command = pipeline.evaluate("--episodes", "2", "--metrics", "psnr")
    assert main([*command, "--protocol", "whole"]) == 0
    monkeypatch.setattr(generation, "SAVE_SECONDS", 0.0)
    run_steps, done = Rollout.run, []

    def interrupted(self, state, sample):
        for value in run_steps(self, state, sample):
            done.append(state.num_done)
            yield value
            if len(done) in (17, 24):
                raise KeyboardInterrupt

    monkeypatch.setattr(Rollout, "run", interrupted)
    command += ["--protocol", "interrupted"]
    folders = [pipeline.diffusion / "evaluation" / name for name in ("whole", "interrupted")]
    for _ in range(2):
        assert main(command) == 130
        assert not list(folders[1].glob("*/*.mp4")), "no half video takes a name"
    assert main(command) == 0
    assert done == list(range(1, 26)), "each step is done once, since each was saved"
    assert [Summary.read(folder / "summary.json").rollout_seconds is None for folder in folders] == [False, True]
    whole, stopped = (latents(pipeline.diffusion, folder.name) for folder in folders)
    assert len(whole) == 2
    for key, values in whole.items():
        assert np.array_equal(values, stopped[key])
        levels = [f"levels/{level}/{key}.{kind}" for level in (1, 2) for kind in ("npy", "mp4")]
        for name in (*(f"{kind}/{key}.mp4" for kind in ("videos", "truth", "side_by_side")), *levels):
            a, b = (folder / name for folder in folders)
            assert a.read_bytes() == b.read_bytes()
    # Videos that are lost are made again from the latents.
    lost = (f"videos/{key}.mp4", f"levels/2/{key}.mp4")
    for name in lost:
        (folders[1] / name).unlink()
    assert main(command) == 0
    for name in lost:
        assert (folders[1] / name).read_bytes() == (folders[0] / name).read_bytes()


def test_damaged_files_of_an_earlier_try_are_named(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = pipeline.evaluate("--protocol", "damaged", command="rollout")
    assert main(command) == 0
    folder = pipeline.diffusion / "evaluation" / "damaged"
    (path,) = (folder / "latents").glob("*.npy")
    whole = path.read_bytes()
    for number, content in enumerate((whole[:-4], b"", whole[:9])):
        path.write_bytes(content)
        (folder / "videos" / f"{path.stem}.mp4").unlink(missing_ok=True)
        assert main(command) == 2, number
        assert f"{path.name}: cannot be read" in capsys.readouterr().err
        assert main(pipeline.evaluate("--protocol", "damaged")) == 2
    path.unlink()
    (path.with_name(f".{path.stem}.state.pt")).write_bytes(b"no state")
    assert main(command) == 2
    assert "delete it, and these episodes begin anew" in capsys.readouterr().err


def test_two_ranks_make_what_one_process_makes(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    command = pipeline.evaluate("--episodes", "2", command="rollout")
    assert main([*command, "--protocol", "alone"]) == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert main([*command, "--protocol", "shared"]) == 0
        assert len(latents(pipeline.diffusion, "shared")) == rank + 1
    alone, shared = (latents(pipeline.diffusion, name) for name in ("alone", "shared"))
    assert alone.keys() == shared.keys() and len(alone) == 2
    for key, values in alone.items():
        # A batch of two and two of one may differ in the last bits.
        assert np.allclose(values, shared[key], atol=1e-4)
        for level in (1, 2):
            a, b = (pipeline.diffusion / f"evaluation/{name}/levels/{level}/{key}" for name in ("alone", "shared"))
            assert np.allclose(np.load(a.with_suffix(".npy")), np.load(b.with_suffix(".npy")), atol=1e-4)
            assert b.with_suffix(".mp4").is_file()


def test_beyond_the_recording_actions_are_null(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(pipeline.evaluate("--end", "141", command="rollout")) == 0
    assert "beyond the 128 recorded frames" in capsys.readouterr().err
    ((key, generated),) = latents(pipeline.diffusion, "context64-end141").items()
    assert len(generated) == 141
    folder = pipeline.diffusion / "evaluation" / "context64-end141"
    lengths = [len(decode_video(folder / kind / f"{key}.mp4")) for kind in ("videos", "truth", "side_by_side")]
    assert lengths == [141, 128, 128]
    store = LatentStore(pipeline.latents)
    actions = Conditions(store).stack([key], 141)
    assert actions is not None and (actions[0, 128:] == -1).all()
    assert actions[0, :128].tolist() == store.actions(key).tolist()


def test_evaluations_per_level(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(pipeline.evaluate("--nfe", "2", "3", "4", "--protocol", "levels", command="rollout")) == 0
    card = json.loads((pipeline.diffusion / "evaluation" / "levels" / "card.json").read_text())
    assert card["nfe"] == [2, 3, 4]
    assert card["token_evaluations_per_frame"] == (21 * 96 + 32 * (16 * 2 + 4 * 3 + 1 * 4)) / 32
    assert main(pipeline.evaluate("--nfe", "2", "3", "--protocol", "too-few", command="rollout")) == 2
    assert "no number for level 2" in capsys.readouterr().err
    assert not (pipeline.diffusion / "evaluation" / "too-few").exists()


def test_joint_attention_with_stale_context(pipeline: Pipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(pipeline, run, attention="joint")
    span = ["--context", "64", "--end", "70", "--nfe", "4", "--episodes", "1"]
    for refresh in ("1", "4"):
        assert main(["rollout", str(run), *span, "--refresh", refresh, "--protocol", f"k{refresh}"]) == 0
    cards = [json.loads((run / "evaluation" / f"k{k}" / "card.json").read_text()) for k in (1, 4)]
    assert [card["context_refresh"] for card in cards] == [1, 4]
    assert [card["token_evaluations_per_frame"] for card in cards] == [21 * 128 * 4 / 32, 21 * (96 + 4 * 32) / 32]


def start(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """The command in a process of its own, whose progress lines come at once."""
    code = (
        "import sys, mstv.progress, mstv.cli.generation\n"
        "mstv.progress.FIRST_LINE_SECONDS = mstv.progress.LINE_SECONDS = 0.1\n"
        "mstv.cli.generation.SAVE_SECONDS = 0.0\n"
        "from mstv.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, "-c", code, *command], stderr=file, stdout=file, env=environment)


def wait_for(process: "subprocess.Popen[bytes]", folder: Path, pattern: str) -> None:
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "it ended"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_second_command_is_shut_out_and_a_stopped_one_leaves_nothing_half(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = pipeline.evaluate("--end", "1000", "--protocol", "held", command="rollout")
    folder = pipeline.diffusion / "evaluation" / "held"
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        log = tmp_path / f"{code}.log"
        process = start(command, log)
        wait_for(process, folder, "latents/.*.state.pt")
        wait_for(process, folder, f"videos/.*-{process.pid}.tmp")
        capsys.readouterr()
        assert main(command) == 2
        line = f"process {process.pid} on {HOST} writes there: wait for it"
        assert line in capsys.readouterr().err
        process.send_signal(number)
        assert process.wait() == code
        left = list(folder.glob("*/.*.tmp"))
        assert len(left) == (3 if code == -9 else 0), "of the killed one; the next start removed them"
    text = log.read_text()
    assert "going on at frame" in text and " of 1000\n" in text and "Traceback" not in text
    assert re.search(r"^1 episode(, step \d+/\d+)?: \d+ of 936 frames", text, re.MULTILINE), "told through a pipe, too"
    assert text.rstrip().splitlines()[-1] == "mstv: terminated; the same command goes on from here"


def test_what_is_there_is_told(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = pipeline.evaluate("--end", "141", "--protocol", "there", command="rollout")
    line = "1 video of 141 frames (generated); truth and side_by_side end with the recording, after 128 frames\n"
    for before in ("", "already there: "):
        assert main(command) == 0
        assert capsys.readouterr().out.endswith(f"{os.sep}there: {before}{line}")
    for precision in ("bf16", "32"):
        assert main([*command, "--precision", precision]) == (2 if precision == "bf16" else 0)
    assert "--precision 32 (now bf16)" in capsys.readouterr().err
    # Fewer frames and more episodes than are rolled out.
    assert main(pipeline.evaluate("--end", "120", "--episodes", "2", "--protocol", "there")) == 2
    error = capsys.readouterr().err
    assert "give --end 141 --episodes 1 to go on with it" in error and "--protocol NAME" in error


def test_a_finished_evaluation_keeps_its_numbers(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(pipeline.evaluate("--protocol", "scored")) == 0
    folder = pipeline.diffusion / "evaluation" / "scored"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert json.loads((folder / "summary.json").read_text())["frames_per_second"] > 0
    assert main(pipeline.evaluate("--protocol", "scored")) == 0
    assert "scored: already there" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(pipeline: Pipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    plan = {"windows": [8, 64], "extra_context_tokens": 0}
    fit(pipeline, run, ("coarse_to_fine.CoarseToFine", plan), size={"dim": 48, "depth": 1, "num_heads": 2})
    peaks = []
    for frames in (2000, 20000):
        options = ["--context", "64", "--end", str(64 + frames), "--nfe", "2", "--episodes", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "mstv.cli.main", "rollout", str(run), *options],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss)
        (generated,) = latents(run, f"context64-end{64 + frames}").values()
        assert len(generated) == 64 + frames
    assert peaks[1] <= 1.05 * peaks[0], f"{peaks} KiB"
