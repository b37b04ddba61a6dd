"""The run directory: what is written is read back, resumes, and refuses what does not fit."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mstv.data import results
from mstv.data.results import (
    Card,
    MetricNote,
    begin_evaluation,
    episode_scores,
    merge_scores,
    read_run,
    read_scores,
    summarise,
)
from mstv.data.results import run as run_module
from mstv.errors import UserError

CONTEXT, END = 8, 48


def card(**changes: object) -> Card:
    fields: dict[str, object] = {
        "protocol": "long",
        "protocol_version": 1,
        "split": "test",
        "context_frames": CONTEXT,
        "end_frame": END,
        "num_episodes": 3,
        "episodes": ("walk-2", "walk-0", "walk-1"),
        "seed": 0,
        "sampler": "ddim",
        "nfe": 10,
        "attention": "isolated",
        "guidance": 1.0,
        "plan": {"family": "coarse-to-fine", "parameters": {"windows": [1, 4, 16]}},
        "max_tokens_per_step": 3840,
        "token_evaluations_per_frame": 17000.0,
        "metrics": [{"name": "psnr", "aggregation": "mean of per-frame PSNR; pooled beside it"}],
        "ground_truth": ("raw",),
        "image_size": (64, 64),
        "fps": 20.0,
        "checkpoint": "last.ckpt",
        "checkpoint_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "data_sha256": "c" * 64,
        "machine": "some CPU",
        "torch_version": "2.13.0",
    }
    return Card.model_validate(fields | changes)


def values(episode: str) -> np.ndarray:
    return 30 - 0.1 * np.arange(END - CONTEXT) + int(episode[-1])


def scores(episode: str, offset: float = 0.0) -> pa.Table:
    frame = np.arange(CONTEXT, END)
    return pa.concat_tables(
        [
            episode_scores(episode, frame, frame - CONTEXT + 1, "psnr", "raw", "generated", values(episode) + offset),
            episode_scores(episode, frame, frame - CONTEXT + 1, "psnr", "raw", "upper_bound", values(episode) + 9),
        ]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return results.evaluation_folder(tmp_path / "run", "long")


def evaluate(folder: Path) -> None:
    for episode in ("walk-0", "walk-1", "walk-2"):
        begin_evaluation(folder, card())
        if "psnr" not in results.merged_metrics(folder) | results.episode_metrics(folder, episode):
            results.write_episode_scores(folder, episode, scores(episode))
    merge_scores(folder)
    summarise(folder, rollout_seconds=6.0)


def test_a_run_reads_back_what_was_written(folder):
    evaluate(folder)
    run = read_run(folder.parents[1])
    assert (run.name, run.protocols) == ("run", ("long",))
    evaluation = run.evaluation("long")
    assert evaluation.card == card()
    table = evaluation.scores()
    assert table.schema.equals(results.SCORES)
    assert table["episode"].unique().to_pylist() == ["walk-2", "walk-0", "walk-1"]  # the card's order
    curves = results.episode_curves(table, "psnr", "raw", "generated")
    assert curves is not None and curves.horizon.tolist() == list(range(1, 41))
    np.testing.assert_array_equal(curves.values[2], values("walk-1"))
    assert results.episode_curves(table, "ssim", "raw", "generated") is None
    assert not (folder / results.SCORE_PARTS).exists()


def test_summary_holds_window_means_and_intervals(folder):
    evaluate(folder)
    summary = read_run(folder.parents[1]).evaluation("long").summary
    generated = next(part for part in summary.values if part.series == "generated")
    assert (generated.num_episodes, generated.num_frames) == (3, 120)
    assert [(w.first, w.horizon) for w in generated.horizons] == [(1, 1), (9, 16), (21, 40)]
    mean = np.mean([values(f"walk-{i}") for i in range(3)], axis=0)
    for window in generated.horizons:
        assert window.value == pytest.approx(mean[window.first - 1 : window.horizon].mean())
        assert window.interval is not None
        low, high = window.interval
        assert low < window.value < high and 1.2 < high - low < 2.01  # episode offsets are 0, 1, 2
    assert generated.overall.value == pytest.approx(mean.mean())
    errors = 10 ** (-np.stack([values(f"walk-{i}") for i in range(3)]) / 10)
    assert generated.pooled == pytest.approx(-10 * np.log10(errors.mean()))
    assert summary.frames_per_second == pytest.approx(20.0)
    assert "(h/2, h]" in summary.window
    again = summarise(folder, rollout_seconds=6.0)
    assert again == summary


def test_interval_is_seeded_and_absent_for_one_episode():
    sample = np.random.default_rng(1).normal(size=(40, 3))
    first, other = results.bootstrap_interval(sample, seed=0), results.bootstrap_interval(sample, seed=1)
    assert first is not None and other is not None
    np.testing.assert_array_equal(first, results.bootstrap_interval(sample, seed=0))
    assert not np.array_equal(first, other)
    width = 2 * 1.96 * sample.std(0) / np.sqrt(40)
    np.testing.assert_allclose(first[1] - first[0], width, rtol=0.15)
    assert results.bootstrap_interval(sample[:1]) is None


def test_evaluation_resumes_by_episode(folder):
    begin_evaluation(folder, card())
    results.write_episode_scores(folder, "walk-0", scores("walk-0"))
    begin_evaluation(folder, card(machine="another", torch_version="2.14"))
    assert [results.episode_metrics(folder, episode) for episode in card().episodes] == [set(), {"psnr"}, set()]
    with pytest.raises(UserError, match=r"half-written \(1 scored episode, to be merged.* it resumes"):
        merge_scores(folder)
    with pytest.raises(UserError, match="half-written"):
        read_scores(folder)
    with pytest.raises(UserError, match="half-written"):
        read_run(folder.parents[1]).evaluation("long")
    evaluate(folder)
    assert results.merged_metrics(folder) == results.summarised_metrics(folder) == {"psnr"}
    before = (folder / results.SCORE_FILE).read_bytes()
    assert merge_scores(folder).num_rows == 240
    assert (folder / results.SCORE_FILE).read_bytes() == before
    (folder / results.SUMMARY).unlink()
    with pytest.raises(UserError, match=r"summary\.json is missing"):
        read_run(folder.parents[1]).evaluation("long")


def test_resuming_with_another_card_is_refused(folder):
    begin_evaluation(folder, card())
    with pytest.raises(UserError) as refusal:
        begin_evaluation(folder, card(nfe=(4, 20), seed=1, token_evaluations_per_frame=3.0))
    text = str(refusal.value)
    assert "--nfe 10 (now 4 20), --seed 0 (now 1)" in text and "give --nfe 10 --seed 0 to go on with it" in text
    assert "--protocol NAME" in text and "token_evaluations" not in text
    with pytest.raises(UserError, match=r"--episodes 3 \(now 2\).* give --episodes 3 to go on"):
        begin_evaluation(folder, card(num_episodes=2, episodes=("walk-2", "walk-0")))
    with pytest.raises(UserError, match=r"settings: other weights \(--checkpoint, .*\): name another"):
        begin_evaluation(folder, card(checkpoint_sha256="d" * 64))
    with pytest.raises(UserError, match=r"attention isolated \(now joint\)"):
        begin_evaluation(folder, card(attention="joint"))


def test_arithmetic_must_be_the_same_and_rounding_may_differ(folder):
    begin_evaluation(folder, card())
    begin_evaluation(folder, card(compiled=True, machine="some GPU"))
    with pytest.raises(UserError, match=r"--precision 32 \(now bf16\)"):
        begin_evaluation(folder, card(precision="bf16"))


def test_latents_encoded_anew_are_told_where_the_card_knows_them(folder):
    begin_evaluation(folder, card())
    begin_evaluation(folder, card(latents_sha256="e" * 64))  # an earlier version did not write it
    (folder / results.CARD).unlink()
    begin_evaluation(folder, card(latents_sha256="d" * 64))
    with pytest.raises(UserError, match=r"settings: other latents \(--latents, or encoded anew\): name"):
        begin_evaluation(folder, card(latents_sha256="e" * 64))


def test_an_evaluation_of_an_earlier_version_goes_on_without_coarse_levels(folder):
    begin_evaluation(folder, card())
    assert begin_evaluation(folder, card(coarse_levels=(1, 2))) == card()
    evaluate(folder)
    assert read_run(folder.parents[1]).evaluation("long").level_videos("walk-0") == {}
    (folder / results.CARD).unlink()
    assert begin_evaluation(folder, card(coarse_levels=(1, 2), machine="other")).coarse_levels == (1, 2)
    videos = read_run(folder.parents[1]).evaluation("long").level_videos("walk-0")
    assert videos == {level: folder / "levels" / str(level) / "walk-0.mp4" for level in (1, 2)}
    with pytest.raises(UserError, match=r"coarse_levels \(1, 2\) \(now \(1,\)\)"):
        begin_evaluation(folder, card(coarse_levels=(1,)))


def test_of_two_cards_at_once_one_stands(folder, monkeypatch):
    # Both have seen no card; the other was quicker.
    write, others = run_module._write_first, card(seed=5)
    monkeypatch.setattr(run_module, "_write_first", lambda path, mine: (write(path, others), write(path, mine)))
    with pytest.raises(UserError, match=r"--seed 5 \(now 0\)"):
        begin_evaluation(folder, card())
    assert Card.read(folder / results.CARD) == others and len(list(folder.iterdir())) == 1


def rescored(episode: str, metric: str) -> pa.Table:
    table = scores(episode)
    return table.set_column(3, results.SCORES.field("metric"), pa.array([metric] * table.num_rows))


def note(metric: str, **definition: object) -> MetricNote:
    return MetricNote(name=metric, aggregation="mean", definition=definition or None)


def test_metrics_are_added_to_a_finished_evaluation(folder):
    evaluate(folder)
    before = results.read_scores(folder)
    assert [note.name for note in results.declare_metrics(folder, [note("ssim", version=2)]).metrics] == [
        "psnr",
        "ssim",
    ]
    # An interrupted try: it was to add another metric, which is no longer wanted.
    for episode in ("walk-0", "walk-1"):
        tables = [rescored(episode, "ssim"), rescored(episode, "frozen")]
        results.write_episode_scores(folder, episode, pa.concat_tables(tables))
    with pytest.raises(UserError, match=r"half-written \(2 scored episodes"):
        merge_scores(folder)
    assert read_run(folder.parents[1]).evaluation("long").scores() == before, "what was finished stays readable"
    results.write_episode_scores(folder, "walk-2", rescored("walk-2", "ssim"))
    merge_scores(folder)
    assert results.merged_metrics(folder) == {"psnr", "ssim"} and results.summarised_metrics(folder) == {"psnr"}
    assert merge_scores(folder).slice(0, before.num_rows) == before
    assert {value.metric for value in summarise(folder).values} == {"psnr", "ssim"}


def test_scores_that_were_merged_are_not_merged_again(folder):
    evaluate(folder)
    # Killed between the merging and the removing of the parts, of which one is gone already.
    for episode in ("walk-0", "walk-1"):
        results.write_episode_scores(folder, episode, scores(episode, offset=1.0))
    before = results.read_scores(folder)
    assert merge_scores(folder) == before and not (folder / results.SCORE_PARTS).exists()


def test_a_metric_by_another_definition_is_refused(folder):
    begin_evaluation(folder, card(metrics=()))
    results.declare_metrics(folder, [note("psnr", version=1, weights={"sha256": "a"})])
    other = note("psnr", version=1, weights={"sha256": "b"})
    assert results.declare_metrics(folder, [other]).metrics == (other,), "nothing was measured yet"
    results.write_episode_scores(folder, "walk-0", scores("walk-0"))
    assert results.declare_metrics(folder, [note("psnr")]).metrics[0].name == "psnr", "a card of an earlier version"
    results.declare_metrics(folder, [other])
    with pytest.raises(UserError, match=r"psnr was measured by another definition \(version, weights\): name another"):
        results.declare_metrics(folder, [note("psnr", version=2, weights={"sha256": "a"})])


def test_what_stands_beside_a_number_may_be_told_otherwise(folder):
    earlier, now = note("fid", version=1), note("fid", version=1, interval="none", lower_bound="held")
    assert not earlier.differences(now) and earlier.differences(note("fid", version=2)) == ["version"]


def card_of(*names: str) -> Card:
    return card(metrics=tuple(map(note, names)))


def test_notes_of_revisits_and_actions_are_no_metrics_to_ask_for(folder):
    begun = begin_evaluation(folder, card_of("psnr", "revisits", "action_following"))
    assert results.scored_metrics(begun) == ["psnr"]
    # Once there are such files, the notes stay when metrics are added.
    assert [note.name for note in results.declare_metrics(folder, [note("ssim")]).metrics] == ["ssim"]
    results.note_action_following(folder, note("action_following", version=1), "0" * 64)
    (folder / "actions.parquet").touch()
    assert [note.name for note in results.declare_metrics(folder, [note("psnr")]).metrics] == [
        "action_following",
        "psnr",
    ]
    results.note_action_following(folder, note("action_following", version=1), "1" * 64)
    last = Card.read(folder / results.CARD)
    assert [note.name for note in last.metrics] == ["psnr", "action_following"]
    assert last.inverse_dynamics_sha256 == "1" * 64


def test_distances_are_added_to_the_summary(folder):
    begin_evaluation(folder, card())
    for episode in card().episodes:
        results.write_features(folder, episode, {"fid.generated": np.full((2, 3, 4), float(episode[-1]))})
        assert results.episode_metrics(folder, episode) == {"fid"}
    assert results.read_features(folder, "walk-2")["fid.generated"][0, 0, 0] == 2
    (folder / results.FEATURE_PARTS / "walk-0.npz").write_bytes(b"PK cut short")
    with pytest.raises(UserError, match=r"walk-0.npz: cannot be read"):
        results.read_features(folder, "walk-0")
    window = results.WindowMean(horizon=16, first=1, value=3.5, interval=None)
    fields = {"ground_truth": "raw", "series": "generated", "num_episodes": 3, "num_frames": 48, "overall": None}
    fid = results.SeriesSummary(metric="fid", horizons=(window,), **fields)
    results.write_distances(folder, [fid])
    results.write_distances(folder, [fid.model_copy(update={"metric": "fvd"})])
    assert not (folder / results.FEATURE_PARTS).exists() and results.merged_metrics(folder) == {"fid", "fvd"}
    evaluate(folder)
    assert [value.metric for value in read_run(folder.parents[1]).evaluation("long").summary.values] == [
        *("psnr", "psnr", "fid", "fvd")
    ]


def renamed(table: pa.Table) -> pa.Table:
    return table.rename_columns([*table.column_names[:-1], "score"])


def with_column(name: str, values: list[object]) -> pa.Table:
    table = scores("walk-0")
    position = table.column_names.index(name)
    column = pa.array(values * table.num_rows, results.SCORES.field(name).type)
    return table.set_column(position, results.SCORES.field(name), column)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (renamed(scores("walk-0")), r"columns are .*score \(double\), expected .*value \(double\)"),
        (scores("walk-0").append_column("extra", pa.array([0] * 80)), "columns are .*extra"),
        (with_column("value", [float("inf")]), "not finite"),
        (with_column("value", [None]), "empty"),
        (with_column("series", ["middle_bound"]), "column series holds {'middle_bound'}"),
        (with_column("ground_truth", ["true"]), "column ground_truth"),
        (with_column("horizon", [0]), "horizon is below 1"),
        (scores("walk-1"), "must hold walk-0 alone"),
    ],
)
def test_scores_that_do_not_fit_are_refused(folder, table, message):
    with pytest.raises(UserError, match=message):
        results.write_episode_scores(folder, "walk-0", table)
    assert not list(folder.glob("**/*.parquet"))


def test_uneven_horizons_are_named():
    whole = pa.concat_tables([scores("walk-0"), scores("walk-1").slice(1)])
    with pytest.raises(UserError, match="psnr raw generated does not have every horizon"):
        results.episode_curves(whole, "psnr", "raw", "generated")
    twice = pa.concat_tables([scores("walk-0"), scores("walk-0")])
    with pytest.raises(UserError, match="every horizon once"):
        results.episode_curves(twice, "psnr", "raw", "generated")


def test_foreign_and_damaged_score_files_are_named(folder):
    evaluate(folder)
    path = folder / results.SCORE_FILE
    pq.write_table(scores("walk-0").replace_schema_metadata({"schema_version": "7"}), path)
    with pytest.raises(UserError, match=r"per_frame.parquet: field schema_version is 7, this mstv reads 1"):
        read_scores(folder)
    pq.write_table(scores("walk-0").replace_schema_metadata(None), path)
    with pytest.raises(UserError, match="schema_version is missing"):
        read_scores(folder)
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(UserError, match="not a readable parquet file"):
        read_scores(folder)


def test_folders_that_are_no_run_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no config.yaml, checkpoints or evaluation"):
        read_run(tmp_path)
    evaluate(folder)
    with pytest.raises(UserError, match=rf"give the run's folder, {folder.parents[1]}"):
        read_run(folder)
    with pytest.raises(UserError, match=r"no such evaluation: .*\(long\)"):
        read_run(folder.parents[1]).evaluation("short")
    folder.rename(folder.with_name("short"))
    with pytest.raises(UserError, match="field protocol is long"):
        read_run(folder.parents[1]).evaluation("short")
    (folder.with_name("short") / results.CARD).unlink()
    with pytest.raises(UserError, match="old or foreign"):
        read_run(folder.parents[1])


def test_a_run_in_training_has_no_protocols(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    run = read_run(tmp_path)
    assert run.protocols == ()
    with pytest.raises(UserError, match="none; run mstv evaluate"):
        run.evaluation("long")


def test_card_counts_and_differences():
    with pytest.raises(ValueError, match="num_episodes is 4"):
        card(num_episodes=4)
    with pytest.raises(ValueError, match="leaves nothing"):
        card(end_frame=CONTEXT)
    for levels in ((0, 1), (2, 1), (1, 1)):
        with pytest.raises(ValueError, match="coarse_levels"):
            card(coarse_levels=levels)
    assert card().differences(card(coarse_levels=(1,))) == []
    assert card().differences(card(nfe=50, seed=3, tokenizer_sha256="d" * 64)) == []
    assert card().differences(card(end_frame=64, fps=10.0)) == ["end_frame", "fps"]
    ours, other, newer = (note("lpips_vgg16", weights=w, opencv=v) for w, v in (("a", "4"), ("b", "4"), ("a", "5")))
    assert card(metrics=(ours,)).differences(card(metrics=(other,))) == ["metrics (lpips_vgg16)"]
    for same in (newer, note("lpips_vgg16"), note("dino_vits14", weights="b")):
        assert card(metrics=(ours,)).differences(card(metrics=(same,))) == []


def test_revisits_read_back_and_foreign_ones_are_named(folder):
    evaluate(folder)
    evaluation = read_run(folder.parents[1]).evaluation("long")
    assert evaluation.revisits() == {}  # an evaluation of episodes without poses, or of an earlier version
    found, seen = np.arange(40, 50), np.arange(2, 12)
    results.write_revisits(folder, {"walk-2": (found, seen), "walk-3": (found[:0], seen[:0])})
    ((episode, (frame, last_seen)),) = evaluation.revisits().items()
    assert episode == "walk-2" and frame.tolist() == found.tolist() and last_seen.tolist() == seen.tolist()
    results.write_revisits(folder, {})
    assert evaluation.revisits() == {}
    for impossible in (seen - 3, found - results.MIN_GAP + 1):
        results.write_revisits(folder, {"walk-2": (found, impossible)})
        with pytest.raises(UserError, match=r"revisits.parquet: column last_seen is not between"):
            evaluation.revisits()
    pq.write_table(pa.table({"frame": [1]}), folder / results.REVISIT_FILE)
    with pytest.raises(UserError, match="schema_version is missing"):
        evaluation.revisits()
