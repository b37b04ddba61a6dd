"""Long rollouts during a training: what they show, what they cost, and that they never end it."""

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mstv import checkpoint
from mstv.callbacks import long_rollout, rollout_generation, rollout_videos
from mstv.callbacks.ema import EMA
from mstv.callbacks.long_rollout import LongRollout
from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.callbacks.pictures import BAR, beside, grid
from mstv.data.latent_shards import LatentSample, LatentStore
from mstv.data.latents import LatentsDataModule
from mstv.data.results.training_rollout import TrainingRollout
from mstv.data.schema import TOKENIZER_COPY
from mstv.data.video import decode_video
from mstv.diffusion.module import DiffusionModule
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError
from mstv.optimiser import Optimiser
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.tokenizer.module import TokenizerModule, load_tokenizer
from mstv.tokenizer.tokenizer import Tokenizer
from mstv.transformer.size import TransformerSize
from tests.data.conftest import CHANNELS, LEVELS, latent_sample, write_latent_set
from tests.tiny_training import rows, trainer

CONTEXT, END = 24, 44
SIZE = TransformerSize(dim=16, depth=1, num_heads=2)


def walk(key: str, seed: int) -> LatentSample:
    """An episode that comes back to its 16 places again and again."""
    sample = latent_sample(key, 50, seed=seed)
    turn = np.arange(50) % 16
    sample.poses[:] = np.stack([turn, 0 * turn, 0 * turn, 0 * turn, 0 * turn], 1)  # type: ignore[index]
    return sample


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    shards = {
        "train-000000.tar": [latent_sample("one", 60, seed=1)],
        "validation-000000.tar": [latent_sample("short", 40), *(walk(f"walk{i}", seed=i) for i in range(3))],
    }
    write_latent_set(folder, shards)
    tokenizer = TokenizerModule(LEVELS, CHANNELS, SIZE, SIZE)
    checkpoint.write_weights(folder / TOKENIZER_COPY, "tokenizer", tokenizer.config, tokenizer.state_dict())
    return folder


Fit = Callable[..., tuple[Path, DiffusionModule]]


@pytest.fixture
def fit(latents: Path, tmp_path: Path) -> Fit:
    """Trains four steps with rollouts after the second and the fourth."""

    def run(callback: LongRollout, *loggers: Any, steps: int = 4, **options: Any) -> tuple[Path, DiffusionModule]:
        plan = CoarseToFine((1, 4, 8), 64)
        data = LatentsDataModule(latents, plan, LEVELS, batch_size=1, num_workers=0, epoch_batches=20)
        actions = {"action_kind": data.action_kind, "num_actions": data.num_actions}
        optimiser = Optimiser(learning_rate=1e-3, warmup_steps=2)
        module = DiffusionModule(LEVELS, plan, data.latent_channels, SIZE, **actions, optimiser=optimiser)
        logger = [MetricsCSV(tmp_path), *loggers]
        made = trainer(tmp_path, steps, EMA(0.9), callback, logger=logger, **options)
        made.fit(module, datamodule=data)
        return tmp_path, module

    return run


def rollout(**options: Any) -> LongRollout:
    defaults = {"every_steps": 2, "context_frames": CONTEXT, "end_frame": END, "sampling": Sampling(2)}
    return LongRollout(**{**defaults, "max_share": 1e6, **options})


def columns(run: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(run) if row.get(name)]


def test_a_turn_leaves_numbers_videos_and_pictures(fit: Fit) -> None:
    run, _ = fit(rollout())
    for name in ("psnr_h1", "psnr_h4", "psnr_h16", "psnr_lower_bound", "episodes"):
        assert len(columns(run, f"rollout/{name}")) == 2, name
    for name in ("psnr_decoded", "psnr_own", "psnr_elsewhere", "ssim_decoded", "ssim_own"):
        assert len(columns(run, f"rollout/revisit_{name}")) == 2, name
    assert columns(run, "rollout/episodes") == [2.0, 2.0]
    names = {path.name for path in (run / "media").iterdir()}
    for step in ("0000002", "0000004"):
        for file in ("rollout-walk0", "rollout-walk1", "rollout-levels-walk0"):
            assert f"{file}-{step}.mp4" in names
        assert {f"rollout-{step}.json", f"rollout-curves-{step}.png", f"rollout-levels-{step}.png"} <= names
    assert not any("short" in name or "walk2" in name or "levels-walk1" in name for name in names)
    video = decode_video(run / "media" / "rollout-levels-walk0-0000002.mp4")
    zoom = 8  # 16 x 32 pixels to at least 128
    assert video.shape == (END - CONTEXT, 16 * zoom + BAR, 4 * (32 * zoom + 2) - 2, 3)
    picture = np.asarray(Image.open(run / "media" / "rollout-levels-0000002.png"))
    assert picture.shape == (BAR + 4 * (16 * zoom + 2), 64 + 6 * (32 * zoom + 2), 3)
    numbers = TrainingRollout.read(run / "media" / "rollout-0000004.json")
    assert numbers.scored_against == "decoded" and len(numbers.psnr["generated"]) == END - CONTEXT
    # Each of 20 frames has its place 16 frames ago: 16 times in the context, then in what was generated.
    counts = {
        means.seen_in: [(gap.first_gap, gap.num_episodes, gap.num_frames) for gap in means.gaps]
        for means in numbers.revisits
        if (means.metric, means.reference, means.series) == ("ssim", "own", "generated")
    }
    assert counts == {"context": [(16, 2, 32)], "generated": [(16, 2, 8)], "anywhere": [(16, 2, 40)]}


def test_the_numbers_have_a_card(fit: Fit, latents: Path) -> None:
    run, _ = fit(rollout(seed=3, every_steps=1), steps=1)
    card = TrainingRollout.read(run / "media" / "rollout-0000001.json").card
    assert (card.step, card.weights, card.seed, card.precision) == (1, "averaged", 3, "32-true")
    assert (card.split, card.context_frames, card.end_frame) == ("validation", CONTEXT, END)
    assert card.episodes == ("walk0", "walk1") and card.ground_truth == ("decoded",)
    assert (card.sampler, card.nfe, card.guidance, card.attention) == ("ddim", 2, 1.0, "isolated")
    assert card.plan.family == "coarse_to_fine" and card.plan.parameters["windows"] == [1, 4, 8]
    assert card.tokenizer_sha256 == load_tokenizer(latents / TOKENIZER_COPY)[1]
    assert card.latents_sha256 == LatentStore(latents).manifest.sha256
    assert {"psnr", "ssim", "revisits"} == {note.name for note in card.metrics if note.definition}


def test_rollouts_do_not_disturb_the_training(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> None:
    _, module = fit(rollout())
    _, alone = fit(rollout(every_steps=100))
    for one, other in zip(module.state_dict().values(), alone.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_without_time_a_turn_is_left_out_and_says_so(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    run, module = fit(rollout(max_share=1e-9))
    said = capsys.readouterr().err
    assert "step 2 is left out" in said and "step 4 is left out" in said
    assert said.count("later in a longer training, or raise max_share of LongRollout\n") == 2
    assert columns(run, "rollout/episodes") == [0.0, 0.0] and not columns(run, "rollout/psnr_h1")
    assert not list(run.glob("media/*")) and module.training


def test_a_turn_takes_fewer_episodes_never_fewer_frames(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    callback = rollout(episodes=3, max_share=0.05)
    callback.load_state_dict({"training_seconds": 1000.0, "spent_seconds": 0.0, "costs": {3: 60.0}})
    run, _ = fit(callback, steps=2)
    assert "takes 2 of 3 episodes" in capsys.readouterr().err
    videos = sorted(path.name for path in run.glob("media/rollout-walk*.mp4"))
    assert videos == ["rollout-walk0-0000002.mp4", "rollout-walk1-0000002.mp4"]
    assert len(decode_video(run / "media" / videos[1])) == END - CONTEXT


def test_a_turn_that_turns_out_too_dear_stops_and_is_remembered(
    fit: Fit, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = rollout(episodes=2, max_share=0.05)
    callback.load_state_dict({"training_seconds": 2000.0, "spent_seconds": 0.0, "costs": {}})

    def slow(*arguments: Any) -> None:
        clock[0] += 100.0  # 100 seconds a step

    monkeypatch.setattr(rollout_generation, "synchronise", slow)
    run, _ = fit(callback, steps=2)
    assert columns(run, "rollout/episodes") == [0.0] and not list(run.glob("media/*"))
    assert clock[0] < 800, "it gives up early"
    assert callback._time.cost(2) > 100.0


def test_whatever_goes_wrong_is_a_warning(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise RuntimeError("no encoder")

    monkeypatch.setattr(long_rollout, "report", broken)
    with pytest.warns(UserWarning, match="step 2 failed: no encoder"):
        run, module = fit(rollout(), steps=3)
    assert len(columns(run, "train/gradient_norm")) == 3 and module.training


def test_a_set_of_short_episodes_is_a_warning(fit: Fit) -> None:
    with pytest.warns(UserWarning, match="no episode of split validation has 64 frames"):
        fit(rollout(end_frame=64), steps=2)


class Unreachable(MetricsCSV):
    """A logger that takes what is logged, but for rollouts."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if any(name.startswith("rollout/") for name in metrics):
            raise ConnectionError("no connection")


def test_a_logger_that_fails_and_a_full_disk_end_nothing(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rollout_videos, "encode_video", full)
    with pytest.warns(UserWarning, match="step 2 failed: videos: .*No space left.*; logging: no connection"):
        run, module = fit(rollout(), Unreachable(tmp_path / "other"), steps=3)
    assert len(columns(run, "train/gradient_norm")) == 3 and module.training
    # What did not fail is there.
    assert columns(run, "rollout/episodes") == [2.0] and columns(run, "rollout/psnr_h4")
    assert (run / "media" / "rollout-0000002.json").is_file() and not list(run.glob("media/*.mp4"))


def test_a_disk_that_takes_nothing_ends_nothing(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "media").write_text("in the way")
    with pytest.warns(UserWarning, match="step 2 failed: videos: "):
        run, _ = fit(rollout(), steps=3)
    assert len(columns(run, "train/gradient_norm")) == 3 and columns(run, "rollout/psnr_h4")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that tests add to those that pass."""
    now, real = [0.0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: real() + now[0])
    return now


def test_decoding_counts(fit: Fit, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Tokenizer.decode

    def slow(*arguments: Any) -> torch.Tensor:
        clock[0] += 1000
        return decode(*arguments)

    monkeypatch.setattr(Tokenizer, "decode", slow)
    callback = rollout(max_share=0.05)
    callback.load_state_dict({"training_seconds": 60_000.0, "spent_seconds": 0.0, "costs": {}})
    run, _ = fit(callback)
    # An episode has four parts to decode: 4000 s, of which 3000 may be taken; after two parts that is known.
    assert clock == [2000.0] and columns(run, "rollout/episodes") == [0.0, 0.0]
    assert not list(run.glob("media/*")) and callback._time.share < 0.05


@pytest.mark.parametrize(("budget", "episodes", "seconds"), [(700, 1, 400), (200, 0, 80), (1500, 2, 600)])
def test_encoding_counts(
    fit: Fit, clock: list[float], monkeypatch: pytest.MonkeyPatch, budget: int, episodes: int, seconds: int
) -> None:
    encode = rollout_videos.encode_video

    def slow(frames: Iterator[np.ndarray], *arguments: Any) -> int:
        def counted() -> Iterator[np.ndarray]:
            for frame in frames:
                clock[0] += 10
                yield frame

        return encode(counted(), *arguments)

    monkeypatch.setattr(rollout_videos, "encode_video", slow)
    callback = rollout(max_share=0.05)
    callback.load_state_dict({"training_seconds": budget / 0.05, "spent_seconds": 0.0, "costs": {}})
    run, _ = fit(callback, steps=2)
    # 20 frames are 200 s; the first episode has a second video, of its levels.
    assert columns(run, "rollout/episodes") == [episodes] and clock == [pytest.approx(seconds, abs=10)]
    assert callback._time.spent_seconds < budget
    videos = sorted(path.name for path in run.glob("media/rollout-walk*.mp4"))
    assert videos == [f"rollout-walk{i}-0000002.mp4" for i in range(episodes)]
    assert all(len(decode_video(run / "media" / name)) == END - CONTEXT for name in videos)


@pytest.mark.parametrize("options", [{"every_steps": 0}, {"max_share": 0.0}, {"end_frame": CONTEXT}])
def test_settings_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="LongRollout"):
        rollout(**options)


def test_pictures_are_labelled_and_even() -> None:
    frames = torch.rand(3, 3, 5, 7)
    video = beside([("true", frames), ("generated", frames)])
    assert video.shape[1] % 2 == video.shape[2] % 2 == 0 and len(video) == 3
    zoom = 26  # 5 to at least 128
    assert np.array_equal(video[1, BAR + zoom // 2, zoom // 2], (frames[1, :, 0, 0] * 255).round().byte().numpy())
    assert (video[0, :BAR] < 128).any(), "letters"
    picture = grid([("true", frames), ("level 0", frames)], ["+1", "+2", "+4"])
    assert picture.dtype == np.uint8 and (picture[BAR : 2 * BAR, :64] < 128).any()
