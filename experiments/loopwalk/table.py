"""The LoopWalk table from finished rows: results.json, and the same to read and to look at.

Command:  python -m experiments.loopwalk.table mini loopwalk/mini --out experiments/loopwalk/results.json
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools import options
from experiments.loopwalk.frozen_set import claimed, read_sets
from experiments.loopwalk.rows import PROTOCOL, ROWS
from mstv.checkpoint import load_file
from mstv.data.latent_shards import LatentStore
from mstv.data.results import INTERVAL, Evaluation, Series, episode_curves, read_run
from mstv.data.schema import atomic_path
from mstv.errors import UserError
from mstv.metrics.bootstrap import bootstrap_mean
from mstv.metrics.revisits import AWAY, find_revisits
from mstv.rollout.cost import PlanCost
from mstv.rollout.families import family_from_dict

HORIZONS = (1, 16, 64, 256, 768)
GAPS = (AWAY, 16, 32, 64, 128, 256, 512)
"""First gap of each bin of revisits; the last has no end."""
NOTES = {
    "psnr": "dB against the recorded frame, mean of the frames at horizons (h/2, h], then of episodes",
    "interval": INTERVAL,
    "revisit_psnr": f"the same of the frames whose pose was seen before, and not in the {AWAY} frames before",
    "revisit_context_psnr": "the same of those whose pose the context showed, so that one can know the place",
    "revisits": "the latter over all horizons, by frames since the pose was last seen, from first_gap to the next one",
}


class Scored:
    """Per-frame PSNR of one series of an evaluation, and what its frames revisit.

    Args:
        values: (E, H) in dB, by episode and horizon 1..H.
        gaps: int (E, H), frames since the pose was last seen; 0 where it is new or was seen `AWAY` frames ago or less.
        in_context: bool (E, H), whether the context showed the pose.
    """

    def __init__(self, values: np.ndarray, gaps: np.ndarray, in_context: np.ndarray) -> None:
        self.values, self.gaps, self.in_context = values, gaps, in_context

    def at(self, horizon: int) -> dict[str, Any]:
        """What a row of the table says of one horizon."""
        window = np.zeros(self.values.shape, bool)
        window[:, horizon // 2 : horizon] = True
        revisits = window & (self.gaps > 0)
        psnr, interval = self._mean(window)
        revisit_psnr, revisit_interval = self._mean(revisits)
        context_psnr, context_interval = self._mean(revisits & self.in_context)
        return {
            "horizon": horizon,
            "psnr": psnr,
            "interval": interval,
            "revisit_psnr": revisit_psnr,
            "revisit_interval": revisit_interval,
            "revisit_context_psnr": context_psnr,
            "revisit_context_interval": context_interval,
            "episodes": len(self.values),
        }

    def by_gap(self) -> list[dict[str, Any]]:
        """Revisits of places that the context showed, by how long ago they were seen last."""
        rows = []
        for first, following in zip(GAPS, (*GAPS[1:], math.inf), strict=True):
            chosen = self.in_context & (self.gaps >= first) & (self.gaps < following)
            psnr, interval = self._mean(chosen)
            rows.append({"first_gap": first, "psnr": psnr, "interval": interval, "frames": int(chosen.sum())})
        return rows

    def _mean(self, chosen: np.ndarray) -> tuple[float | None, list[float | None]]:
        """Mean over each episode's chosen frames, then over episodes, and its interval; None where there is none."""
        count = chosen.sum(1)
        total = np.where(chosen, self.values, 0).sum(1)
        found = bootstrap_mean(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
        mean, low, high = (None if math.isnan(value) else round(float(value), 3) for value in found)
        return mean, [low, high]


def revisits_of(poses: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """`gaps` and `in_context` of `Scored` for one episode of poses (T, 5), each (T - context,)."""
    found = find_revisits(poses, context)
    gaps, in_context = np.zeros(len(poses), int), np.zeros(len(poses), bool)
    latest = found.select(found.latest)
    gaps[latest.frame] = latest.gap
    # A frame of a visit that goes on can be told by the frames before it.
    for frame in latest.frame:
        if np.isclose(poses[frame - AWAY : frame], poses[frame], atol=1e-3).all(1).any():
            gaps[frame] = 0
    in_context[found.frame[found.in_context]] = True
    return gaps[context:], in_context[context:]


def results(size: str, folder: Path) -> dict[str, Any]:
    """The content of results.json: the finished rows and both bounds.

    Raises:
        UserError: no row is finished, or rows were evaluated on different frames.
    """
    finished = {row: read_run(row.run(folder)).evaluation(PROTOCOL) for row in ROWS if row.is_finished(folder)}
    if not finished:
        raise UserError(f"{folder}: no row is finished: run python -m experiments.loopwalk.run {size} {folder}")
    first = next(iter(finished.values()))
    card = first.card
    for row, evaluation in finished.items():
        if changed := card.differences(evaluation.card):
            raise UserError(f"{evaluation.folder}: {row.name} has another {changed[0]} than the rows before: remove it")
    store = LatentStore(folder / "latents")
    seen = [revisits_of(_poses(store, key)[: card.end_frame], card.context_frames) for key in card.episodes]
    gaps, in_context = (np.stack(part) for part in zip(*seen, strict=True))
    rows: list[dict[str, Any]] = []
    by_gap: list[dict[str, Any]] = []

    def add(who: dict[str, Any], evaluation: Evaluation, series: Series, more: dict[str, Any]) -> None:
        curves = episode_curves(evaluation.scores(), "psnr", "raw", series)
        assert curves is not None and curves.episodes == card.episodes
        scored = Scored(curves.values, gaps, in_context)
        last = int(curves.horizon[-1])
        rows.extend({**who, **scored.at(h), **more} for h in sorted({*HORIZONS, last}) if h <= last)
        by_gap.extend({**who, **part} for part in scored.by_gap())

    bounds: tuple[Series, ...] = ("upper_bound", "lower_bound")
    nobody = {"train_steps": 0, "tokens_per_step": 0}
    for bound in bounds:
        add({"set": size, "plan": bound, "attention": None, "seed": None}, first, bound, nobody)
    for row, evaluation in finished.items():
        who = {"set": size, "plan": row.plan, "attention": row.attention, "seed": row.seed}
        add(who, evaluation, "generated", _cost(row.run(folder), evaluation))
    protocol = {
        "name": PROTOCOL,
        "set": size,
        "test_walks": claimed(folder).splits["test"].walks,
        "context_frames": card.context_frames,
        "end_frame": card.end_frame,
        "episodes": list(card.episodes),
        "precision": card.precision,
        "machine": card.machine,
        "tokenizer_sha256": card.tokenizer_sha256,
        **NOTES,
    }
    return {"protocol": protocol, "rows": rows, "revisits": by_gap}


def _cost(run: Path, evaluation: Evaluation) -> dict[str, Any]:
    """What a row took to train, and takes to sample."""
    card = evaluation.card
    state = load_file(run / "checkpoints" / card.checkpoint)
    family = family_from_dict({"family": card.plan.family, **card.plan.parameters})
    levels = state["mstv"]["config"]["levels"]
    base = math.prod(a // b for a, b in zip(levels["image_size"], levels["patch_size"], strict=True))
    cost = PlanCost(family.merged_plan(base), 1, 1, card.attention, 2)
    return {
        "train_steps": state["global_step"],
        "tokens_per_step": card.max_tokens_per_step,
        "memory_frames": cost.memory[1],
        "token_evaluations_per_frame": round(card.token_evaluations_per_frame, 1),
        "sampler": card.sampler,
        "nfe": card.nfe,
        "context_noise": card.context_noise,
    }


def write_results(size: str, folder: Path, out: Path | None = None) -> str:
    """Write results.json, by default into `folder`, and its table in Markdown beside it; returns the table."""
    found = results(size, folder)
    text = markdown(found)
    out = out or folder / "results.json"
    for path, content in ((out, json.dumps(found, indent=1) + "\n"), (out.with_suffix(".md"), text)):
        with atomic_path(path) as temporary:
            temporary.write_text(content)
    return text


def markdown(found: dict[str, Any]) -> str:
    """The table: PSNR with its interval, and of revisits, a line for each row and a column for each horizon."""
    horizons = sorted({row["horizon"] for row in found["rows"]})
    lines = ["| plan | attention, seed | " + " | ".join(f"h = {h}" for h in horizons) + " |"]
    lines.append("|---" * (2 + len(horizons)) + "|")
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for row in found["rows"]:
        who = (row["plan"], "" if row["attention"] is None else f"{row['attention']}, {row['seed']}")
        low, high = row["interval"]
        interval = "" if low is None else f" ({low:.1f} to {high:.1f})"
        revisit = "" if row["revisit_context_psnr"] is None else f"; {row['revisit_context_psnr']:.2f}"
        cells.setdefault(who, {})[row["horizon"]] = f"{row['psnr']:.2f}{interval}{revisit}"
    lines += [f"| {' | '.join(who)} | {' | '.join(line[h] for h in horizons)} |" for who, line in cells.items()]
    return "PSNR in dB (95 % interval over episodes); of places that the context showed.\n\n" + "\n".join(lines) + "\n"


def _poses(store: LatentStore, key: str) -> np.ndarray:
    poses = store.poses(key)
    if poses is None:
        raise UserError(f"{store.folder}: episode {key} has no poses: it is no set of LoopWalk")
    return poses


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.table", description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=sorted(read_sets()))
    parser.add_argument("folder", type=options.folder, help="that experiments.loopwalk.run made")
    parser.add_argument("--out", type=options.folder, help="results.json (default: in the folder)")
    arguments = parser.parse_args(argv)
    try:
        print(write_results(arguments.size, arguments.folder, arguments.out))
    except UserError as error:
        print(f"table: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
