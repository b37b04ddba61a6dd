"""Names of the files and folders of a run directory, see docs/compare.md."""

CONFIG, CHECKPOINTS, TRAINING, EVALUATION = "config.yaml", "checkpoints", "metrics.csv", "evaluation"
RECORD = "run.json"
CARD, SCORE_PARTS, SCORE_FILE, SUMMARY = "card.json", "per_frame.parts", "per_frame.parquet", "summary.json"
REVISIT_FILE, VIDEOS, TRUTH = "revisits.parquet", "videos", "truth"
REVISIT_SCORE_PARTS, REVISIT_SCORE_FILE = "revisit_scores.parts", "revisit_scores.parquet"
ACTION_FILE = "actions.parquet"
DISTANCE_FILE, FEATURE_PARTS = "distances.json", "distances.parts"
