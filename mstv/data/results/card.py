"""The metric card: what was evaluated, how and by what."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from mstv.data.schema import KEY_PATTERN, Record, Split

GroundTruth = Literal["raw", "decoded", "latents"]
"""What is scored against: the recorded frames, the frames decoded from their true latents, or these latents."""
Key = Annotated[str, Field(pattern=KEY_PATTERN)]

_C = TypeVar("_C", bound="RolloutCard")
_OTHER_NUMBERS = {"version", "backbone", "weights", "resize", "clip_length"}
"""Entries of a metric's definition that make other numbers of the same videos; a library's version hardly does."""
_TOLD = {"interval", "lower_bound"}
"""Entries that make no other number of a rollout: what stands beside it."""


class Part(BaseModel):
    """A part of a record; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanNote(Part):
    """The plan of a rollout."""

    family: str
    parameters: dict[str, JsonValue] = {}


class MetricNote(Part):
    """A metric of an evaluation and how its values are put together."""

    name: str = Field(description="as in the column `metric`, such as psnr")
    aggregation: str = Field(description="such as: mean of per-frame PSNR; pooled beside it")
    definition: dict[str, JsonValue] | None = Field(
        default=None,
        description="all that makes the number: version, unit, which values are better, resize, backbone and its hash, "
        "thresholds; None in evaluations of earlier versions",
    )

    def differences(self, other: "MetricNote") -> list[str]:
        """Entries of the definition that differ; none where one of them is unknown."""
        if self.definition is None or other.definition is None:
            return []
        names = sorted({*self.definition, *other.definition} - _TOLD)
        return [name for name in names if self.definition.get(name) != other.definition.get(name)]


class RolloutCard(Record):
    """What was rolled out, how and by what, in an evaluation or during a training."""

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
    metrics: tuple[MetricNote, ...] = Field(description="empty as long as nothing was to be scored")
    ground_truth: tuple[GroundTruth, ...] = Field(description="of frames")
    image_size: tuple[int, int] = Field(description="(H, W)")
    fps: float = Field(gt=0)
    tokenizer_sha256: str = Field(description="of its weights")
    latents_sha256: str | None = Field(
        default=None, description="of the manifest of the latents set, whose context the rollouts begin with"
    )

    @model_validator(mode="after")
    def _counts_fit(self: _C) -> _C:
        if self.num_episodes != len(self.episodes) or len(set(self.episodes)) != len(self.episodes):
            raise ValueError(f"num_episodes is {self.num_episodes}, episodes are {', '.join(self.episodes)}")
        if self.end_frame <= self.context_frames:
            raise ValueError(f"end_frame {self.end_frame} leaves nothing after {self.context_frames} context frames")
        return self


class Card(RolloutCard):
    """What was evaluated, how and by what: all one needs to judge or repeat the numbers."""

    protocol: Key
    protocol_version: int = Field(ge=1)
    coarse_levels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(),
        description="levels beyond 0 that the plan generates, and whose latents are kept, too; empty where there are "
        "none, and in evaluations of earlier versions",
    )
    max_tokens_per_step: int
    token_evaluations_per_frame: float
    video_first_frame: int = Field(default=0, ge=0, description="the episode's frame that the videos begin with")
    checkpoint: str = Field(description="file name")
    checkpoint_sha256: str = Field(description="of its weights")
    data_sha256: str = Field(description="of the manifest of the FRAMES set, so that tokenizers can be compared")
    precision: Literal["32", "bf16"] = Field(default="32", description="arithmetic of the denoiser and the decoder")
    compiled: bool = Field(default=False, description="torch.compile was used; it changes the rounding alone")
    inverse_dynamics_sha256: str | None = Field(
        default=None, description="of the weights of the model that told actions from frames, if one did"
    )
    machine: str = Field(description="name of the GPU or CPU")
    torch_version: str

    @model_validator(mode="after")
    def _levels_ascend(self) -> "Card":
        if self.coarse_levels != tuple(sorted(set(self.coarse_levels))):
            raise ValueError(f"coarse_levels are {self.coarse_levels}, not ascending, each once")
        return self

    def differences(self, other: "Card") -> list[str]:
        """Fields that make two evaluations different protocols, so that their numbers must not share a curve."""
        names = ("protocol", "protocol_version", "split", "context_frames", "end_frame", "episodes", "image_size")
        changed = [name for name in (*names, "fps", "data_sha256") if getattr(self, name) != getattr(other, name)]
        notes = {note.name: note for note in other.metrics}
        for note in self.metrics:
            if note.name in notes and not _OTHER_NUMBERS.isdisjoint(note.differences(notes[note.name])):
                changed.append(f"metrics ({note.name})")
        return changed
