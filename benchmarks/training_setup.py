"""What `benchmarks.training` trains: the settings of a run, its data, and the command line of `mstv fit` for both."""

import contextlib
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.latents_reading import write_set
from benchmarks.rollout import CHANNELS, LEVELS, SIZES
from data_tools.cli import main as mstv_data
from mstv.data.schema import MANIFEST
from mstv.levels import Levels

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RECIPE = "recipe"
"""Size, batch size and plan are those of the demo's recipe, and so are all other settings."""
FOREVER = 10**9
EPISODES = {"latents-64": 12, "latents-256": 4, "frames-64": 48, "frames-256": 12}
"""Episodes of a set; those of frames have 512 frames, as the demo's have, those of latents 1024."""


@dataclass(frozen=True)
class Run:
    """One way to train one model.

    Attributes:
        model: `diffusion` or `tokenizer`.
        size: `recipe`, or a name in `benchmarks.rollout.SIZES`: then 256x256, four levels, the published plan.
        precision: `32` or `bf16`.
        batch: samples of a batch; 0 for the recipe's.
        loop: `framework`, what `mstv fit` runs, or `plain`, the same without Lightning.
        attention: of the denoiser; the tokenizer has only `joint`.
        modulation: `grouped`, computed per (frame, level), or `per_token` as in the published code.
        compiled: whether the blocks are.
        noise_draws: of a context.
        kernel: of the attention: `default`, PyTorch's choice, or `flash` or `cudnn`.
        workers: processes that load; -1 for the recipe's.
    """

    model: Literal["diffusion", "tokenizer"]
    size: str
    precision: str
    batch: int
    loop: Literal["plain", "framework"] = "plain"
    attention: Literal["isolated", "joint"] = "isolated"
    modulation: Literal["grouped", "per_token"] = "grouped"
    compiled: bool = False
    noise_draws: int = 1
    kernel: Literal["default", "flash", "cudnn"] = "default"
    workers: int = -1

    @property
    def name(self) -> str:
        """Such as `plain isolated grouped eager`: what tells it from the others of its contest."""
        words = [self.loop, self.attention, self.modulation, "compiled" if self.compiled else "eager"]
        if self.model == "tokenizer":
            del words[1:3]
        if self.noise_draws > 1:
            words.append(f"{self.noise_draws} draws")
        if self.kernel != "default":
            words.append(self.kernel)
        return " ".join(words)

    def differs_in(self, other: "Run") -> list[str]:
        """Names of the settings that differ."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]

    @property
    def data(self) -> str:
        """Name of the set that it trains on."""
        return f"{'latents' if self.model == 'diffusion' else 'frames'}-{64 if self.size == RECIPE else 256}"

    def arguments(self, folder: Path, run: Path, accelerator: str) -> list[str]:
        """Command line of `mstv fit`: trains without end and without validation.

        Args:
            folder: of the sets.
            run: the run directory; the experiment's file is written beside it.
            accelerator: `cpu` or `gpu`.
        """
        if self.size == RECIPE:
            experiment = EXPERIMENTS / f"demo_{self.model}.yaml"
        else:
            experiment = run.with_suffix(".yaml")
            experiment.write_text(yaml.safe_dump(self._experiment()))
        options = {
            "run": run,
            "data.folder": folder / self.data,
            "wandb": "false",
            "trainer.accelerator": accelerator,
            "trainer.devices": 1,
            "trainer.precision": "bf16-mixed" if self.precision == "bf16" else "32-true",
            "trainer.max_steps": FOREVER,
            "trainer.limit_val_batches": 0,
        }
        if self.batch:
            options["data.batch_size"] = self.batch
        if self.workers != -1:
            options["data.num_workers"] = self.workers
        if self.model == "diffusion":
            options |= {"model.attention": self.attention, "model.noise_draws": self.noise_draws}
        return ["-c", str(experiment), *(part for name, value in options.items() for part in (f"--{name}", str(value)))]

    def _experiment(self) -> dict[str, Any]:
        """The published shapes at this size, and for the rest what the demo's recipe sets."""
        size = asdict(SIZES[self.size])
        if self.model == "diffusion":
            model: dict[str, Any] = {"size": size, "optimiser": {"learning_rate": 1e-3}}
            data = {"class_path": "mstv.data.latents.LatentsDataModule"}
        else:
            model = {"latent_channels": CHANNELS, "encoder": size, "decoder": size}
            data = {"class_path": "mstv.data.frames.FramesDataModule"}
        experiment: dict[str, Any] = {
            "levels": LEVELS.to_dict(),
            "model": {"class_path": f"mstv.{self.model}.module.{self.model.capitalize()}Module", "init_args": model},
            "data": data,
            "trainer": {
                "max_epochs": -1,
                "num_sanity_val_steps": 0,
                "gradient_clip_val": 1.0,
                "log_every_n_steps": 25,
                "enable_model_summary": False,
                "callbacks": [{"class_path": "mstv.callbacks.ema.EMA", "init_args": {"decay": 0.999}}],
            },
        }
        if self.model == "diffusion":
            plan = {"windows": [3, 12, 48, 192], "extra_context_tokens": 768}
            experiment["plan"] = {"class_path": "mstv.rollout.coarse_to_fine.CoarseToFine", "init_args": plan}
        return experiment


def make_set(folder: Path, name: str, episodes: int = 0) -> None:
    """Make a set where it is not there: random latents, or recorded frames.

    Args:
        folder: of the sets.
        name: in `EPISODES`.
        episodes: another number of them; 0 for that of `EPISODES`.
    """
    path = folder / name
    if (path / MANIFEST).is_file():
        return
    if name.startswith("latents"):
        path.mkdir(parents=True)
        levels = LEVELS if name == "latents-256" else Levels((64, 64), (16, 16), 3)
        write_set(path, episodes or EPISODES[name], levels)
        return
    raw, size = folder / f"{name}-raw", name.split("-")[1]
    record = ["record", "--episodes", str(episodes or EPISODES[name]), "--frames", "512", "--size", size]
    shard = ["shard", str(raw), str(path), "--episodes-per-shard", "4" if size == "64" else "1"]
    with contextlib.redirect_stdout(sys.stderr):
        for command in ([*record, "--out", str(raw)], shard):
            if mstv_data(command):
                raise SystemExit(f"{path}: could not be made")
