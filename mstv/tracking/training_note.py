"""What a training's configuration does not say, as dashboards have it."""

from typing import Any

from mstv.data.results.training import TrainingRecord


def training_note(record: TrainingRecord) -> dict[str, Any]:
    """Kind and parameters, and the last start: versions, device, ids of data and tokenizer."""
    start = record.starts[-1].model_dump(mode="json")
    return {"record": {"kind": record.kind, "parameters": record.parameters, **start}}
