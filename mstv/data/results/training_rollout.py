"""`media/rollout-STEP.json`: the numbers of the rollouts at one step of a training."""

from typing import Literal

from pydantic import Field

from mstv.data.results.card import GroundTruth, RolloutCard
from mstv.data.results.revisit_scores import REVISIT, REVISIT_STATISTIC, RevisitMeans
from mstv.data.results.scores import Series
from mstv.data.schema import Record


class TrainingRolloutCard(RolloutCard):
    """What was rolled out at a step of a training, how and by what."""

    step: int = Field(ge=0, description="of the optimiser, done when it was rolled out")
    weights: Literal["averaged", "trained"] = Field(description="the moving average (EMA), or those that are trained")
    precision: str = Field(description="of the training, such as bf16-mixed: of the denoiser and the decoder")
    data_sha256: str | None = Field(description="of the manifest of the FRAMES set; None where the latents do not tell")


class TrainingRollout(Record):
    """Numbers of one turn of the callback `LongRollout`."""

    card: TrainingRolloutCard
    scored_against: GroundTruth = Field(description="what the curves are scored against")
    psnr: dict[Series, tuple[float, ...]] = Field(description="dB at horizons 1, 2, ...: means over episodes")
    revisit: str = REVISIT
    revisit_statistic: str = REVISIT_STATISTIC
    revisits: tuple[RevisitMeans, ...] = Field(description="as in summary.json; empty where no place comes back")
