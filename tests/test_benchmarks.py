"""The benchmarks compare procedures that compute the same function, and read the same frames."""

import json
import os
from pathlib import Path

import pytest
import torch

from benchmarks import loading, rollout
from benchmarks.frame_sets import FrameSets
from benchmarks.rollout import PLAN, Workload, flops, token_evaluations
from mstv.cli.runtime import Runtime
from mstv.data.frames import FramesDataModule
from mstv.data.video import decode_video
from mstv.diffusion.sample_step import Sampling
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.cost import PlanCost
from mstv.transformer.size import TransformerSize


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Workload:
    levels = Levels((32, 32), (4, 4), 3)
    monkeypatch.setattr(rollout, "LEVELS", levels)
    monkeypatch.setattr(rollout, "PLAN", CoarseToFine([1, 4, 16], 64).plan(levels.num_tokens(0)))
    monkeypatch.setattr(rollout, "SIZES", {"S": TransformerSize(48, 3, 2)})
    return Workload("S", Runtime(torch.device("cpu"), bf16=False), compiled=False)


def test_the_published_procedure_is_joint_ddim(work: Workload) -> None:
    expected = work.ours("joint", Sampling(5, "ddim"))
    assert torch.allclose(work.publish(5), expected, atol=1e-4 * float(expected.abs().max()))


def test_flops_are_those_of_the_plan(work: Workload) -> None:
    size, nfe = TransformerSize(48, 3, 2), 7
    cost = PlanCost(rollout.PLAN, size.dim, size.depth, "joint", nfe)
    steps = len(rollout.PLAN.steps) / rollout.PLAN.advance
    modulation = nfe * size.depth * 2 * 6 * size.dim**2 * work.layout.num_tokens * steps
    counted = flops(size, "published", nfe, work.layout) * steps
    assert counted == pytest.approx(cost.attention_flops + cost.linear_flops + modulation)
    assert token_evaluations("joint", nfe, work.layout) * steps == pytest.approx(cost.token_evaluations)
    isolated = PlanCost(rollout.PLAN, size.dim, size.depth, "isolated", nfe)
    assert token_evaluations("isolated", nfe, work.layout) * steps == pytest.approx(isolated.token_evaluations)
    # The last block's context is only keys and values.
    assert flops(size, "isolated", nfe, work.layout) * steps < isolated.attention_flops + isolated.linear_flops * 1.1


def test_the_plan_is_the_published_one() -> None:
    assert len(PLAN.steps) == 85 and PLAN.advance == 192 and set(PLAN.num_tokens) == {3840}


@pytest.mark.parametrize("option", [["--nfe", "0"], ["--nfe", "1"], ["--rounds", "0"], ["--decoded", "0"]])
def test_settings_that_measure_nothing_are_refused_at_once(
    option: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rollout", *option])
    monkeypatch.setattr(rollout, "measure", lambda *_: pytest.fail("it began"))
    with pytest.raises(SystemExit) as end:
        rollout.main()
    assert end.value.code == 2 and f"argument {option[0]}: must be at least" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO")  # webdataset leaves tars open
@pytest.mark.slow
def test_loading_is_measured_whole(tmp_path: Path) -> None:
    command = ["--episodes", "5", "--frames", "64", "--size", "32", "--rounds", "2", "--seeks", "64", "--jpegs", "64"]
    command += ["--latent-episodes", "1", "--batches", "3", "--steps", "1", "--folder", str(tmp_path / "data")]
    cores = os.sched_getaffinity(0)
    loading.main([*command, "--json", str(tmp_path / "loading.json")])
    assert os.sched_getaffinity(0) == cores
    results = json.loads((tmp_path / "loading.json").read_text())
    assert {"a ours", "v ours, decord", "b our mp4, open and seek", "w jpeg tars"} <= results["frames"].keys()
    for row in [*results["frames"].values(), *results["tokens"].values()]:
        assert len(row["per_second_all"]) == 2 and min(row["per_second_all"]) > 0 and row["per_second"] > 0
    assert results["bytes_per_frame"].keys() == {"shards", "our mp4", "default mp4", "jpeg tars"}
    row = results["tokens"]["crops, demo plan"]
    tokens = loading.DEMO_PLAN.plan(loading.DEMO_LEVELS.num_tokens(0)).num_tokens[-1]
    assert row["crops_per_second"] == pytest.approx(row["per_second"] / tokens)
    # What is asked for is what is used, the notes on each array apart.
    assert 1 <= row["bytes_asked_per_byte_used"] < 1.5
    assert results["ratio_training"] > 0
    # All ways hold the same frames.
    sets = FrameSets(tmp_path / "data", 5, 64, 32)
    paths = sets.our_mp4(sets.keys[0]), sets.default_mp4(sets.keys[0])
    ours, default = (decode_video(path).astype(int) for path in paths)
    assert ours.shape == default.shape == (64, 32, 32, 3) and abs(ours - default).mean() < 8
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*")}
    sets.make()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*")} == made


def test_other_decoders_give_the_same_batches(tmp_path: Path) -> None:
    sets = FrameSets(tmp_path, 5, 64, 64)
    sets.make()
    data = FramesDataModule(sets.shards, Levels((64, 64), (16, 16), 3), 16, num_workers=0)
    data.setup("fit")
    expected = [batch.images for batch in data.train_dataloader()]
    found: list[torch.Tensor] = []

    def run(_: int) -> int:
        found.extend(batch.images for batch in data.train_dataloader())
        return len(found)

    data.setup("fit")
    loading.with_decoder(run, loading.decord_frames)(0)
    assert len(found) == len(expected) > 2
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
