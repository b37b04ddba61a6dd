"""What the finished rows of LoopWalk show: the content of results.json."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.loopwalk.frozen_set import claimed
from experiments.loopwalk.rows import LATENTS, LOOK_BACK, PROTOCOL, Row, rows_of
from experiments.loopwalk.scored import Scored, difference, revisits_of, rounded
from experiments.loopwalk.sight import sight
from mstv.checkpoint import load_file
from mstv.cli.experiment import Experiment
from mstv.compare.training_log import read_training_log
from mstv.data.latent_shards import LatentStore
from mstv.data.results import (
    CONFIG,
    INTERVAL,
    REVISIT_STATISTIC,
    Card,
    Evaluation,
    Reference,
    RevisitMeans,
    Run,
    Series,
    episode_curves,
    read_run,
)
from mstv.data.results.revisit_scores import REVISIT, read_revisit_scores
from mstv.errors import UserError
from mstv.rollout.cost import PlanCost

HORIZONS = (1, 16, 64, 256, 768)
NOTES = {
    "psnr": "dB against the recorded frame, mean of the frames at horizons (h/2, h], then of episodes",
    "psnr_pooled": "dB of the squared error averaged over all of these frames",
    "interval": INTERVAL,
    "revisit_psnr": f"psnr of the revisits alone: {REVISIT}",
    "revisit_context_psnr": "psnr of the revisits whose pose the context showed, so that one can know the place",
    "revisits": "all revisits by frames since the place was last seen, from first_gap to the next one: "
    + REVISIT_STATISTIC,
    "seen_in": "where it was last seen: in the recorded context, in a frame that was generated, or either",
    "own_psnr, own_ssim": "the same against the series' own earlier frame of the place: does it agree with itself?",
    "elsewhere_psnr, elsewhere_ssim": "the same against an earlier frame of its own of another place, for comparison",
    "look_back": "the same of walks that look away and back from one spot, with gaps of 8 to 512 frames",
    "returns": "of look_back, each place that was last seen in the context: frames since then (gaps), the first frame "
    "that shows it, mean psnr of all that do, and whether the step that first draws it sees the earlier one (seen)",
    "differences": "psnr of `plan` less that of `minus`, paired by episode, mean over the seeds that both have",
    "losses": "of training and validation, each the mean of what was logged since the step before",
}
LOSS_POINTS = 20
"""Of a training curve, at most."""
BOUNDS: tuple[Series, ...] = ("upper_bound", "lower_bound")
_SAME_IN_ALL = (
    *("protocol_version", "split", "selection", "context_frames", "end_frame", "episodes", "seed", "guidance"),
    *("context_refresh", "image_size", "fps", "precision", "tokenizer_sha256", "data_sha256"),
)
"""Fields of the card of every row."""
_REFERENCES: dict[Reference, str] = {"raw": "", "own": "own_", "elsewhere": "elsewhere_"}
"""By what frames are compared with, the beginning of the names."""


def results(size: str, folder: Path, steps: int | None = None) -> dict[str, Any]:
    """The content of results.json: the finished rows, trained for so many steps, and both bounds.

    Raises:
        UserError: no row is finished, or rows were evaluated on different frames.
    """
    finished = _finished(folder, PROTOCOL, steps)
    if not finished:
        more = f" --steps {steps}" if steps else ""
        raise UserError(f"{folder}: no row is finished: run python -m experiments.loopwalk.run {size} {folder}{more}")
    looked_back = _finished(folder, LOOK_BACK, steps)
    card = next(iter(finished.values())).card
    store = LatentStore(folder / LATENTS)
    seen = [revisits_of(_poses(store, key)[: card.end_frame], card.context_frames) for key in card.episodes]
    revisits, in_context = (np.stack(part) for part in zip(*seen, strict=True))
    rows: list[dict[str, Any]] = []
    values: dict[tuple[str, str], dict[int, np.ndarray]] = defaultdict(dict)
    horizons: list[int] = []
    for row, series, evaluation in _series(finished):
        curves = episode_curves(evaluation.scores(), "psnr", "raw", series)
        assert curves is not None and curves.episodes == card.episodes
        last = int(curves.horizon[-1])
        horizons = [h for h in sorted({*HORIZONS, last}) if h <= last]
        more = {"train_steps": 0, "tokens_per_step": 0} if row is None else _cost(read_run(row.run(folder)), evaluation)
        scored = Scored(curves.values, revisits, in_context)
        rows += [{"set": size, **_who(row, series), **scored.at(h), **more} for h in horizons]
        if row is not None:
            values[row.plan, row.attention][row.seed] = curves.values
    protocol = {
        "name": PROTOCOL,
        "set": size,
        "steps": steps,
        "test_walks": claimed(folder).splits["test"].walks,
        **{field: value for field, value in card.model_dump(mode="json").items() if field in _SAME_IN_ALL},
        "ground_truth": "raw",
        "metrics": [note.model_dump(mode="json") for note in card.metrics if note.name in ("psnr", "ssim")],
        **NOTES,
    }
    return {
        "protocol": protocol,
        "rows": rows,
        "differences": list(_differences(values, horizons)),
        "revisits": _by_gap(finished),
        "look_back": _by_gap(looked_back),
        "returns": _returns(folder, looked_back),
        "losses": [{**_who(row, "generated"), **_losses(read_run(row.run(folder)))} for row in finished],
    }


def _finished(folder: Path, protocol: str, steps: int | None) -> dict[Row, Evaluation]:
    """Evaluations that are done, in the rows' order; raises UserError where they are not of the same frames."""
    done = [row for row in rows_of(steps) if row.is_finished(folder, protocol)]
    found = {row: read_run(row.run(folder)).evaluation(protocol) for row in done}
    card: Card | None = None
    for row, evaluation in found.items():
        card = card or evaluation.card
        if changed := card.differences(evaluation.card):
            raise UserError(f"{evaluation.folder}: {row.name} has another {changed[0]} than the rows before: remove it")
    return found


def _series(finished: dict[Row, Evaluation]) -> Iterator[tuple[Row | None, Series, Evaluation]]:
    """Both bounds, which all rows share, then the rows."""
    for bound in BOUNDS:
        yield None, bound, next(iter(finished.values()))
    for row, evaluation in finished.items():
        yield row, "generated", evaluation


def _who(row: Row | None, series: Series) -> dict[str, Any]:
    if row is None:
        return {"plan": series, "attention": None, "seed": None}
    return {"plan": row.plan, "attention": row.attention, "seed": row.seed}


def _differences(values: dict[tuple[str, str], dict[int, np.ndarray]], horizons: list[int]) -> Iterator[dict[str, Any]]:
    """Of every two plans with isolated attention, the one that stands first in the table less the other."""
    plans = {plan: seeds for (plan, attention), seeds in values.items() if attention == "isolated"}
    for (plan, a), (minus, b) in itertools.combinations(plans.items(), 2):
        seeds = sorted(a.keys() & b.keys())
        for horizon in horizons:
            psnr, interval = difference([a[seed] for seed in seeds], [b[seed] for seed in seeds], horizon)
            pair = {"plan": plan, "minus": minus, "seeds": seeds}
            yield {**pair, "horizon": horizon, "psnr": psnr, "interval": interval}


def _by_gap(finished: dict[Row, Evaluation]) -> list[dict[str, Any]]:
    if not finished:
        return []
    return [
        {**_who(row, series), **gap}
        for row, series, evaluation in _series(finished)
        for gap in _gaps([means for means in evaluation.summary.revisits if means.series == series])
    ]


def _gaps(tables: list[RevisitMeans]) -> list[dict[str, Any]]:
    """A series' revisits, a line for each bin of gaps, and each kind of frame in which the place was last seen."""
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for means in tables:
        if means.metric not in ("psnr", "ssim") or means.reference not in _REFERENCES:
            continue
        name = _REFERENCES[means.reference] + means.metric
        for gap in means.gaps:
            where = {"seen_in": means.seen_in, "first_gap": gap.first_gap}
            line = lines.setdefault(
                (means.seen_in, gap.first_gap), {**where, "frames": gap.num_frames, "episodes": gap.num_episodes}
            )
            interval = None if gap.interval is None else [rounded(end) for end in gap.interval]
            line[name] = rounded(gap.value)
            line["interval" if name == "psnr" else f"{name}_interval"] = interval
    return [lines[where] for where in sorted(lines)]


def _returns(folder: Path, finished: dict[Row, Evaluation]) -> list[dict[str, Any]]:
    if not finished:
        return []
    found = []
    for row, series, one in _series(finished):
        each = returns(read_revisit_scores(one.folder), series, one.card.context_frames)
        seen = None
        if row is not None:
            experiment = Experiment.read([row.run(folder) / CONFIG])
            plan = experiment.family.plan(experiment.levels.num_tokens(0))
            frames = sight(plan, one.card.context_frames, one.card.end_frame)
            seen = [frame - gap in frames[frame] for frame, gap in zip(each["frame"], each["gaps"], strict=True)]
        found.append({**_who(row, series), **each, "seen": seen})
    return found


def returns(scores: pa.Table, series: Series, context_frames: int) -> dict[str, list[Any]]:
    """The first return to each place that was last seen in the context: when, after how many frames, and its mean PSNR.

    Args:
        scores: rows of `REVISIT_SCORES` of an evaluation.
        series: the rollout or a bound.
        context_frames: of its card.
    """
    kind = pc.and_(pc.equal(scores["metric"], "psnr"), pc.equal(scores["series"], series))
    rows = scores.filter(pc.and_(kind, pc.equal(scores["reference"], "raw")))
    rows = rows.filter(pc.less(rows["earlier"], context_frames))
    places = rows.group_by(["episode", "earlier"], use_threads=False).aggregate([("frame", "min"), ("value", "mean")])
    gap = places["frame_min"].to_numpy() - places["earlier"].to_numpy()
    order = np.argsort(gap, kind="stable")
    return {
        "gaps": gap[order].tolist(),
        "frame": places["frame_min"].to_numpy()[order].tolist(),
        "psnr": np.round(places["value_mean"].to_numpy()[order], 2).tolist(),
        "episode": places["episode"].take(pa.array(order)).to_pylist(),
    }


def _cost(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """What a row took to train, and takes to sample."""
    card = evaluation.card
    experiment = Experiment.read([run.folder / CONFIG])
    cost = PlanCost(experiment.family.merged_plan(experiment.levels.num_tokens(0)), 1, 1, card.attention, 2)
    record = run.training_record()
    return {
        "train_steps": load_file(run.folder / "checkpoints" / card.checkpoint)["global_step"],
        "parameters": record.parameters["total"] if record else None,
        "tokens_per_step": card.max_tokens_per_step,
        "memory_frames": cost.memory[1],
        "token_evaluations_per_frame": round(card.token_evaluations_per_frame, 1),
        "sampler": card.sampler,
        "nfe": card.nfe,
        "context_noise": card.context_noise,
        "checkpoint_sha256": card.checkpoint_sha256,
        "machine": card.machine,
    }


def _losses(run: Run) -> dict[str, Any]:
    curves = {curve.name: curve for curve in read_training_log(run.training_log).curves}
    found: dict[str, Any] = {}
    for kind in ("train", "validation"):
        curve = curves.get(f"{kind}/loss")
        points = [] if curve is None else list(zip(curve.step, curve.value, strict=True))
        parts = np.array_split(np.array(points, float).reshape(-1, 2), LOSS_POINTS)
        found[f"{kind}_steps"] = [int(part[-1, 0]) + 1 for part in parts if len(part)]  # counted from 0
        found[f"{kind}_loss"] = [rounded(part[:, 1].mean()) for part in parts if len(part)]
    return found


def _poses(store: LatentStore, key: str) -> np.ndarray:
    poses = store.poses(key)
    if poses is None:
        raise UserError(f"{store.folder}: episode {key} has no poses: it is no set of LoopWalk")
    return poses
