"""The rows of the LoopWalk table, in the order in which they are trained."""

from dataclasses import dataclass, replace
from pathlib import Path

from mstv.data.results import SUMMARY, evaluation_folder

HERE = Path(__file__).parent
CONTEXT, END = 256, 1024
PROTOCOL = "loopwalk"
LOOK_BACK, LOOK_BACK_END = "loopwalk-look-back", 800
"""Of the walks that look away and back from one spot."""
TOKENIZER, LATENTS = "tokenizer", "latents"
EPISODES = {"mini": 16, "standard": 50}
"""Test episodes that are rolled out."""
METRICS = ("--metrics", "psnr", "ssim", "sharpness", "colour_drift", "frozen", "token_drift")
FEW_EVALUATIONS = ("--sampler", "dpm_solver", "--nfe", "12")
MANY_EVALUATIONS = ("--sampler", "ddim", "--nfe", "50")


@dataclass(frozen=True)
class Row:
    """One training and its evaluation.

    Attributes:
        plan: name of its layer.
        attention: what context tokens see.
        seed: of the initial weights, the noise and the order of the data.
        steps: of the training; None for those of the recipe.
    """

    plan: str
    attention: str = "isolated"
    seed: int = 0
    steps: int | None = None

    @property
    def name(self) -> str:
        """Of the run."""
        return f"{self.plan}-{self.attention}-{self.seed}" + (f"-{self.steps}" if self.steps else "")

    def run(self, folder: Path) -> Path:
        """Where it trains, in the folder of its set."""
        return folder / "runs" / self.name

    def evaluation(self, folder: Path, protocol: str = PROTOCOL) -> Path:
        """Where its rollouts are."""
        return evaluation_folder(self.run(folder), protocol)

    def is_finished(self, folder: Path, protocol: str = PROTOCOL) -> bool:
        """Whether it is trained and evaluated."""
        return (self.evaluation(folder, protocol) / SUMMARY).is_file()

    @property
    def training(self) -> tuple[str, ...]:
        """Options of `mstv fit`; the schedule of the learning rate ends with the training."""
        seeds = ("--model.seed", str(self.seed), "--data.seed", str(self.seed))
        if self.steps is None:
            return seeds
        return (*seeds, "--trainer.max_steps", str(self.steps), "--model.optimiser.decay_steps", str(self.steps))

    @property
    def sampling(self) -> tuple[str, ...]:
        """Options of `mstv evaluate`: joint attention is sampled as published."""
        return MANY_EVALUATIONS if self.attention == "joint" else FEW_EVALUATIONS

    def layers(self, size: str) -> list[Path]:
        """The files that `mstv fit` reads."""
        names = ["diffusion", self.plan, *(["joint"] if self.attention == "joint" else [])]
        return [HERE / size / f"{name}.yaml" for name in names]


ROWS = (
    Row("coarse_to_fine"),
    Row("framepack"),
    Row("full_resolution"),
    Row("upscale"),
    *(Row(plan, seed=seed) for seed in (1, 2) for plan in ("coarse_to_fine", "framepack", "full_resolution")),
    Row("framepack_latents"),
    Row("coarse_to_fine", attention="joint"),
)


def rows_of(steps: int | None) -> tuple[Row, ...]:
    """All rows, trained for so many steps."""
    return tuple(replace(row, steps=steps) for row in ROWS)
