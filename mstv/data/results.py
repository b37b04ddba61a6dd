"""The run directory: metric card, per-frame scores and summary of an evaluation; one writer and one reader.

run/config.yaml, run/checkpoints/, run/metrics.csv
run/evaluation/<protocol>/card.json            Card, written first
                          per_frame.parts/     scores of finished episodes, until they are merged
                          per_frame.parquet    SCORES, one row per episode, frame, metric, ground truth, series
                          latents/<episode>.npy, videos/<episode>.mp4, truth/<episode>.mp4
                          .lock                held while a command writes, see `mstv.data.episode_locks`
                          summary.json         Summary, written last: with it the evaluation is complete
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from mstv.data.other_settings import other_settings
from mstv.data.schema import KEY_PATTERN, MAKER, SCHEMA_VERSION, Record, Split, atomic_path, temporary_path
from mstv.errors import UserError

CONFIG, CHECKPOINTS, TRAINING, EVALUATION = "config.yaml", "checkpoints", "metrics.csv", "evaluation"
CARD, SCORE_PARTS, SCORE_FILE, SUMMARY = "card.json", "per_frame.parts", "per_frame.parquet", "summary.json"
VIDEOS, TRUTH = "videos", "truth"
SUMMARY_HORIZONS = (1, 16, 64, 256)
WINDOW = "mean over the frames at horizons (h/2, h], then over episodes"
INTERVAL = "95% percentile bootstrap over episodes, 1000 resamples"

GroundTruth = Literal["raw", "decoded"]
"""What frames are scored against: the recorded frames, or the frames decoded from their true latents."""
Series = Literal["generated", "upper_bound", "lower_bound"]
"""Which video is scored: the rollout, the decoded true latents, or true latents in shuffled order."""
Key = Annotated[str, Field(pattern=KEY_PATTERN)]

SCORES = pa.schema(
    [
        ("episode", pa.string()),
        ("frame", pa.int32()),  # index in the episode
        ("horizon", pa.int32()),  # frames since the last ground-truth frame; 1 = first generated frame
        ("metric", pa.string()),  # psnr (dB), ssim
        ("ground_truth", pa.string()),
        ("series", pa.string()),
        ("value", pa.float64()),
    ],
    metadata={"schema_version": str(SCHEMA_VERSION), "created_by": MAKER},
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanNote(_Part):
    """The plan of a rollout."""

    family: str
    parameters: dict[str, JsonValue] = {}


class MetricNote(_Part):
    """A metric of an evaluation and how its values are put together."""

    name: str = Field(description="as in the column `metric`, such as psnr")
    aggregation: str = Field(description="such as: mean of per-frame PSNR; pooled beside it")


class Card(Record):
    """What was evaluated, how and by what: all one needs to judge or repeat the numbers."""

    protocol: Key
    protocol_version: int = Field(ge=1)
    split: Split
    context_frames: int = Field(gt=0, description="ground-truth frames before the first generated one")
    end_frame: int = Field(description="one past the last frame that is scored")
    num_episodes: int = Field(gt=0)
    episodes: tuple[Key, ...] = Field(description="keys, in order")
    selection: str = Field(default="first episodes of the split, not selected", description="how they were chosen")
    seed: int
    sampler: str
    nfe: int | tuple[int, ...] = Field(description="denoiser evaluations per step; several: of each target level")
    guidance: float
    context_refresh: int = Field(default=1, ge=1, description="evaluations that share the context's keys and values")
    context_noise: float = Field(default=0.0, ge=0, lt=1, description="time to which the context is noised")
    plan: PlanNote
    attention: Literal["joint", "isolated"] = Field(description="what context tokens see")
    max_tokens_per_step: int
    token_evaluations_per_frame: float
    metrics: tuple[MetricNote, ...]
    ground_truth: tuple[GroundTruth, ...]
    image_size: tuple[int, int] = Field(description="(H, W)")
    fps: float = Field(gt=0)
    video_first_frame: int = Field(default=0, ge=0, description="the episode's frame that the videos begin with")
    checkpoint: str = Field(description="file name")
    checkpoint_sha256: str = Field(description="of its weights")
    tokenizer_sha256: str = Field(description="of its weights")
    data_sha256: str = Field(description="of the manifest of the FRAMES set, so that tokenizers can be compared")
    latents_sha256: str | None = Field(
        default=None, description="of the manifest of the latents set, whose context the rollouts begin with"
    )
    precision: Literal["32", "bf16"] = Field(default="32", description="arithmetic of the denoiser and the decoder")
    compiled: bool = Field(default=False, description="torch.compile was used; it changes the rounding alone")
    machine: str = Field(description="name of the GPU or CPU")
    torch_version: str

    @model_validator(mode="after")
    def _counts_fit(self) -> "Card":
        if self.num_episodes != len(self.episodes) or len(set(self.episodes)) != len(self.episodes):
            raise ValueError(f"num_episodes is {self.num_episodes}, episodes are {', '.join(self.episodes)}")
        if self.end_frame <= self.context_frames:
            raise ValueError(f"end_frame {self.end_frame} leaves nothing after {self.context_frames} context frames")
        return self

    def differences(self, other: "Card") -> list[str]:
        """Fields that make two evaluations different protocols, so that their numbers must not share a curve."""
        names = ("protocol", "protocol_version", "split", "context_frames", "end_frame", "episodes", "image_size")
        return [name for name in (*names, "fps", "data_sha256") if getattr(self, name) != getattr(other, name)]


_ELSEWHERE = {"machine", "compiled", "torch_version", "created_by"}
"""What may differ when an evaluation goes on: it changes numbers by their rounding alone, about 5e-7 of a latent."""


class WindowMean(_Part):
    """A metric around one horizon."""

    horizon: int
    first: int = Field(description="first horizon of the window; the last one is `horizon`")
    value: float
    interval: tuple[float, float] | None = Field(description="None with a single episode")


class SeriesSummary(_Part):
    """One metric of one video series against one ground truth."""

    metric: str
    ground_truth: GroundTruth
    series: Series
    num_episodes: int
    num_frames: int
    overall: WindowMean
    pooled: float | None = Field(default=None, description="PSNR only: dB of the squared error pooled over all frames")
    horizons: tuple[WindowMean, ...]


class Summary(Record):
    """`summary.json`: the numbers for a table."""

    protocol: Key
    window: str = WINDOW
    interval: str = INTERVAL
    interval_seed: int = 0
    values: tuple[SeriesSummary, ...]
    rollout_seconds: float | None = Field(default=None, description="wall clock of generating all episodes")
    frames_per_second: float | None = Field(default=None, description="generated frames over rollout_seconds")


class EpisodeCurves(NamedTuple):
    """One metric, ground truth and series: a row per episode, a column per horizon."""

    episodes: tuple[str, ...]
    horizon: Int[np.ndarray, " H"]
    values: Float[np.ndarray, "E H"]


@dataclass(frozen=True)
class Evaluation:
    """One complete evaluation of a run."""

    folder: Path
    card: Card
    summary: Summary

    def scores(self) -> pa.Table:
        """Table of `SCORES`; raises UserError as `read_scores`."""
        return read_scores(self.folder)

    def video(self, episode: str) -> Path:
        """The generated video of an episode; it may be missing."""
        return self.folder / VIDEOS / f"{episode}.mp4"

    def truth(self, episode: str) -> Path:
        """The recorded video of an episode; it may be missing."""
        return self.folder / TRUTH / f"{episode}.mp4"


@dataclass(frozen=True)
class Run:
    """A run directory."""

    folder: Path
    protocols: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def training_log(self) -> Path:
        """`metrics.csv`; it may be missing."""
        return self.folder / TRAINING

    def evaluation(self, protocol: str) -> Evaluation:
        """The evaluation of a protocol.

        Raises:
            UserError: there is none, it is half-written, or a file is damaged or of another version.
        """
        folder = evaluation_folder(self.folder, protocol)
        if protocol not in self.protocols:
            known = ", ".join(self.protocols) or "none; run mstv evaluate"
            raise UserError(f"{folder}: no such evaluation: choose a protocol this run has ({known})")
        card = Card.read(folder / CARD)
        if card.protocol != protocol:
            raise UserError(f"{folder / CARD}: field protocol is {card.protocol}: rename the folder back to that")
        if not (folder / SUMMARY).is_file():
            raise _half_written(folder)
        return Evaluation(folder, card, Summary.read(folder / SUMMARY))


def evaluation_folder(run: Path, protocol: str) -> Path:
    """Folder of a run's evaluation under `protocol`."""
    return run / EVALUATION / protocol


def read_run(path: Path) -> Run:
    """A run directory and the names of its protocols, sorted.

    Raises:
        UserError: no such folder, or not a run directory.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder: give the folder of a run")
    if (path / CARD).is_file():
        raise UserError(f"{path}: is one evaluation of a run: give the run's folder, {path.resolve().parents[1]}")
    if not any((path / name).exists() for name in (CONFIG, CHECKPOINTS, TRAINING, EVALUATION)):
        raise UserError(f"{path}: holds no {CONFIG}, {CHECKPOINTS} or {EVALUATION}: give the folder of an mstv run")
    cards = sorted((path / EVALUATION).glob(f"*/{CARD}"))
    foreign = sorted(folder for folder in (path / EVALUATION).glob("*/") if not (folder / CARD).is_file())
    if foreign and not cards:
        raise UserError(f"{foreign[0]}: holds no {CARD}: it is old or foreign, evaluate again with this version")
    return Run(path, tuple(card.parent.name for card in cards))


def begin_evaluation(folder: Path, card: Card) -> list[str]:
    """Write the card, or find it written by an earlier try; returns the episodes that are already scored.

    Call it on one process, before the others write scores.

    Raises:
        UserError: the folder holds another evaluation, so that resuming would mix numbers.
    """
    if not (folder / CARD).exists():
        _write_first(folder / CARD, card)
    before = Card.read(folder / CARD)
    changed = [name for name in Card.model_fields if getattr(before, name) != getattr(card, name)]
    if before.latents_sha256 is None:  # a card of an earlier version
        changed = [name for name in changed if name != "latents_sha256"]
    if changed := [name for name in changed if name not in _ELSEWHERE]:
        raise UserError(f"{folder / CARD}: {other_settings(before, card, changed)}")
    if (folder / SCORE_FILE).is_file():
        return list(card.episodes)
    return [episode for episode in card.episodes if (folder / SCORE_PARTS / f"{episode}.parquet").is_file()]


def _write_first(path: Path, card: Card) -> None:
    """Write the card unless another process wrote one in the same moment."""
    with temporary_path(path) as temporary:
        temporary.write_bytes(card.to_bytes())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)


def episode_scores(
    episode: str,
    frame: Int[np.ndarray, " T"],
    horizon: Int[np.ndarray, " T"],
    metric: str,
    ground_truth: GroundTruth,
    series: Series,
    value: Float[np.ndarray, " T"],
) -> pa.Table:
    """Rows of `SCORES` for one metric, ground truth and series of an episode; join them with pa.concat_tables."""
    constant = [[name] * len(value) for name in (episode, metric, ground_truth, series)]
    columns = (constant[0], frame, horizon, *constant[1:], value.astype(np.float64))
    return pa.Table.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, SCORES.types, strict=True)], schema=SCORES
    )


def write_episode_scores(folder: Path, episode: str, table: pa.Table) -> None:
    """Write all scores of one episode, atomically, so that an evaluation resumes after it.

    Raises:
        UserError: the table does not have the columns and values of `SCORES`, or rows of another episode.
    """
    path = folder / SCORE_PARTS / f"{episode}.parquet"
    _check_scores(table, path)
    if pc.unique(table["episode"]).to_pylist() != [episode]:
        raise UserError(f"{path}: column episode must hold {episode} alone: write one episode at a time")
    _write_scores(path, table)


def merge_scores(folder: Path) -> pa.Table:
    """Merge the episodes' scores, in the card's order, into `per_frame.parquet`; does nothing more when called again.

    Raises:
        UserError: there is no card, or episodes of it are not scored yet.
    """
    card = Card.read(folder / CARD)
    if not (folder / SCORE_FILE).is_file():
        parts = [folder / SCORE_PARTS / f"{episode}.parquet" for episode in card.episodes]
        if not all(part.is_file() for part in parts):
            raise _half_written(folder)
        _write_scores(folder / SCORE_FILE, pa.concat_tables([_read_table(part) for part in parts]))
    shutil.rmtree(folder / SCORE_PARTS, ignore_errors=True)
    return read_scores(folder)


def read_scores(folder: Path) -> pa.Table:
    """Scores of a finished evaluation: a table of `SCORES`, episodes in the card's order.

    Raises:
        UserError: half-written, damaged, of another version, with other columns, or with impossible values.
    """
    if not (folder / SCORE_FILE).is_file():
        raise _half_written(folder)
    return _read_table(folder / SCORE_FILE)


def episode_curves(scores: pa.Table, metric: str, ground_truth: GroundTruth, series: Series) -> EpisodeCurves | None:
    """One metric, ground truth and series as an array, or None if it was not scored.

    Raises:
        UserError: an episode lacks a horizon that another has, or has it twice.
    """
    wanted = {"metric": metric, "ground_truth": ground_truth, "series": series}
    table = scores
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    if not table.num_rows:
        return None
    episodes = pc.unique(table["episode"]).to_pylist()
    row = pc.index_in(table["episode"].combine_chunks(), value_set=pa.array(episodes)).to_numpy(zero_copy_only=False)
    horizon, column = np.unique(table["horizon"].to_numpy(), return_inverse=True)
    values = np.full((len(episodes), len(horizon)), np.nan)
    values[row, column] = table["value"].to_numpy()
    if table.num_rows != values.size or np.isnan(values).any():
        raise UserError(
            f"{SCORE_FILE}: {' '.join(wanted.values())} does not have every horizon once in each episode: "
            "delete the evaluation's folder and evaluate again"
        )
    return EpisodeCurves(tuple(episodes), horizon, values)


def bootstrap_interval(
    values: Float[np.ndarray, "E *rest"], seed: int = 0, resamples: int = 1000
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]] | None:
    """95 % percentile interval of the mean over episodes (axis 0), the same draw of episodes for every column.

    None with a single episode: it says nothing of the others.
    """
    count = len(values)
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=resamples) / count
    low, high = np.percentile(np.tensordot(drawn, values, axes=1), [2.5, 97.5], axis=0)
    return np.asarray(low), np.asarray(high)


def summarise(folder: Path, rollout_seconds: float | None = None, seed: int = 0) -> Summary:
    """Compute and write `summary.json` from the merged scores; this completes the evaluation.

    Args:
        folder: of the evaluation, with its card and merged scores.
        rollout_seconds: wall clock of generating all episodes, if it was measured.
        seed: of the bootstrap.

    Raises:
        UserError: as `read_scores` and `episode_curves`.
    """
    card, scores = Card.read(folder / CARD), read_scores(folder)
    values = []
    for metric in pc.unique(scores["metric"]).to_pylist():
        for truth in get_args(GroundTruth):
            for series in get_args(Series):
                if curves := episode_curves(scores, metric, truth, series):
                    values.append(_summarise_series(metric, truth, series, curves, seed))
    generated = card.num_episodes * (card.end_frame - card.context_frames)
    summary = Summary(
        protocol=card.protocol,
        interval_seed=seed,
        values=tuple(values),
        rollout_seconds=rollout_seconds,
        frames_per_second=generated / rollout_seconds if rollout_seconds else None,
    )
    summary.write(folder / SUMMARY)
    return summary


def _summarise_series(
    metric: str, truth: GroundTruth, series: Series, curves: EpisodeCurves, seed: int
) -> SeriesSummary:
    def window(first: int, last: int) -> WindowMean:
        inside = (curves.horizon >= first) & (curves.horizon <= last)
        means = curves.values[:, inside].mean(1)
        bounds = bootstrap_interval(means, seed)
        interval = (float(bounds[0]), float(bounds[1])) if bounds else None
        return WindowMean(horizon=last, first=first, value=float(means.mean()), interval=interval)

    present, last = set(curves.horizon.tolist()), int(curves.horizon[-1])
    return SeriesSummary(
        metric=metric,
        ground_truth=truth,
        series=series,
        num_episodes=len(curves.episodes),
        num_frames=curves.values.size,
        overall=window(int(curves.horizon[0]), last),
        pooled=float(-10 * np.log10((10 ** (-curves.values / 10)).mean())) if metric == "psnr" else None,
        horizons=tuple(window(h // 2 + 1, h) for h in sorted({*SUMMARY_HORIZONS, last} & present)),
    )


def _half_written(folder: Path) -> UserError:
    parts = len(list((folder / SCORE_PARTS).glob("*.parquet")))
    return UserError(
        f"{folder}: the evaluation is half-written ({parts} episode{'s' * (parts != 1)} to be merged, no finished "
        f"{SUMMARY if (folder / SCORE_FILE).is_file() else SCORE_FILE}): run the same mstv evaluate again, it resumes"
    )


def _write_scores(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(SCORES.metadata), temporary)


def _read_table(path: Path) -> pa.Table:
    try:
        with path.open("rb") as file:  # a bare path would make pyarrow read a folder, or partitions from its name
            table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}): delete it and evaluate again") from None
    version = (table.schema.metadata or {}).get(b"schema_version", b"missing").decode()
    if version != str(SCHEMA_VERSION):
        raise UserError(f"{path}: field schema_version is {version}, this mstv reads {SCHEMA_VERSION}: evaluate again")
    _check_scores(table, path)
    return table


def _check_scores(table: pa.Table, path: Path) -> None:
    """Raise UserError unless `table` has the columns and types of `SCORES` and possible values."""
    if not table.schema.equals(SCORES):
        found = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        expected = ", ".join(f"{field.name} ({field.type})" for field in SCORES)
        raise UserError(f"{path}: columns are {found}, expected {expected}: evaluate again with this version")
    for name, allowed in (("ground_truth", get_args(GroundTruth)), ("series", get_args(Series))):
        if unknown := set(pc.unique(table[name]).to_pylist()) - set(allowed):
            raise UserError(f"{path}: column {name} holds {unknown}, allowed are {', '.join(allowed)}")
    if any(column.null_count for column in table.columns) or not pc.all(pc.is_finite(table["value"])).as_py():
        raise UserError(f"{path}: a cell is empty or column value is not finite: cap identical frames at 100 dB")
    if table.num_rows and pc.min(table["horizon"]).as_py() < 1:
        raise UserError(f"{path}: column horizon is below 1: leave context frames out")
