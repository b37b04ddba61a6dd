"""LoopWalk: its frozen sets, its plans, and the table that is made of its rows."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from data_tools.episode import RawEpisodes
from experiments.loopwalk import figure, frames, probe, reach, run, table
from experiments.loopwalk import make_set as command
from experiments.loopwalk.frozen_set import CLAIM, FrozenSet, FrozenSplit, claim, claimed, read_sets, sign, write_sets
from experiments.loopwalk.kept import with_kept
from experiments.loopwalk.results import HORIZONS, returns
from experiments.loopwalk.rows import CONTEXT, END, EPISODES, HERE, LOOK_BACK, LOOK_BACK_END, PROTOCOL, ROWS, Row
from experiments.loopwalk.scored import Scored, difference, revisits_of
from experiments.loopwalk.sight import known_frames, sight
from mstv.checkpoint import load_file
from mstv.cli.experiment import Experiment
from mstv.cli.main import main as mstv
from mstv.data.latent_shards import LatentStore
from mstv.data.results import read_run, revisit_rows
from mstv.data.schema import read_manifest
from mstv.data.video import decode_video
from mstv.diffusion.module import load_diffusion
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.cost import PlanCost
from tests.cli import recipe_sets

BUDGET = {"mini": 128, "standard": 960}
FROZEN_RESULTS, LONGER_RESULTS = (
    json.loads((HERE / name).read_text()) for name in ("results.json", "results_4000.json")
)
NAMES = {
    ("coarse_to_fine", "isolated"): "coarse-to-fine, three seeds",
    ("coarse_to_fine", "joint"): "coarse-to-fine, joint attention, one seed",
    ("framepack", "isolated"): "FramePack's plan, three seeds",
    ("framepack_latents", "isolated"): "FramePack's own input layer, one seed",
    ("full_resolution", "isolated"): "full resolution, three seeds",
    ("upscale", "isolated"): "upscale, one seed",
}
"""Lines of the page's first table."""


def tiny_set() -> FrozenSet:
    splits = {name: FrozenSplit(episodes=count) for name, count in
              (("test", 2), ("validation", 1), ("train", 3))}  # fmt: skip
    return read_sets()["mini"].model_copy(update={"num_frames": 24, "splits": splits})


def test_a_folder_is_of_one_set(tmp_path: Path) -> None:
    tiny, mini = tiny_set(), read_sets()["mini"]
    with pytest.raises(UserError, match=f"has no {CLAIM}"):
        claimed(tmp_path / "mini")
    claim(tmp_path / "mini", mini)
    assert claimed(tmp_path / "mini") == mini.unsigned != mini, "nothing is recorded yet"
    claim(tmp_path / "mini", mini)
    for other in (tiny, read_sets()["standard"]):
        with pytest.raises(UserError, match=r"set\.json: the folder holds another set"):
            claim(tmp_path / "mini", other)
    (tmp_path / "other" / "latents").mkdir(parents=True)
    with pytest.raises(UserError, match=f"other: holds files but no {CLAIM}"):
        claim(tmp_path / "other", mini)
    (tmp_path / "mini" / CLAIM).write_text("{}")
    with pytest.raises(UserError, match=r"set\.json: damaged"):
        claim(tmp_path / "mini", mini)


@pytest.mark.parametrize("size", ["mini", "standard"])
def test_look_back_walks_stand_in_worlds_of_their_own_and_have_all_gaps(size: str) -> None:
    walked, look_back = (read_sets()[name] for name in (size, f"{size}-{run.LOOK_BACK_SET}"))
    worlds = [{one.recording.world(index) for index in range(one.num_episodes)} for one in (walked, look_back)]
    assert worlds[0].isdisjoint(worlds[1]) and len(worlds[1]) == look_back.num_episodes == EPISODES[size]
    assert (walked.size, walked.hold, walked.engine_options) == (
        look_back.size,
        look_back.hold,
        look_back.engine_options,
    )
    assert look_back.policy == "look-back" and look_back.num_frames == LOOK_BACK_END


@pytest.mark.parametrize("size", ["mini", "standard"])
def test_sets_have_fifty_test_worlds_that_no_other_split_has(size: str) -> None:
    frozen = read_sets()[size]
    keys = [key for split in frozen.splits for key in frozen.keys(split)]
    assert len(keys) == len(set(keys)) == frozen.num_episodes
    assert frozen.keys("test")[0] == "blockworld-000000" and len(frozen.keys("test")) == 50
    worlds = [frozen.recording.world(index) for index in range(frozen.num_episodes)]
    assert len(set(worlds)) == frozen.num_episodes
    assert frozen.num_frames == 1024


def test_standard_has_what_a_gpu_can_use() -> None:
    assert read_sets()["standard"].size == 128 and read_sets()["standard"].num_episodes >= 500


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[FrozenSet, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    frozen = tiny_set()
    assert command.make_set(frozen, folder, workers=1) is False
    return frozen.frozen(RawEpisodes(folder / command.RAW).records), folder


def test_a_set_is_split_as_frozen_and_made_again_bit_for_bit(made: tuple[FrozenSet, Path], tmp_path: Path) -> None:
    frozen, folder = made
    manifest = read_manifest(folder / command.SHARDS, "frames")
    for split in frozen.splits:
        found = [key for shard in manifest.of_split(split) for key in shard.episodes]
        assert tuple(found) == frozen.keys(split)
    assert not claimed(folder).is_frozen
    assert command.make_set(frozen, tmp_path, workers=2) is True
    assert claimed(tmp_path) == frozen
    otherwise = frozen.splits["test"].model_copy(update={"walks": "0" * 64})
    with pytest.raises(UserError, match="another set"):
        claim(tmp_path, frozen.model_copy(update={"splits": {**frozen.splits, "test": otherwise}}))
    assert (tmp_path / command.SHARDS / "test-000000.tar").read_bytes() == (
        folder / command.SHARDS / "test-000000.tar"
    ).read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}
    assert command.make_set(frozen, folder, workers=1) is True
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}


@pytest.mark.parametrize(("field", "words"), [("walks", "worlds, actions or poses"), ("frames", "video encoder")])
def test_what_is_not_the_frozen_set_is_refused(made: tuple[FrozenSet, Path], field: str, words: str) -> None:
    frozen, folder = made
    sign(folder, frozen.unsigned)  # as if its recordings had never been compared
    changed = frozen.splits["train"].model_copy(update={field: "0" * 64})
    with pytest.raises(UserError, match=f"split train: .*{words}"):
        command.make_set(frozen.model_copy(update={"splits": {**frozen.splits, "train": changed}}), folder, workers=1)


def test_the_set_file_is_read_as_it_was_written(made: tuple[FrozenSet, Path], tmp_path: Path) -> None:
    write_sets({"mini": made[0]}, tmp_path / "sets.json")
    assert read_sets(tmp_path / "sets.json") == {"mini": made[0]}
    values = json.loads((tmp_path / "sets.json").read_text())
    assert values["mini"]["splits"]["test"]["walks"] != values["mini"]["splits"]["validation"]["walks"]


@pytest.mark.parametrize("size", BUDGET)
def test_no_row_takes_more_tokens_a_step_than_coarse_to_fine_and_all_begin_in_the_context(size: str) -> None:
    memory = {}
    for row in ROWS:
        experiment = Experiment.read(row.layers(size))
        base = experiment.levels.num_tokens(0)
        plan = experiment.family.plan(base)
        merged = experiment.family.merged_plan(base)
        assert max(merged.num_tokens) <= BUDGET[size] and plan.first_target_frame <= CONTEXT
        assert experiment.attention == row.attention
        memory[row.plan] = PlanCost(merged, 1, 1, "isolated", 2).memory[1]
    assert max(Experiment.read(ROWS[0].layers(size)).family.plan(base).num_tokens) == BUDGET[size]
    assert memory["full_resolution"] < 8 < memory["framepack"] <= memory["coarse_to_fine"]


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Experiment], Path]:
    @cache
    def make(levels: Levels) -> Path:
        return recipe_sets.latents(tmp_path_factory.mktemp("latents"), levels, num_frames=1024)

    return lambda experiment: make(experiment.levels)


@pytest.mark.slow
@pytest.mark.parametrize("size", BUDGET)
@pytest.mark.parametrize("row", [row for row in ROWS if row.seed == 0], ids=lambda row: row.name)
def test_rows_take_a_step(size: str, row: Row, latents: Callable[[Experiment], Path], tmp_path: Path) -> None:
    recipe = [word for path in row.layers(size) for word in ("-c", str(path))]
    data = ["--data.folder", str(latents(Experiment.read(row.layers(size)))), "--data.num_workers", "0"]
    small = ["--data.batch_size", "1", "--model.size.depth", "1", "--trainer.max_steps", "1", "--wandb", "false"]
    assert mstv(["fit", *recipe, "--run", str(tmp_path / "run"), *data, *small]) == 0
    assert load_file(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 1


def test_recipes_name_themselves_in_their_commands() -> None:
    recipes = sorted(HERE.glob("*/*.yaml"))
    assert len(recipes) == 16
    for path in recipes:
        header = "".join(line for line in path.read_text().splitlines() if line.startswith("#"))
        assert f"experiments/loopwalk/{path.parent.name}/{path.name}" in header.partition("Command:")[2]


def test_scores_are_means_of_windows_then_of_episodes() -> None:
    values = np.arange(32.0).reshape(2, 16)
    revisits, in_context = (np.zeros((2, 16), bool) for _ in range(2))
    revisits[0, [8, 15]] = revisits[1, 2] = in_context[0, 15] = True
    scored = Scored(values, revisits, in_context)
    at = scored.at(16)
    assert at["psnr"] == (11.5 + 27.5) / 2 and at["interval"] == [11.5, 27.5]
    assert at["revisit_psnr"] == (8 + 15) / 2 and at["revisit_context_psnr"] == 15
    error = np.mean(10 ** (-values[:, 8:] / 10))
    assert at["psnr_pooled"] == pytest.approx(-10 * np.log10(error), abs=1e-3) and at["psnr_pooled"] < at["psnr"]
    assert scored.at(1)["psnr"] == 8 and scored.at(1)["revisit_psnr"] is None


def test_a_return_is_told_by_when_the_context_showed_its_place() -> None:
    rows = [
        revisit_rows(key, np.array(frames), np.array(earlier), metric, reference, series, np.array(values, float))
        for key, frames, earlier, metric, reference, series, values in (
            ("a", [30, 31, 40], [10, 10, 30], "psnr", "raw", "generated", [20, 22, 5]),
            ("b", [25, 28], [24 - 15, 19], "psnr", "raw", "generated", [11, 12]),
            ("b", [25], [9], "ssim", "raw", "generated", [0.5]),
            ("b", [25], [9], "psnr", "own", "generated", [50]),
            ("b", [25], [9], "psnr", "raw", "upper_bound", [50]),
        )
    ]
    found = returns(pa.concat_tables(rows), "generated", 20)
    assert found == {"gaps": [9, 16, 20], "frame": [28, 25, 30], "psnr": [12, 11, 21], "episode": ["b", "b", "a"]}


def test_differences_are_paired_by_episode_over_the_mean_of_the_seeds() -> None:
    hard = np.array([[10.0], [20], [30], [40]]) * np.ones(16)
    one, two = hard + 1 + np.arange(4)[:, None], hard + 3 + np.arange(4)[:, None]
    mean, (low, high) = difference([one, two], [hard, hard], 16)
    assert mean == 2 + 1.5
    assert low is not None and high is not None and 2 <= low < mean < high <= 5, "how hard an episode is falls out"


def test_revisits_are_frames_of_a_pose_that_was_left() -> None:
    place = np.concatenate([np.zeros(5), np.arange(1, 20), np.zeros(2), np.arange(30, 42), [0, 38]])
    poses = np.zeros((len(place), 5))
    poses[:, 0] = place
    revisits, in_context = revisits_of(poses, 20)
    assert (np.flatnonzero(revisits) + 20).tolist() == [24, 25, 38], "38 was left for 4 frames alone"
    assert (np.flatnonzero(in_context) + 20).tolist() == [24, 25, 38]


def test_frames_are_told_apart_by_when_their_pose_was_seen() -> None:
    place = np.concatenate([np.arange(40), [40, 40, 38, 3, 50, 38]])
    poses = np.zeros((len(place), 5))
    poses[:, 2] = place
    kinds = [probe.KINDS[kind] for kind in probe.kinds_of(poses, 40)]
    assert kinds == ["new", "still", "recent", "remembered", "new", "recent"]


def test_rows_of_another_place_are_kept_unless_the_folder_has_them(tmp_path: Path) -> None:
    both = tmp_path / "both.json"

    def results(rows: list[Row], value: float, differences: list[tuple[str, str, list[int]]]) -> dict[str, Any]:
        who = [{"plan": "upper_bound", "attention": None, "seed": None}, *map(asdict, rows)]
        by_row = {name: [{**one, "psnr": value} for one in who] for name in ("rows", "revisits", "losses")}
        pairs = [{"plan": a, "minus": b, "seeds": seeds, "psnr": value} for a, b, seeds in differences]
        return {"protocol": {"tokenizer_sha256": "f"}, **by_row, "differences": pairs, "look_back": [], "returns": []}

    coarse, framepack, full = Row("coarse_to_fine"), Row("framepack"), Row("full_resolution", seed=1)
    pairs = [("coarse_to_fine", "framepack", [0]), ("coarse_to_fine", "full_resolution", [1])]
    there = results([coarse, framepack, full], 1, pairs)
    there["look_back"] = there["rows"]
    both.write_text(json.dumps(there))
    joint = Row("coarse_to_fine", attention="joint")
    found = with_kept(results([joint, framepack], 2, []), both)
    order = [("upper_bound", 2), ("coarse_to_fine", 1), ("framepack", 2), ("full_resolution", 1), ("coarse_to_fine", 2)]
    for name in ("rows", "revisits", "losses"):
        assert [(row["plan"], row["psnr"]) for row in found[name]] == order
    assert [row["plan"] for row in found["look_back"]] == ["upper_bound", "coarse_to_fine", "full_resolution"]
    assert found["differences"] == there["differences"][1:], "of a row that is another one here"
    for field, value in (("protocol", {"tokenizer_sha256": "e"}), ("rows", [{"plan": "mine"}]), ("returns", None)):
        both.write_text(json.dumps({**there, field: value}))
        with pytest.raises(UserError, match=r"both\.json: .*(tokenizer_sha256|no results\.json)"):
            with_kept(results([joint], 2, []), both)


def test_pictures_are_refused_before_anything_is_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "frames.png"
    assert frames.main([str(tmp_path), str(picture), "--video", str(tmp_path / "walk.gif")]) == 2
    assert "--video" in (said := capfd.readouterr().err) and "must end in .mp4" in said
    for module in (frames, figure):
        assert module.main([str(HERE / "results.json"), str(tmp_path / "frames.mp4")]) == 2
        assert "frames.mp4: must end in .png" in capfd.readouterr().err
    assert not any(tmp_path.iterdir())
    assert figure.main([str(HERE / "results.json"), str(picture)]) == 0 and picture.is_file()


@pytest.mark.slow
def test_the_whole_benchmark_runs_and_resumes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    arguments = ["mini", str(tmp_path), "--quick", "--rows", "coarse_to_fine-isolated-0"]
    assert run.main(arguments) == 0
    assert run.main(["mini", str(tmp_path), "--rows"]) == 2, "the folder of --quick is not the benchmark's"
    assert "the folder holds another set of LoopWalk" in capfd.readouterr().err
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["protocol"]["test_walks"] is None, "a quick set is not frozen"
    assert {row["plan"] for row in found["rows"]} == {"upper_bound", "lower_bound", "coarse_to_fine"}
    trained = [row for row in found["rows"] if row["plan"] == "coarse_to_fine"]
    assert [row["horizon"] for row in trained] == [1, 16, 32]
    assert all(row["train_steps"] == 4 and row["tokens_per_step"] == 128 and row["episodes"] == 2 for row in trained)
    assert {row["memory_frames"] for row in trained} == {99}
    upper = {row["horizon"]: row["psnr"] for row in found["rows"] if row["plan"] == "upper_bound"}
    assert all(upper[row["horizon"]] != row["psnr"] for row in trained)
    assert {row["parameters"] for row in trained} == {1_286_432}
    tables = (tmp_path / "results.md").read_text()
    assert "| coarse_to_fine | isolated, 0 | 128 | 439 |" in tables and "after a look away" in tables
    row = Row("coarse_to_fine")
    for name, protocol in (("revisits", PROTOCOL), ("look_back", LOOK_BACK)):
        summary = read_run(row.run(tmp_path)).evaluation(protocol).summary
        (own,) = (
            means
            for means in summary.revisits
            if (means.metric, means.reference, means.seen_in, means.series) == ("ssim", "own", "anywhere", "generated")
        )
        lines = [line for line in found[name] if (line["plan"], line["seen_in"]) == ("coarse_to_fine", "anywhere")]
        assert {line["first_gap"]: line["own_ssim"] for line in lines} == {
            gap.first_gap: round(gap.value, 3) for gap in own.gaps
        }
        assert lines and all(line["frames"] and line["psnr"] < 40 for line in lines)
    (losses,) = found["losses"]
    assert losses["validation_steps"] == [2, 4]
    kept = tmp_path / "kept.json"
    again = ["mini", str(tmp_path), "--keep", str(tmp_path / "results.json"), "--out", str(kept)]
    assert table.main(again) == 0 and kept.read_bytes() == (tmp_path / "results.json").read_bytes()
    assert (tmp_path / "index.html").is_file()
    assert figure.main([str(tmp_path / "results.json"), str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    capfd.readouterr()
    assert figure.main([str(tmp_path / "nosuch.json"), str(tmp_path / "curves.png")]) == 2
    assert "nosuch.json: no results.json" in capfd.readouterr().err
    shown = frames.read_frames(tmp_path, 1)
    assert list(shown) == ["recorded", "coarse to fine"] and all(len(video) == 33 for video in shown.values())
    decoded = [video.astype(int) for video in shown.values()]
    assert np.abs(decoded[0][0] - decoded[1][0]).mean() < np.abs(decoded[0][8] - decoded[1][8]).mean()
    frames.draw(shown, tmp_path / "frames.png")
    frames.film(shown, tmp_path / "frames.mp4")
    assert decode_video(tmp_path / "frames.mp4").shape == (33, 144, 258, 3)
    with pytest.raises(UserError, match=r"--episode 2: .* has 2 episodes"):
        frames.read_frames(tmp_path, 2)
    module, _ = load_diffusion(tmp_path / "runs" / "coarse_to_fine-isolated-0" / "checkpoints" / "last.ckpt")
    probed = probe.probe(module, LatentStore(tmp_path / "latents"), "validation", 32)
    assert probed["frames"].sum() == 32 * 8 and probed["frames"][1:3].all()  # recent and remembered
    # After four steps the context does not matter yet.
    assert (probed["own"][1:3] < 1).all() and (probed["foreign"][1:3] < 1).all()
    capfd.readouterr()
    code, said = run.main(arguments), capfd.readouterr()
    assert code == 0, said.err
    assert said.out.count("already there") >= 1
    usual = (tmp_path / "results.json").read_bytes()
    assert run.main([*arguments, "--steps", "200"]) == 0, "which --quick cuts short"
    longer = json.loads((tmp_path / "results-200.json").read_text())
    assert [row["seed"] for row in longer["losses"]] == [0] and longer["protocol"]["steps"] == 200
    config = yaml.safe_load((Row("coarse_to_fine", steps=200).run(tmp_path) / "config.yaml").read_text())
    assert config["model"]["init_args"]["optimiser"]["decay_steps"] == 200
    assert (tmp_path / "results.json").read_bytes() == usual and (tmp_path / "index-200.html").is_file()
    capfd.readouterr()
    mixed = [*again[:2], "--steps", "200", "--keep", str(tmp_path / "results.json"), "--out", str(kept)]
    assert table.main(mixed) == 2 and "has another steps" in capfd.readouterr().err


def walk(places: list[int]) -> np.ndarray:
    poses = np.zeros((len(places), 5))
    poses[:, 0] = places
    return poses


def test_a_place_is_known_while_the_plan_sees_it_in_a_frame_that_it_knows() -> None:
    poses = walk([1, 2, 3, 1, 9, 9, 1, 9, 9, 9, 9, 1, 2, 4])

    def back(reach: int) -> dict[int, frozenset[int]]:
        return {frame: frozenset(range(frame - reach, frame)) for frame in range(3, len(poses))}

    # 1 comes back after 3 and 3 frames, then after 5, too late; 2 after 11; 4 and 9 were never in the context.
    assert np.flatnonzero(known_frames(poses, 3, back(4))).tolist() == [0, 1, 2, 3, 6]
    assert np.flatnonzero(known_frames(poses, 3, back(11))).tolist() == [0, 1, 2, 3, 6, 11, 12]
    blind = {**back(11), 6: frozenset(range(3, 6))}
    assert known_frames(poses, 3, blind)[11], "from 3, though 6 was not drawn from the context"
    assert not known_frames(walk([1, 2, 5, 1, 9, 1]), 3, {3: frozenset(), 4: frozenset(), 5: frozenset([3, 4])})[5]


def test_frames_see_what_the_step_sees_that_draws_them_first() -> None:
    plans = reach.plans("mini")
    seen = {name: sight(plan, CONTEXT, END) for name, plan in plans.items()}
    assert all(list(frames) == list(range(CONTEXT, END)) for frames in seen.values())
    back = {name: {frame - min(one) for frame, one in frames.items()} for name, frames in seen.items()}
    # Frames that are drawn at once share what they see, so that the last of them sees farther back.
    assert {name: (min(one), max(one)) for name, one in back.items()} == {
        "coarse_to_fine": (99, 106),
        "upscale": (60, 119),
        "framepack": (53, 53),
        "framepack_latents": (53, 53),
        "full_resolution": (4, 7),
    }
    for name, plan in plans.items():
        shortest = PlanCost(plan, 1, 1, "isolated", 2).memory[1]
        assert min(back[name]) == shortest, "what the plan's cost tells is what every frame has"
    # Upscale draws 60 frames at once: where in them a frame lies decides what it sees.
    assert min(seen["upscale"][CONTEXT]) == min(seen["upscale"][CONTEXT + 59]) == CONTEXT - 60


def test_rows_have_one_size_of_model() -> None:
    for size in BUDGET:
        experiments = [Experiment.read(row.layers(size)) for row in ROWS]
        assert len({(one.size, one.levels) for one in experiments}) == 1
    trained = [row for row in FROZEN_RESULTS["rows"] if row["attention"]]
    own_input_layer = {row["parameters"] for row in trained if row["plan"] == "framepack_latents"}
    assert {row["parameters"] for row in trained} - own_input_layer == {1_286_432}
    assert own_input_layer == {1_368_608}, "its merging projections"


def test_the_page_says_what_the_results_say() -> None:
    lines = (HERE / "README.md").read_text().splitlines()
    trained = [row for row in FROZEN_RESULTS["rows"] if row["attention"]]
    for who in {(row["plan"], row["attention"]) for row in trained}:
        rows = [row for row in trained if (row["plan"], row["attention"]) == who]
        cells = [f"{rows[0]['token_evaluations_per_frame']:,.0f}"]
        for horizon in HORIZONS:
            values = [row["psnr"] for row in rows if row["horizon"] == horizon]
            low, high = f"{min(values):.1f}", f"{max(values):.1f}"
            cells.append(low if low == high else f"{low} to {high}")
        assert f"| {NAMES[who]} | {' | '.join(cells)} |" in lines
    assert LONGER_RESULTS["protocol"] == {**FROZEN_RESULTS["protocol"], "steps": 4000}
    for plan in ("coarse_to_fine", "framepack", "full_resolution"):
        rows = [row for row in LONGER_RESULTS["rows"] if row["plan"] == plan]
        assert {row["train_steps"] for row in rows} == {4000}
        cells = [f"{row['psnr']:.1f} ({row['interval'][0]:.1f} to {row['interval'][1]:.1f})" for row in rows]
        assert f"| {NAMES[plan, 'isolated'].partition(',')[0]} | {' | '.join(cells)} |" in lines


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini", "mini-look-back"])
def test_test_walks_are_the_frozen_ones(name: str, tmp_path: Path) -> None:
    """Compared with `sets.json`, worlds, actions, poses and decoded frames."""
    frozen = read_sets()[name]
    tests_alone = frozen.model_copy(update={"splits": {"test": frozen.splits["test"]}})
    assert command.make_set(tests_alone, tmp_path) is True
