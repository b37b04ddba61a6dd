"""Revisits of an evaluation: what is scored against what, the table by gap, and what only this instrument can tell."""

from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from torch import Tensor

from mstv.data.results import (
    REVISIT_SCORES,
    RevisitMeans,
    merge_revisit_scores,
    read_revisit_scores,
    revisit_rows,
    write_episode_revisits,
)
from mstv.data.results.revisit_scores import REVISIT, Reference, SeenIn
from mstv.data.results.scores import Series
from mstv.errors import UserError
from mstv.evaluation.episode import Episode
from mstv.evaluation.episode_scoring import score_episode
from mstv.evaluation.revisit_scoring import AWAY, GAPS, recognisable_revisits, revisit_means, score_revisits
from mstv.metrics import (
    FrameColour,
    FramePSNR,
    FrameSSIM,
    HorizonMetric,
    RevisitConsistency,
    find_revisits,
    frame_psnr,
    frame_ssim,
    revisits,
)
from mstv.metrics.revisit_consistency import SEEN_IN, SIDES
from mstv.metrics.revisits import ANGLE_TOLERANCE, POSITION_TOLERANCE
from tests.metrics.scenes import look, swings, walk

CONTEXT = 20
YAW = swings(10, 12, 20)
METRICS = (FramePSNR(), FrameSSIM(), FrameColour())


def episode_of(generated: Tensor, true: Tensor, decoded: Tensor | None = None, key: str = "walk-0") -> Episode:
    """The decoder is not what is looked at: unless given, decoded frames are the recorded ones."""
    decoded = true if decoded is None else decoded
    nothing = torch.zeros(len(true), 1, 1, 1)
    made = torch.cat([decoded[:CONTEXT], generated[CONTEXT:]])
    return Episode(key, CONTEXT, made, decoded, true, nothing, nothing)


def scored(episode: Episode, poses: np.ndarray, metrics: tuple = METRICS) -> pa.Table:
    return score_revisits(episode, poses, metrics, score_episode(episode, metrics, seed=0), seed=0)


def rows_of(
    table: pa.Table, columns: tuple[str, ...] = ("frame", "earlier", "value"), **wanted: str
) -> dict[str, np.ndarray]:
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    return {name: table[name].to_numpy() for name in columns}


def noisy(video: Tensor, seed: int) -> Tensor:
    return (video + 0.1 * torch.randn(video.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


def test_each_reference_is_the_named_pair_of_frames():
    true, poses = walk(YAW)
    episode = episode_of(noisy(true, 0), true, noisy(true, 1))
    table = scored(episode, np.concatenate([poses, poses[:5]]))  # of a recording that goes on
    assert table.schema.equals(REVISIT_SCORES)
    assert pc.unique(table["metric"]).to_pylist() == ["psnr", "ssim"]  # the colours do not tell a place
    found = find_revisits(poses, CONTEXT, away=7)
    found = found.select(found.latest)
    order = np.arange(len(true))
    order[CONTEXT:] = episode.shuffled(0)
    made, decoded = episode.generated, episode.decoded
    sides = {
        ("raw", "generated"): (made[found.frame], true[found.frame]),
        ("raw", "upper_bound"): (decoded[found.frame], true[found.frame]),
        ("raw", "lower_bound"): (decoded[order[found.frame]], true[found.frame]),
        ("decoded", "generated"): (made[found.frame], decoded[found.frame]),
        ("decoded", "lower_bound"): (decoded[order[found.frame]], decoded[found.frame]),
        ("own", "generated"): (made[found.frame], made[found.earlier]),
        ("own", "upper_bound"): (decoded[found.frame], decoded[found.earlier]),
        ("own", "lower_bound"): (decoded[order[found.frame]], decoded[order[found.earlier]]),
        ("elsewhere", "generated"): (made[found.frame], made[found.elsewhere]),
        ("elsewhere", "upper_bound"): (decoded[found.frame], decoded[found.elsewhere]),
    }
    for metric, measure in (("psnr", frame_psnr), ("ssim", frame_ssim)):
        for (reference, series), (ours, other) in sides.items():
            rows = rows_of(table, metric=metric, reference=reference, series=series)
            assert rows["frame"].tolist() == found.frame.tolist()
            assert rows["earlier"].tolist() == found.earlier.tolist()
            np.testing.assert_allclose(rows["value"], measure(ours[None], other[None])[0], rtol=1e-4)
    assert table.num_rows == 2 * len(sides) * len(found.frame) > 0
    assert (found.gap >= GAPS[0]).all()


def test_what_is_a_revisit_is_told_as_it_is():
    assert f"within {POSITION_TOLERANCE:g} blocks and {ANGLE_TOLERANCE:g} degrees" in REVISIT
    assert f"for at least {AWAY} frames" in REVISIT
    assert GAPS == revisits.GAPS and get_args(SeenIn) == SEEN_IN
    assert {*SIDES} <= {*product(get_args(Reference), get_args(Series))}


@pytest.mark.parametrize("metric", [FramePSNR(), FrameSSIM()], ids=lambda metric: metric.name)
def test_the_metric_says_the_same(metric: HorizonMetric):
    consistency, rows, names = RevisitConsistency(metric), [], ["a", "b", "c"]
    for number, name in enumerate(names):
        true, poses = walk(YAW[: len(YAW) - 10 * number], world=number)
        episode = episode_of(noisy(true, number), true, key=name)
        rows.append(scored(episode, poses, (metric,)))
        order = np.arange(len(true))
        order[CONTEXT:] = episode.shuffled(0)
        consistency.update(episode.generated, true, find_revisits(poses, CONTEXT, seed=0), order)
    table, means = consistency.compute(), revisit_means(pa.concat_tables(rows), names, CONTEXT)
    assert table.num_pairs.sum() > 100
    for number, (reference, series) in enumerate(SIDES):
        for place, seen_in in enumerate(SEEN_IN):
            bins = by(means, reference, series, metric=metric.name, seen_in=seen_in).gaps
            assert [part.first_gap for part in bins] == [
                gap for gap, count in zip(GAPS, table.num_pairs[place], strict=True) if count
            ]
            for part in bins:
                gap = GAPS.index(part.first_gap)
                assert part.value == pytest.approx(table.mean[number, place, gap], rel=1e-6)
                assert (part.num_frames, part.num_episodes) == (
                    table.num_pairs[place, gap],
                    table.num_episodes[place, gap],
                )


def test_no_poses_no_rows():
    true, poses = walk(YAW)
    episode = episode_of(true, true)
    assert scored(episode, np.full_like(poses, np.nan)).num_rows == 0
    empty = score_revisits(episode, None, METRICS, score_episode(episode, METRICS, seed=0), seed=0)
    assert empty.num_rows == 0 and empty.schema.equals(REVISIT_SCORES)
    ahead = np.arange(40) * 3  # never back
    true, poses = walk(ahead)
    assert scored(episode_of(true, true), poses).num_rows == 0
    assert revisit_means(empty, ["walk-0"], CONTEXT) == ()


def by(means: tuple[RevisitMeans, ...], reference: str, series: str = "generated", **more: str) -> RevisitMeans:
    wanted = {"metric": "psnr", "seen_in": "anywhere", "reference": reference, "series": series, **more}
    (found,) = [part for part in means if all(getattr(part, name) == value for name, value in wanted.items())]
    return found


def own_rows(episode: str, values: list[float], frame: list[int], earlier: list[int], metric: str = "psnr") -> pa.Table:
    return revisit_rows(episode, np.array(frame), np.array(earlier), metric, "own", "generated", np.array(values))


def test_table_is_of_episode_means_and_identical_frames_do_not_lift_it():
    rows = pa.concat_tables(
        [
            own_rows("a", [100.0, 20.0, 10.0], [30, 31, 90], [20, 19, 5]),
            own_rows("b", [100.0, 100.0], [30, 31], [20, 21]),
            own_rows("a", [1.0, 0.5], [30, 31], [20, 19], metric="ssim"),
        ]
    )
    means = revisit_means(rows, ["a", "b", "c"], context_frames=21)
    anywhere = by(means, "own")
    near, far = anywhere.gaps
    assert [(part.first_gap, part.num_frames, part.num_episodes) for part in anywhere.gaps] == [(8, 4, 2), (64, 1, 1)]
    # Squared errors 0 and .01 in one episode, 0 in the other: their mean is .0025, not the 80 dB of the mean of dB.
    assert near.value == pytest.approx(-10 * np.log10(0.0025), abs=1e-3)
    assert near.interval is not None and near.interval[0] == pytest.approx(-10 * np.log10(0.005), abs=1e-3)
    assert near.interval[1] == 100  # a draw of nothing but identical frames
    assert far.value == pytest.approx(10) and far.interval is None
    assert by(means, "own", metric="ssim").gaps[0].value == pytest.approx(0.75)
    context, generated = by(means, "own", seen_in="context"), by(means, "own", seen_in="generated")
    assert [part.num_frames for part in context.gaps] == [3, 1] and context.overall.num_frames == 4
    assert [part.num_frames for part in generated.gaps] == [1] and generated.overall.value == 100


def test_scores_are_written_episode_by_episode_and_merged_once(tmp_path: Path):
    first, second = own_rows("a", [20.0], [30], [20]), REVISIT_SCORES.empty_table()
    write_episode_revisits(tmp_path, "a", first)
    write_episode_revisits(tmp_path, "b", second)
    assert read_revisit_scores(tmp_path).num_rows == 0
    for _ in range(2):
        assert merge_revisit_scores(tmp_path, ("b", "a"), ["psnr"]).to_pylist() == first.to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == ["revisit_scores.parquet"]
    assert read_revisit_scores(tmp_path).to_pylist() == first.to_pylist()
    # Another metric is added later; one that is there already, or no longer wanted, is not.
    ssim = own_rows("a", [0.5], [30], [20], metric="ssim")
    more = [ssim, own_rows("a", [1.0], [30], [20]), own_rows("a", [1.0], [30], [20], metric="dino_vits14")]
    write_episode_revisits(tmp_path, "a", pa.concat_tables(more))
    merged = merge_revisit_scores(tmp_path, ("b", "a"), ["psnr", "ssim"])
    assert merged.to_pylist() == [*first.to_pylist(), *ssim.to_pylist()]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (own_rows("b", [1.0], [9], [1]), "must hold a alone"),
        (own_rows("a", [1.0], [9], [9]), "not between 0 and column frame"),
        (own_rows("a", [1.0], [9], [-1]), "not between 0 and column frame"),
        (own_rows("a", [np.inf], [9], [1]), "cap identical frames"),
        (
            own_rows("a", [1.0], [9], [1]).set_column(4, "reference", pa.array(["mine"])),
            "column reference holds {'mine'}",
        ),
        (pa.table({"frame": [1]}), "columns are"),
    ],
)
def test_impossible_scores_are_refused(tmp_path: Path, rows: pa.Table, message: str):
    with pytest.raises(UserError, match=message):
        write_episode_revisits(tmp_path, "a", rows)
    assert not list(tmp_path.rglob("*.parquet"))


# The instrument can tell: a model that forgets against one that drifts.

MEMORY = 32
WALK = swings(*[10, 10, 45] * 2)
"""Looks away for a short and for a long while, again and again."""


def forgets(world: int) -> Tensor:
    """Sharp; but a place that was not seen for `MEMORY` frames is another one from then on."""
    seen: dict[int, tuple[int, int]] = {}
    frames = []
    for frame, yaw in enumerate(WALK):
        before, shown = seen.get(yaw, (frame, world))
        if frame >= CONTEXT and frame - before > MEMORY:
            shown = 1000 * (world + 1) + frame
        seen[yaw] = (frame, shown)
        frames.append(look(shown, yaw))
    return torch.stack(frames)


def drifts(world: int) -> Tensor:
    """Knows every place; but colours fade slowly to orange, and pictures blur."""
    true, _ = walk(WALK, world)
    share = 0.75 * torch.linspace(0, 1, len(true) - CONTEXT)[:, None, None, None]
    blurred = torch.nn.functional.avg_pool2d(true, 5, 1, 2, count_include_pad=False)[CONTEXT:]
    orange = torch.tensor([1.0, 0.5, 0.0])[:, None, None]
    return torch.cat([true[:CONTEXT], (1 - share) * (0.5 * true[CONTEXT:] + 0.5 * blurred) + share * orange])


def small(video: Tensor) -> Tensor:
    """At half its size, which saves time."""
    return torch.nn.functional.avg_pool2d(video, 2)


def test_revisits_separate_a_model_that_forgets_from_one_that_drifts():
    metrics, worlds = (FramePSNR(), FrameSSIM()), (0, 1)
    names = [f"walk-{world}" for world in worlds]
    late, table = {}, {}
    for model, video in (("forgets", forgets), ("drifts", drifts)):
        rows, frames = [], []
        for world, name in zip(worlds, names, strict=True):
            true, poses = walk(WALK, world)
            episode = episode_of(small(video(world)), small(true), key=name)
            per_frame = score_episode(episode, metrics, seed=0)
            rows.append(score_revisits(episode, poses, metrics, per_frame, seed=0))
            psnr = rows_of(per_frame, ("value",), metric="psnr", series="generated", ground_truth="raw")["value"]
            frames.append(psnr[-80:])
        late[model] = float(np.mean(frames))
        table[model] = revisit_means(pa.concat_tables(rows), names, CONTEXT)

    # Frame by frame against the truth both are bad late in the video, and the one that drifts is no better.
    assert max(late.values()) < 15 and late["drifts"] < late["forgets"] + 1

    def values(model: str, reference: str, series: str = "generated") -> dict[int, float]:
        means = by(table[model], reference, series, metric="ssim", seen_in="generated")
        return {part.first_gap: part.value for part in means.gaps}

    own, other = {m: values(m, "own") for m in table}, {m: values(m, "elsewhere") for m in table}
    long, short = ([gap for gap in own["forgets"] if (gap < MEMORY) == remembered] for remembered in (False, True))
    assert len(long) >= 2 and len(short) >= 2
    for gap in long:
        # Forgotten: a place looks like any other place. Not so where pictures drift.
        assert abs(own["forgets"][gap] - other["forgets"][gap]) < 0.1
        assert own["drifts"][gap] > other["drifts"][gap] + 0.2
        assert own["drifts"][gap] > own["forgets"][gap] + 0.2
    for gap in short:
        assert own["forgets"][gap] == pytest.approx(1)
    for gap, value in values("forgets", "own", "upper_bound").items():
        assert value == pytest.approx(1) and values("forgets", "own", "lower_bound")[gap] < 0.6
    # And the intervals leave no doubt.
    last = {m: by(table[m], "own", metric="ssim", seen_in="generated").gaps[-1].interval for m in table}
    assert last["forgets"] is not None and last["drifts"] is not None
    assert last["forgets"][1] < last["drifts"][0]


def test_revisits_that_one_recognises_come_back_after_a_while():
    random = np.random.default_rng(0)
    poses = np.zeros((300, 5), np.float32)
    poses[:, 0] = np.cumsum(random.choice([-0.3, 0, 0.3], 300))
    poses[:, 3] = np.cumsum(random.choice([-10, 0, 10], 300)) % 360
    poses[150:200] = poses[150]  # stands still
    expected: list[tuple[int, int]] = []
    for frame in range(40, 300):
        apart = np.abs(poses[:frame].astype(np.float64) - poses[frame])
        near = (apart[:, 0] <= 0.5) & (np.minimum(apart[:, 3], 360 - apart[:, 3]) <= 15)
        begin, elsewhere = frame, 0
        while elsewhere < AWAY and begin - elsewhere > 0:  # the present visit, with fewer frames elsewhere
            if near[begin - elsewhere - 1]:
                begin, elsewhere = begin - elsewhere - 1, 0
            else:
                elsewhere += 1
        earlier = np.flatnonzero(near[:begin])
        if len(earlier) and begin - earlier[-1] >= 32:
            expected.append((frame, int(earlier[-1])))
    frames, last_seen = recognisable_revisits(poses, 40)
    assert frames.tolist() == [frame for frame, _ in expected] and len(frames) > 10
    ends = np.array([end for _, end in expected])
    assert (last_seen <= ends).all() and (last_seen == ends).any()  # of that visit, the nearest pose
    assert len(recognisable_revisits(None, 40)[0]) == 0
    poses[7, 1] = np.nan
    assert len(recognisable_revisits(poses, 40)[0]) == 0
