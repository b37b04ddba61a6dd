"""`mstv evaluate`: which metrics, from which weights; resumed, extended, and shared among ranks."""

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from mstv.cli import scoring, signs_of_life
from mstv.cli.main import main
from mstv.cli.rollout_job import to_uint8
from mstv.cli.runtime import Rank
from mstv.data.latent_shards import LatentStore
from mstv.data.results import Card, Summary, read_scores
from mstv.data.video import decode_video, encode_video
from mstv.errors import UserError
from mstv.metrics import LPIPS, DINOv2, InceptionFeatures, dinov2, i3d, inception, trunks
from mstv.tokenizer.module import load_tokenizer
from tests.cli.conftest import Pipeline
from tests.metrics.test_distribution import ScriptedI3D
from tests.metrics.weight_files import write_weights

pytestmark = pytest.mark.filterwarnings("ignore")
TWO = ["--episodes", "2", "--end", "84"]
REVISIT_NUMBERS = {
    "position_tolerance_blocks": 0.25,
    "angle_tolerance_degrees": 2.5,
    "away_frames": 7,
    "first_gaps": [8, 16, 32, 64, 128, 256, 512],
}
"""By which the revisits of an evaluation are found and binned."""


def evaluation(pipeline: Pipeline, name: str) -> Path:
    return pipeline.diffusion / "evaluation" / name


def metrics_of(folder: Path) -> set[str]:
    return set(pc.unique(read_scores(folder)["metric"]).to_pylist())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small or random files under the public names."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(LPIPS("alexnet").trunk.state_dict(), folder / trunks.WEIGHTS["alexnet"].name)
    torch.jit.script(ScriptedI3D()).save(folder / i3d.FILE.name)
    return folder


def test_metrics_are_added_to_what_is_there(pipeline: Pipeline, weights: Path) -> None:
    assert main(pipeline.evaluate(*TWO, "--protocol", "extended", "--metrics", "psnr", "token_drift")) == 0
    folder = evaluation(pipeline, "extended")
    before = read_scores(folder)
    rollout = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.*")}
    assert metrics_of(folder) == {"psnr", "token_drift"}
    more = ["--metrics", "lpips_alexnet", "fvd", "frozen", "--weights", str(weights)]
    assert main(pipeline.evaluate(*TWO, "--protocol", "extended", *more)) == 0
    assert rollout == {path: path.stat().st_mtime_ns for path in folder.glob("*/*.*")}, "nothing is generated again"
    scores = read_scores(folder)
    assert scores.slice(0, before.num_rows) == before
    assert metrics_of(folder) == {"psnr", "token_drift", "lpips_alexnet", "frozen"}
    card = Card.read(folder / "card.json")
    notes = {note.name: note.definition or {} for note in card.metrics}
    assert list(notes) == ["psnr", "token_drift", "revisits", "lpips_alexnet", "frozen", "fvd"]
    revisits = {name: notes["revisits"][name] for name in REVISIT_NUMBERS}
    assert revisits == REVISIT_NUMBERS and notes["revisits"]["version"] == 1
    assert notes["fvd"]["interval"].startswith("none: ") and notes["frozen"]["lower_bound"]
    assert len(notes["lpips_alexnet"]["weights"]["trunk"]["sha256"]) == 64 and notes["fvd"]["clip_length"] == 16
    assert notes["psnr"]["better"] == "higher" and notes["lpips_alexnet"]["better"] == "lower"
    # What is compared with what.
    kinds = scores.group_by(["metric", "ground_truth", "series"]).aggregate([]).to_pylist()
    found = {(kind["metric"], kind["ground_truth"], kind["series"]) for kind in kinds}
    both, bounds = [("raw", "upper_bound"), ("raw", "lower_bound"), ("decoded", "lower_bound")], ("upper", "lower")
    assert found == {
        *((metric, *kind) for metric in ("psnr", "lpips_alexnet") for kind in both),
        *(
            (metric, truth, "generated")
            for metric in ("psnr", "lpips_alexnet", "frozen")
            for truth in ("raw", "decoded")
        ),
        *(("token_drift", "latents", f"{bound}_bound") for bound in bounds),
        ("token_drift", "latents", "generated"),
        ("frozen", "raw", "upper_bound"),
        *(("frozen", truth, "lower_bound") for truth in ("raw", "decoded")),
    }
    summary = Summary.read(folder / "summary.json")
    assert summary.rollout_seconds is not None, "as measured by the first command"
    distances = [value for value in summary.values if value.metric == "fvd"]
    assert [(value.ground_truth, value.series) for value in distances] == [
        *(("raw", series) for series in ("generated", "upper_bound", "lower_bound")),
        *(("decoded", series) for series in ("generated", "lower_bound")),
    ]
    assert [[(w.first, w.horizon) for w in value.horizons] for value in distances] == [[(1, 16), (5, 20)]] * 5
    assert all(w.value > 0 for value in distances for w in value.horizons)
    assert not list(folder.glob("*.parts"))
    # Nothing is left to do, and no weights are needed to say so.
    assert main(pipeline.evaluate(*TWO, "--protocol", "extended")) == 0
    other = [*more[:2], "--weights", str(other_weights(weights))]
    assert main(pipeline.evaluate(*TWO, "--protocol", "extended", *other)) == 2


@pytest.mark.slow
def test_every_network_is_read_from_its_public_file(pipeline: Pipeline, tmp_path: Path) -> None:
    """The large ones, at random."""
    torch.manual_seed(0)
    networks = {
        trunks.WEIGHTS["vgg16"]: LPIPS("vgg16").trunk,
        dinov2.public_weights("vits14"): DINOv2(*dinov2.SIZES["vits14"]),
        inception.WEIGHTS: InceptionFeatures(),
    }
    for public, network in networks.items():
        write_weights(tmp_path / public.name, network)
    names = ["lpips_vgg16", "dino_vits14", "fid"]
    options = ["--protocol", "networks", "--metrics", *names, "--weights", str(tmp_path)]
    assert main(pipeline.evaluate(*TWO, *options)) == 0
    folder = evaluation(pipeline, "networks")
    card = Card.read(folder / "card.json")
    notes = {note.name: note.definition or {} for note in card.metrics}
    assert {*names} < {*notes} and notes["fid"]["backbone"] == "inception_v3_2015_12_05"
    hashes = [notes["lpips_vgg16"]["weights"]["trunk"], *(notes[name]["weights"] for name in names[1:])]
    assert [(file["file"], file["published"]) for file in hashes] == [
        (public.name, None if public.sha256 is None else False) for public in networks
    ], "random weights are told from the published ones where their hash is known"
    scores = read_scores(folder)
    for name in names[:2]:
        values = scores.filter(pc.equal(scores["metric"], name))["value"].to_numpy()
        assert len(values) and np.isfinite(values).all() and values.std() > 0
    distances = [value for value in Summary.read(folder / "summary.json").values if value.metric == "fid"]
    assert len(distances) == 5 and all(w.value > 0 for value in distances for w in value.horizons)


def other_weights(weights: Path) -> Path:
    folder = weights / "other"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    torch.save(LPIPS("alexnet").trunk.state_dict(), folder / trunks.WEIGHTS["alexnet"].name)
    return folder


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["lpips_vgg16"], ["no file is given: fetch vgg16-397923af.pth from torchvision", "--weights"]),
        (
            ["fid", "fvd", "dino_vits14", "--weights", "nowhere"],
            [
                *("nowhere/pt_inception-2015-12-05-6726825d.pth: no such file", "nowhere/i3d_torchscript.pt: no such"),
                "--metrics dino_vits14: DINOv2 (vits14): nowhere/dinov2_vits14_pretrain.pth: no such file",
            ],
        ),
        (["fid", "--weights", "nowhere"], ["nowhere/pt_inception-2015-12-05-6726825d.pth: no such file"]),
    ],
)
def test_absent_weights_are_named_before_anything_is_written(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], options: list[str], parts: list[str]
) -> None:
    assert main(pipeline.evaluate("--protocol", "absent", "--metrics", *options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mstv: error: --metrics {options[0]}: ") and all(part in line for part in parts)
    assert not evaluation(pipeline, "absent").exists()


def test_metrics_without_a_meaning_here(pipeline: Pipeline, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fvd = ["--protocol", "few", "--metrics", "fvd", "--weights", str(weights)]
    assert main(pipeline.evaluate(*fvd)) == 2
    assert "--metrics fvd: needs at least 2 episodes" in capsys.readouterr().err
    assert main(pipeline.evaluate(*TWO, "--end", "75", "--protocol", "short", *fvd[2:])) == 2
    assert "--metrics fvd: needs 16 generated frames, these are 11" in capsys.readouterr().err


def test_scoring_resumes_after_an_episode(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    command = pipeline.evaluate(*TWO, "--protocol", "stopped", "--metrics", "psnr", "ssim")
    score, scored = scoring.score_episode, []

    def interrupted(episode, metrics, *arguments):
        if len(scored) == 1:
            scored.append("stopped")
            raise KeyboardInterrupt
        scored.append((episode.key, [metric.name for metric in metrics]))
        return score(episode, metrics, *arguments)

    monkeypatch.setattr(scoring, "score_episode", interrupted)
    assert main(command) == 130
    # Other metrics, while it is not finished: those of the finished episode that are still wanted are kept.
    assert main([*command[:-2], "frozen", "psnr"]) == 0
    first, second = Card.read(evaluation(pipeline, "stopped") / "card.json").episodes
    assert scored == [(first, ["psnr", "ssim"]), "stopped", (first, ["frozen"]), (second, ["frozen", "psnr"])]
    assert metrics_of(evaluation(pipeline, "stopped")) == {"psnr", "frozen"}


def as_rank(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", str(index)), ("LOCAL_RANK", str(index))):
        monkeypatch.setenv(name, value)


def test_ranks_score_what_one_process_scores(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = pipeline.evaluate(*TWO, "--metrics", "psnr", "colour_drift", "--batch-size", "1")
    assert main([*command, "--protocol", "one"]) == 0
    monkeypatch.setattr(signs_of_life, "SILENCE_SECONDS", 0.5)
    as_rank(monkeypatch, 0)
    assert main([*command, "--protocol", "two"]) == 2, "rank 1 was never started"
    folder = evaluation(pipeline, "two")
    missing = Card.read(folder / "card.json").episodes[1]
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"no sign of life of rank 1 for 0 s, and {missing} is not scored" in error and "it resumes" in error
    as_rank(monkeypatch, 1)
    assert main([*command, "--protocol", "two"]) == 0
    assert "rank 1 has scored its 1 episode; rank 0 merges" in capsys.readouterr().out
    assert not (folder / "summary.json").exists()
    as_rank(monkeypatch, 0)
    assert main([*command, "--protocol", "two"]) == 0
    one, two = (read_scores(evaluation(pipeline, name)) for name in ("one", "two"))
    assert one.drop_columns("value") == two.drop_columns("value")
    assert np.array_equal(one["value"], two["value"])
    assert Summary.read(folder / "summary.json").rollout_seconds is None
    assert not list(folder.glob(".*"))


def test_each_level_is_shown_alone(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = pipeline.evaluate(*TWO, "--protocol", "alone", "--metrics", "psnr")
    folder = evaluation(pipeline, "alone")
    assert main([*command, "--level-videos", "0"]) == 0
    assert not list(folder.glob("levels/**/*.mp4"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    first, second = Card.read(folder / "card.json").episodes
    # More are made later, of what was kept; nothing else is touched.
    for count, keys in (("1", {first}), ("2", {first, second})):
        assert main([*command, "--level-videos", count]) == 0
        assert {path.parts[-2:] for path in folder.glob("levels/*/*.mp4")} == {
            (level, f"{key}.mp4") for level in "12" for key in keys
        }
    assert before == {path: path.stat().st_mtime_ns for path in before}
    store, (tokenizer, _) = LatentStore(pipeline.latents), load_tokenizer(pipeline.latents / "tokenizer.ckpt")
    for level in (1, 2):
        made = np.load(folder / "levels" / str(level) / f"{second}.npy")
        assert np.array_equal(made[:64], store.read(second, level, slice(64)).astype(np.float32))
        with torch.inference_mode():
            encode_video(to_uint8(tokenizer.decode(torch.from_numpy(made), level)), pipeline.root / "alone.mp4", 20)
        paths = (
            pipeline.root / "alone.mp4",
            *(folder / name / f"{second}.mp4" for name in (f"levels/{level}", "videos")),
        )
        alone, shown, finest = (decode_video(path).astype(float) for path in paths)
        assert shown.shape == (84, 64, 64, 3)
        assert np.abs(shown - alone).mean() < 1 < 4 < np.abs(shown - finest).mean()
    page = pipeline.root / "alone.html"
    compare = ["compare", str(pipeline.diffusion), "--protocol", "alone", "--out", str(page)]
    assert main(compare) == 0 and page.read_text().count("levels/2/") == 2
    # Latents may be deleted where the disk is full; an evaluation of an earlier version has none of it.
    (folder / "levels" / "1" / f"{first}.npy").unlink()
    (folder / "levels" / "1" / f"{first}.mp4").unlink()
    assert main(command) == 0 and not (folder / "levels" / "1" / f"{first}.mp4").exists()
    assert main(compare) == 0 and f"levels/1/{first}.mp4 does not exist" in page.read_text()
    earlier = json.loads((folder / "card.json").read_text())
    del earlier["coarse_levels"]
    (folder / "card.json").write_text(json.dumps(earlier))
    shutil.rmtree(folder / "levels")
    assert main(command) == 0 and "alone: already there" in capsys.readouterr().out
    assert main(compare) == 0 and 'class="show-levels"' not in page.read_text()
    assert not (folder / "levels").exists()


def test_rank_0_waits_for_who_lives_and_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", 0.1)
    finished, left = set(), []

    def work() -> None:
        with signs_of_life.living(tmp_path, Rank(1, 2, 1)):
            time.sleep(1.5)
            finished.add("b")

    worker = threading.Thread(target=work)
    worker.start()
    signs_of_life.wait_for(tmp_path, {"b": 1}, finished.__contains__, left.append)
    worker.join()
    assert finished == {"b"} and left[0] == ["b"] and not list(tmp_path.iterdir())
    started = time.monotonic()
    with pytest.raises(UserError, match=r"rank 2 for 1 s, and c and 1 more are not scored"):
        signs_of_life.wait_for(tmp_path, {"b": 1, "c": 2, "d": 2}, finished.__contains__, left.append)
    assert 0.5 < time.monotonic() - started < 5
