"""`mstv rollout` and `mstv evaluate` by a protocol's name."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_tools.cli import main as mstv_data
from mstv.cli.main import main
from mstv.data.latent_shards import LatentStore
from mstv.data.results import episode_curves, read_revisit_scores, read_run
from mstv.data.schema import Source
from mstv.evaluation.protocols import PROTOCOLS
from tests.cli.conftest import EXPERIMENTS, Pipeline


def evaluate(pipeline: Pipeline, *options: str, command: str = "evaluate") -> int:
    return main([command, str(pipeline.diffusion), "--nfe", "2", "--episodes", "1", *options])


@pytest.mark.parametrize("command", ["rollout", "evaluate"])
def test_what_a_protocol_needs_is_told_before_anything_is_written(command, pipeline, capsys):
    assert evaluate(pipeline, "--protocol", "teco-144", command=command) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("mstv: error")]
    assert "--protocol teco-144: needs episodes of at least 300 frames, blockworld-" in line
    assert line.endswith(
        "has 128: record some with mstv-data record --policy loopwalk --frames 300, or choose another protocol"
    )
    assert evaluate(pipeline, "--protocol", "teco-144", "--context", "64", command=command) == 2
    assert "--context 64: --protocol teco-144 is defined by --context 144: leave" in capsys.readouterr().err
    assert evaluate(pipeline, "--protocol", "teco-36", command=command) == 2
    assert "--protocol teco-36: gives 36 frames of context, and this run's plan needs 42" in capsys.readouterr().err
    assert evaluate(pipeline, "--protocol", "teco144", command=command) == 2
    assert "did you mean teco-144?" in capsys.readouterr().err
    assert not list(pipeline.diffusion.glob("evaluation/teco*"))


def test_a_named_protocol_sets_what_is_evaluated_and_stands_in_the_card(pipeline, capsys, monkeypatch):
    short = replace(PROTOCOLS["teco-36"], context_frames=64, end_frame=128, version=3)
    monkeypatch.setitem(PROTOCOLS, "teco-36", short)
    assert evaluate(pipeline, "--protocol", "teco-36", "--metrics", "psnr", "ssim", "sharpness") == 0
    folder = pipeline.diffusion / "evaluation" / "teco-36"
    card = json.loads((folder / "card.json").read_text())
    values = [card[name] for name in ("protocol", "protocol_version", "context_frames", "end_frame")]
    assert values == ["teco-36", 3, 64, 128]
    monkeypatch.setitem(PROTOCOLS, "teco-36", replace(short, policy="look-back"))
    assert evaluate(pipeline, "--protocol", "teco-36") == 2
    assert "needs walks of the policy look-back, blockworld-" in capsys.readouterr().err

    # Its revisits: found from the recorded poses, scored, and summed up by gap.
    store = LatentStore(pipeline.latents)
    assert all(store.poses(key) is not None for key in card["episodes"])
    table = read_revisit_scores(folder)
    assert table.num_rows and set(table["episode"].to_pylist()) <= set(card["episodes"])
    assert set(table["metric"].to_pylist()) == {"psnr", "ssim"}
    assert min(table["frame"].to_pylist()) >= 64 and max(table["frame"].to_pylist()) < 128
    summary = read_run(pipeline.diffusion).evaluation("teco-36").summary
    rows = sum(part.overall.num_frames for part in summary.revisits if part.seen_in == "anywhere")
    assert rows == table.num_rows
    per_frame = pq.read_table(folder / "per_frame.parquet").to_pylist()
    names = ("episode", "frame", "metric", "ground_truth", "series")
    known = {tuple(row[name] for name in names): row["value"] for row in per_frame}
    for row in table.to_pylist():
        if row["reference"] in ("raw", "decoded"):
            same = (row["episode"], row["frame"], row["metric"], row["reference"], row["series"])
            assert row["value"] == known[same], "those against the truth are the per-frame scores"


def test_help_lists_the_protocols(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    text = capsys.readouterr().out
    for protocol in PROTOCOLS.values():
        assert f"  {protocol.name} " in text and protocol.about in text


@pytest.mark.parametrize("policy", ["explore-return", "look-back"])
def test_their_walks_are_recorded_by_name(policy, tmp_path):
    protocol = PROTOCOLS[policy]
    record = ["record", "--policy", policy, "--hold", "1", "--episodes", "1", "--frames", str(protocol.end_frame)]
    options = ["--size", "16", "--workers", "1", "--engine-option", "arena=4"]
    options += ["--engine-option", "frames_per_action=1", "--out", str(tmp_path)]
    assert mstv_data([*record, *options]) == 0
    (path,) = tmp_path.glob("blockworld-*.json")
    content = json.loads(path.read_text())
    assert content["source"]["policy"] == policy
    protocol.check_episode(content["key"], content["num_frames"], Source(**content["source"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_evaluated_on_walks_of_its_own(name: str, pipeline: Pipeline, tmp_path: Path) -> None:
    protocol = PROTOCOLS[name]
    raw, shards, latents = (tmp_path / folder for folder in ("raw", "shards", "latents"))
    record = ["record", "--policy", protocol.policy or "loopwalk", "--episodes", "1", "--workers", "1", "--size", "64"]
    assert mstv_data([*record, "--frames", str(protocol.end_frame), "--out", str(raw)]) == 0
    (source,) = raw.glob("blockworld-*.json")
    world = json.loads(source.read_text())["source"]["world"]
    assert mstv_data(["shard", str(raw), str(shards), "--test-worlds", world, "--workers", "1"]) == 0
    assert main(["encode", str(shards), str(latents), "--tokenizer", str(pipeline.tokenizer)]) == 0
    run = pipeline.diffusion
    if protocol.context_frames < 42:  # the demo's plan needs more
        run = tmp_path / "run"
        plan = ["-c", str(EXPERIMENTS / "plans" / "full_resolution.yaml"), "--trainer.max_steps", "1"]
        assert main(pipeline.fit_diffusion(run, *plan)) == 0
    span = ["--protocol", name, "--latents", str(latents), "--episodes", "1", "--nfe", "2", "--metrics", "psnr"]
    assert main(["evaluate", str(run), *span]) == 0
    evaluation = read_run(run).evaluation(name)
    assert (evaluation.card.context_frames, evaluation.card.end_frame) == (protocol.context_frames, protocol.end_frame)
    curves = episode_curves(evaluation.scores(), "psnr", "raw", "generated")
    assert curves is not None and curves.values.shape == (1, protocol.end_frame - protocol.context_frames)
    if protocol.policy:
        assert [gap for means in evaluation.summary.revisits for gap in means.gaps], "it comes back"
