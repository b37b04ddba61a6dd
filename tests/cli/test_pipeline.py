"""The whole pipeline through the real commands, on tiny settings."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from data_tools.cli import main as mstv_data
from mstv.cli.main import main
from mstv.data.latent_shards import LatentStore
from mstv.data.results import read_revisits
from mstv.data.schema import read_manifest
from mstv.data.video import decode_video
from mstv.evaluation.metric_set import default_metrics
from mstv.evaluation.revisit_scoring import recognisable_revisits
from tests.cli.conftest import Pipeline

pytestmark = pytest.mark.filterwarnings("ignore")


def columns(run: Path) -> dict[str, list[str]]:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows if row[name]] for name in rows[0]}


def test_tokenizer_run_holds_what_it_promises(pipeline: Pipeline) -> None:
    run = pipeline.tokenizer
    logged = columns(run)
    for level in range(3):
        values = [float(value) for value in logged[f"validation/psnr_level{level}"]]
        assert len(values) == 2 and all(3 < value < 60 for value in values)
    assert len(logged["train/loss"]) == 4
    assert (run / "config.yaml").is_file() and (run / "checkpoints" / "last.ckpt").is_file()
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    picture = Image.open(sorted(run.glob("media/reconstructions-*.png"))[-1])
    assert picture.size == (8 * 128, 4 * 128) and np.asarray(picture).std() > 10


def test_verify_finds_nothing_wrong(pipeline: Pipeline) -> None:
    assert mstv_data(["verify", str(pipeline.shards), "--workers", "1"]) == 0
    assert mstv_data(["verify", str(pipeline.latents), "--workers", "1"]) == 0


def test_encoding_keeps_every_frame_and_action(pipeline: Pipeline) -> None:
    frames, latents = read_manifest(pipeline.shards, "frames"), read_manifest(pipeline.latents, "latents")
    assert [shard.episodes for shard in frames.shards] == [shard.episodes for shard in latents.shards]
    assert latents.source_sha256 == frames.sha256
    store = LatentStore(pipeline.latents)
    for split in ("train", "validation", "test"):
        for key in store.keys(split):
            assert store.read(key, 0).shape == (128, 4, 4, 32)
            assert store.read(key, 2).shape == (128, 1, 1, 32)
            actions = np.load(pipeline.raw / f"{key}.actions.npy", allow_pickle=False)
            assert np.array_equal(store.actions(key), actions)


def test_encoding_again_does_nothing_and_another_tokenizer_encodes_anew(pipeline: Pipeline, tmp_path: Path) -> None:
    folder = tmp_path / "latents"
    shutil.copytree(pipeline.latents, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    shards = str(pipeline.shards)
    assert main(["encode", shards, str(folder), "--tokenizer", str(pipeline.tokenizer)]) == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    other = tmp_path / "other"
    assert main(pipeline.fit_tokenizer(other, "--trainer.max_steps", "1", "--seed_everything", "1")) == 0
    assert main(["encode", shards, str(folder), "--tokenizer", str(other)]) == 0
    assert read_manifest(folder, "latents").tokenizer != read_manifest(pipeline.latents, "latents").tokenizer


def test_encoding_resumes_after_an_interrupt(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mstv.data.shards

    folder = tmp_path / "latents"
    command = ["encode", str(pipeline.shards), str(folder), "--tokenizer", str(pipeline.tokenizer)]
    read, calls = mstv.data.shards.read_episode_frames, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(mstv.data.shards, "read_episode_frames", interrupted)
    assert main(command) == 130
    assert len(list(folder.glob("*.tar"))) == 3 and not (folder / "manifest.json").exists()
    assert main(command) == 0
    assert len(calls) == 4 + 3
    for tar in pipeline.latents.glob("*.tar"):
        assert (folder / tar.name).read_bytes() == tar.read_bytes()


def test_diffusion_run_logs_long_rollouts(pipeline: Pipeline) -> None:
    logged = columns(pipeline.diffusion)
    bounds = ("rollout/psnr_upper_bound", "rollout/psnr_lower_bound")
    for name in ("validation/loss", "rollout/psnr_h1", "rollout/psnr_h4", *bounds, "rollout/share"):
        assert len(logged[name]) == 2, name
    assert {name for name in logged if name.startswith("validation/loss_level")} == {
        f"validation/loss_level{level}" for level in range(3)
    }
    media = pipeline.diffusion / "media"
    # True and generated frames, enlarged, under a line of text; and true frames beside all three levels.
    for name, columns_shown in (("blockworld-*", 2), ("levels-*", 4)):
        videos = sorted(media.glob(f"rollout-{name}.mp4"))
        assert len(videos) == 2
        assert decode_video(videos[0]).shape == (6, 16 + 128, columns_shown * 130 - 2, 3)
    assert json.loads((media / "rollout-0000004.json").read_text())["scored_against"] == "raw"


def test_training_resumes_bit_identically(pipeline: Pipeline, tmp_path: Path) -> None:
    for name, fit in (("tokenizer", pipeline.fit_tokenizer), ("diffusion", pipeline.fit_diffusion)):
        run = tmp_path / name
        assert main(fit(run, "--trainer.max_steps", "3")) == 0
        assert main(fit(run)) == 0
        whole = torch.load(getattr(pipeline, name) / "checkpoints" / "last.ckpt", weights_only=True)
        resumed = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        assert resumed["global_step"] == whole["global_step"] == 4
        for part in ("state_dict", "current_model_state"):
            for key, value in whole[part].items():
                assert torch.equal(value, resumed[part][key]), f"{name} {part} {key}"
        assert columns(run)["train/loss"] == columns(getattr(pipeline, name))["train/loss"]


def test_a_refused_resume_leaves_the_run_as_it_was(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(pipeline.diffusion, run)
    before = (run / "config.yaml").read_bytes()
    # Latents of another tokenizer: the manifest says so.
    latents = tmp_path / "latents"
    shutil.copytree(pipeline.latents, latents)
    manifest = json.loads((latents / "manifest.json").read_text())
    manifest["tokenizer"]["sha256"] = "0" * 64
    (latents / "manifest.json").write_text(json.dumps(manifest))
    for option, value, message in (
        ("--data.folder", str(latents), "tokenizer"),
        ("--model.attention", "joint", "field attention"),
    ):
        assert main(pipeline.fit_diffusion(run, "--trainer.max_steps", "5", option, value)) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("mstv: error: ") and message in error
        assert (run / "config.yaml").read_bytes() == before


def test_a_finished_run_says_so(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(pipeline.fit_diffusion(pipeline.diffusion)) == 0
    assert "nothing to do" in capsys.readouterr().err


def test_rollout_and_evaluation(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(pipeline.evaluate(command="rollout")) == 0
    folder = pipeline.diffusion / "evaluation" / "context64-end100"
    (key,) = [path.stem for path in (folder / "latents").glob("*.npy")]
    generated = np.load(folder / "latents" / f"{key}.npy", allow_pickle=False)
    assert generated.shape == (100, 4, 4, 32)
    context = LatentStore(pipeline.latents).read(key, 0, slice(0, 64))
    assert np.array_equal(generated[:64], context.astype(np.float32))
    assert decode_video(folder / "videos" / f"{key}.mp4").shape == (100, 64, 64, 3)
    assert decode_video(folder / "side_by_side" / f"{key}.mp4").shape == (100, 128, 256, 3)
    written = (folder / "latents" / f"{key}.npy").stat().st_mtime_ns

    assert main(pipeline.evaluate()) == 0
    assert (folder / "latents" / f"{key}.npy").stat().st_mtime_ns == written
    scores = pq.read_table(folder / "per_frame.parquet").to_pydict()
    assert scores["metric"].count("psnr") == scores["metric"].count("ssim") == 36 * 5
    assert sorted(set(scores["horizon"])) == list(range(1, 37))
    assert set(scores["series"]) == {"generated", "upper_bound", "lower_bound"}
    card = json.loads((folder / "card.json").read_text())
    names = [note["name"] for note in card["metrics"]]
    assert names == [*default_metrics(), "revisits"], "those that need no weights, and what a revisit is"
    for note in card["metrics"]:
        assert {"version", "unit", "better", "resize", "source"} <= set(note["definition"])
    assert card["context_frames"] == 64 and card["nfe"] == 2 and card["episodes"] == [key]
    assert card["token_evaluations_per_frame"] == 21 * (96 + 2 * 32) / 32
    assert (folder / "summary.json").is_file() and (folder / "curves.png").stat().st_size > 10_000
    assert Image.open(folder / "contact_sheet.png").size[0] > 500
    poses = LatentStore(pipeline.latents).poses(key)
    assert poses is not None
    frame, last_seen = recognisable_revisits(poses[:100], 64)
    assert [tuple(map(list, columns)) for columns in read_revisits(folder).values()] == (
        [(list(frame), list(last_seen))] if len(frame) else []
    )
    assert "psnr" in capsys.readouterr().out.lower()

    page = pipeline.root / "page.html"
    # Other tests may have left protocols of theirs.
    assert main(["compare", str(pipeline.diffusion), "--protocol", folder.name, "--out", str(page)]) == 0
    assert f"{key}.mp4" in page.read_text()


def test_other_settings_under_one_name_are_refused(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(pipeline.evaluate("--protocol", "twice", command="rollout")) == 0
    assert main(pipeline.evaluate("--protocol", "twice", "--nfe", "3", command="rollout")) == 2
    assert "nfe" in capsys.readouterr().err
