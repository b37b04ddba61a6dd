"""The run directory, which docs/compare.md describes: one writer and one reader of each file.

run/config.yaml, run/run.json, run/checkpoints/, run/metrics.csv
run/evaluation/<protocol>/card.json            Card, written first
                          per_frame.parts/     scores of finished episodes, until they are merged
                          per_frame.parquet    SCORES, one row per episode, frame, metric, ground truth, series
                          revisits.parquet     REVISITS, one row per generated frame whose pose is known
                          latents/<episode>.npy, videos/<episode>.mp4, truth/<episode>.mp4
                          .lock                held while a command writes, see `mstv.data.episode_locks`
                          summary.json         Summary, written last: with it the evaluation is complete
"""

from mstv.data.results.card import Card, GroundTruth, MetricNote, PlanNote
from mstv.data.results.layout import (
    CARD,
    CHECKPOINTS,
    CONFIG,
    EVALUATION,
    RECORD,
    REVISIT_FILE,
    SCORE_FILE,
    SCORE_PARTS,
    SUMMARY,
    TRAINING,
    TRUTH,
    VIDEOS,
)
from mstv.data.results.revisits import read_revisits, write_revisits
from mstv.data.results.run import Evaluation, Run, begin_evaluation, evaluation_folder, read_run
from mstv.data.results.scores import (
    SCORES,
    EpisodeCurves,
    Incomplete,
    Series,
    episode_curves,
    episode_scores,
    merge_scores,
    read_scores,
    write_episode_scores,
)
from mstv.data.results.summary import (
    INTERVAL,
    WINDOW,
    SeriesSummary,
    Summary,
    WindowMean,
    bootstrap_interval,
    summarise,
)
from mstv.data.results.training import TrainingRecord

__all__ = [
    "CARD",
    "CHECKPOINTS",
    "CONFIG",
    "EVALUATION",
    "INTERVAL",
    "RECORD",
    "REVISIT_FILE",
    "SCORES",
    "SCORE_FILE",
    "SCORE_PARTS",
    "SUMMARY",
    "TRAINING",
    "TRUTH",
    "VIDEOS",
    "WINDOW",
    "Card",
    "EpisodeCurves",
    "Evaluation",
    "GroundTruth",
    "Incomplete",
    "MetricNote",
    "PlanNote",
    "Run",
    "Series",
    "SeriesSummary",
    "Summary",
    "TrainingRecord",
    "WindowMean",
    "begin_evaluation",
    "bootstrap_interval",
    "episode_curves",
    "episode_scores",
    "evaluation_folder",
    "merge_scores",
    "read_revisits",
    "read_run",
    "read_scores",
    "summarise",
    "write_episode_scores",
    "write_revisits",
]
