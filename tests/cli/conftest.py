"""One small run of the whole pipeline through the real commands, with the shipped demo configurations."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from data_tools.cli import main as mstv_data
from mstv.cli.main import main as mstv

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SMALL = [
    *["--trainer.max_steps", "4", "--trainer.val_check_interval", "2", "--trainer.log_every_n_steps", "1"],
    # Worker processes forked from a process that holds as many threads as a test session end slowly.
    *["--data.num_workers", "0", "--wandb", "false"],
]


@dataclass(frozen=True)
class Pipeline:
    """Folders of the pipeline."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def latents(self) -> Path:
        return self.root / "latents"

    @property
    def tokenizer(self) -> Path:
        return self.root / "tokenizer"

    @property
    def diffusion(self) -> Path:
        return self.root / "diffusion"

    def fit_tokenizer(self, run: Path, *more: str) -> list[str]:
        config = ["fit", "-c", str(EXPERIMENTS / "demo_tokenizer.yaml"), "--run", str(run)]
        small = [*SMALL, "--data.folder", str(self.shards), "--data.batch_size", "8"]
        return [*config, *small, *more]

    def fit_diffusion(self, run: Path, *more: str) -> list[str]:
        values = yaml.safe_load((EXPERIMENTS / "demo_diffusion.yaml").read_text())
        for callback in values["trainer"]["callbacks"]:
            if callback["class_path"].endswith("LongRollout"):
                # Four steps take no time, of which a rollout may take a share.
                callback["init_args"].update(every_steps=2, end_frame=70, sampling={"nfe": 2}, max_share=1e6)
        config = self.root / "diffusion.yaml"
        config.write_text(yaml.safe_dump(values))
        small = [*SMALL, "--data.folder", str(self.latents), "--data.batch_size", "2"]
        return ["fit", "-c", str(config), "--run", str(run), *small, *more]

    def evaluate(self, *more: str, command: str = "evaluate") -> list[str]:
        span = ["--context", "64", "--end", "100", "--nfe", "2", "--episodes", "1"]
        return [command, str(self.diffusion), *span, *more]


@pytest.fixture(scope="module")
def pipeline(trained_pipeline: Pipeline) -> Iterator[Pipeline]:
    """The same folders for every file of tests, but without the evaluations of another file."""
    yield trained_pipeline
    shutil.rmtree(trained_pipeline.diffusion / "evaluation", ignore_errors=True)


@pytest.fixture(scope="session")
def trained_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Recorded, sharded, both models trained for four steps, encoded."""
    made = Pipeline(tmp_path_factory.mktemp("pipeline"))
    record = ["record", "--engine", "blockworld", "--policy", "loopwalk", "--episodes", "6", "--frames", "128"]
    assert mstv_data([*record, "--size", "64", "--workers", "1", "--out", str(made.raw)]) == 0
    worlds = [json.loads(path.read_text())["source"]["world"] for path in sorted(made.raw.glob("blockworld-*.json"))]
    splits = ["--train-worlds", ",".join(worlds[:3]), "--validation-worlds", worlds[3]]
    shard = ["shard", str(made.raw), str(made.shards), *splits, "--test-worlds", ",".join(worlds[4:])]
    assert mstv_data([*shard, "--episodes-per-shard", "1", "--workers", "1"]) == 0
    assert mstv(made.fit_tokenizer(made.tokenizer, "--wandb", "true")) == 0
    assert mstv(["encode", str(made.shards), str(made.latents), "--tokenizer", str(made.tokenizer)]) == 0
    assert mstv(made.fit_diffusion(made.diffusion)) == 0
    return made
