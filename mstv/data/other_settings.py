"""What differs between the evaluation that stands in a folder and the one asked for, in a user's words."""

from collections.abc import Sequence

from mstv.data.schema import Record

_OPTIONS = {
    "split": "--split",
    "context_frames": "--context",
    "end_frame": "--end",
    "num_episodes": "--episodes",
    "nfe": "--nfe",
    "sampler": "--sampler",
    "guidance": "--guidance",
    "context_refresh": "--refresh",
    "context_noise": "--context-noise",
    "seed": "--seed",
    "precision": "--precision",
}
"""Fields of a card that a user sets, and how."""
_SOURCES = {
    "checkpoint_sha256": "other weights (--checkpoint, or the training went on)",
    "tokenizer_sha256": "another tokenizer (--latents)",
    "data_sha256": "another set of frames (--latents, --frames)",
    "latents_sha256": "other latents (--latents, or encoded anew)",
}
"""Fields that are told without their values, which say nothing to a user."""


def other_settings(before: Record, now: Record, changed: Sequence[str]) -> str:
    """One line on two cards: old and new values of what users set, and what to do.

    Args:
        before: the card that is there.
        now: the card asked for.
        changed: the fields that differ; those that follow from others are told only where they are alone.
    """
    options = [
        (option, getattr(before, name), getattr(now, name)) for name, option in _OPTIONS.items() if name in changed
    ]
    told = [f"{option} {_plain(old)} (now {_plain(new)})" for option, old, new in options]
    told += [text for name, text in _SOURCES.items() if name in changed]
    go_on = ""
    if options and len(options) == len(told):
        go_on = f"give {' '.join(f'{option} {_plain(old)}' for option, old, _ in options)} to go on with it, or "
    told = told or [f"{name} {getattr(before, name)} (now {getattr(now, name)})" for name in changed]
    return f"is of other settings: {', '.join(told)}: {go_on}name another with --protocol NAME, or delete its folder"


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
