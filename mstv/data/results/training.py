"""`run.json`: with what a run was trained, so that it can be repeated or explained."""

from pydantic import Field

from mstv.data.results.card import Part
from mstv.data.schema import Record, TokenizerSource


class GitState(Part):
    """The code that ran."""

    commit: str
    dirty: bool = Field(description="whether tracked files differed from the commit")


class DataNote(Part):
    """The set that was trained on."""

    manifest_sha256: str = Field(description="identity of the set, see `Manifest.sha256`")
    source_sha256: str | None = Field(default=None, description="latents: of the manifest of the frames set")
    tokenizer: TokenizerSource | None = Field(default=None, description="latents: the tokenizer that made them")


class Start(Part):
    """One process's part of a run: the first, or one that resumed."""

    time: str = Field(description="UTC, ISO 8601")
    step: int = Field(ge=0, description="steps that were done before")
    git: GitState | None = Field(default=None, description="None where mstv does not run from a git repository")
    versions: dict[str, str] = Field(description="of Python and packages")
    ranks: int = Field(gt=0, description="processes that train")
    device: str
    precision: str
    peak: str = Field(description="what throughput/flops_utilisation is counted against, on each rank")
    data: DataNote


class TrainingRecord(Record):
    """What config.yaml does not say of a training."""

    kind: str = Field(description="kind of model: tokenizer or diffusion")
    parameters: dict[str, int] = Field(description="`total`, and those of each part of the model")
    starts: tuple[Start, ...] = Field(min_length=1)
