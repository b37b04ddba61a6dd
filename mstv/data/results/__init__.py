"""The run directory, which docs/compare.md describes: one writer and one reader of each file.

run/config.yaml, run/run.json, run/checkpoints/, run/metrics.csv, run/.lock (held while it trains)
run/evaluation/<protocol>/card.json            Card, written first
                          per_frame.parts/     scores of finished episodes, until they are merged
                          per_frame.parquet    SCORES, one row per episode, frame, metric, ground truth, series
                          distances.parts/     features of finished episodes, until distances are computed
                          distances.json       Distances across episodes, where there are any
                          revisits.parquet     REVISITS, one row per generated frame that shows a place again
                          revisit_scores.parts/    those of finished episodes, until they are merged
                          revisit_scores.parquet   REVISIT_SCORES, one row per revisit, metric, reference, series
                          actions.parts/       sums of finished episodes, until their scores are computed
                          actions.parquet      ACTION_SCORES, how well the rollouts of each episode follow their actions
                          latents/<episode>.npy, videos/<episode>.mp4, truth/<episode>.mp4
                          levels/<level>/<episode>.npy, levels/<level>/<episode>.mp4
                                               of the card's `coarse_levels`: latents, and what they show alone
                          .lock                held while a command writes, see `mstv.data.write_locks`
                          summary.json         Summary, written last: with it the evaluation is complete
"""

from mstv.data.results.card import Card, GroundTruth, MetricNote, PlanNote
from mstv.data.results.distances import read_distances, read_features, write_distances, write_features
from mstv.data.results.layout import (
    CARD,
    CHECKPOINTS,
    CONFIG,
    DISTANCE_FILE,
    EVALUATION,
    FEATURE_PARTS,
    LEVELS,
    RECORD,
    REVISIT_FILE,
    REVISIT_SCORE_FILE,
    SCORE_FILE,
    SCORE_PARTS,
    SUMMARY,
    TRAINING,
    TRUTH,
    VIDEOS,
)
from mstv.data.results.measured import (
    declare_metrics,
    episode_metrics,
    merged_metrics,
    note_action_following,
    scored_metrics,
    summarised_metrics,
)
from mstv.data.results.revisit_scores import (
    REVISIT_GAPS,
    REVISIT_SCORES,
    REVISIT_STATISTIC,
    REVISITS,
    GapMean,
    Reference,
    RevisitMeans,
    SeenIn,
    merge_revisit_scores,
    read_episode_revisits,
    read_revisit_scores,
    revisit_rows,
    write_episode_revisits,
)
from mstv.data.results.revisits import MIN_GAP, Revisits, read_revisits, write_revisits
from mstv.data.results.run import Evaluation, Run, begin_evaluation, evaluation_folder, level_folder, read_run
from mstv.data.results.scores import (
    SCORES,
    EpisodeCurves,
    Incomplete,
    Series,
    episode_curves,
    episode_scores,
    merge_scores,
    read_episode_scores,
    read_scores,
    write_episode_scores,
)
from mstv.data.results.series_summary import SeriesSummary, WindowMean
from mstv.data.results.summary import (
    INTERVAL,
    SUMMARY_HORIZONS,
    WINDOW,
    Summary,
    bootstrap_interval,
    summarise,
)
from mstv.data.results.training import TrainingRecord

__all__ = [
    "CARD",
    "CHECKPOINTS",
    "CONFIG",
    "DISTANCE_FILE",
    "EVALUATION",
    "FEATURE_PARTS",
    "INTERVAL",
    "LEVELS",
    "MIN_GAP",
    "RECORD",
    "REVISITS",
    "REVISIT_FILE",
    "REVISIT_GAPS",
    "REVISIT_SCORES",
    "REVISIT_SCORE_FILE",
    "REVISIT_STATISTIC",
    "SCORES",
    "SCORE_FILE",
    "SCORE_PARTS",
    "SUMMARY",
    "SUMMARY_HORIZONS",
    "TRAINING",
    "TRUTH",
    "VIDEOS",
    "WINDOW",
    "Card",
    "EpisodeCurves",
    "Evaluation",
    "GapMean",
    "GroundTruth",
    "Incomplete",
    "MetricNote",
    "PlanNote",
    "Reference",
    "RevisitMeans",
    "Revisits",
    "Run",
    "SeenIn",
    "Series",
    "SeriesSummary",
    "Summary",
    "TrainingRecord",
    "WindowMean",
    "begin_evaluation",
    "bootstrap_interval",
    "declare_metrics",
    "episode_curves",
    "episode_metrics",
    "episode_scores",
    "evaluation_folder",
    "level_folder",
    "merge_revisit_scores",
    "merge_scores",
    "merged_metrics",
    "note_action_following",
    "read_distances",
    "read_episode_revisits",
    "read_episode_scores",
    "read_features",
    "read_revisit_scores",
    "read_revisits",
    "read_run",
    "read_scores",
    "revisit_rows",
    "scored_metrics",
    "summarise",
    "summarised_metrics",
    "write_distances",
    "write_episode_revisits",
    "write_episode_scores",
    "write_features",
    "write_revisits",
]
