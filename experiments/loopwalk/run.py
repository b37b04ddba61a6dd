"""Train and evaluate the rows of the LoopWalk table; an interrupted run goes on, a finished one is left alone.

Command:  nohup python -m experiments.loopwalk.run mini loopwalk/mini &
Hardware: mini 2 CPU cores, 30 to 55 minutes a row; standard one GPU. Two may run beside each other on rows of their own
(`--rows`), once the latents are there; `--rows` without a name prepares just these.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from data_tools import options
from experiments.loopwalk.frozen_set import FrozenSet, FrozenSplit, claim, read_sets
from experiments.loopwalk.make_set import SHARDS, make_set
from experiments.loopwalk.rows import (
    CONTEXT,
    END,
    EPISODES,
    HERE,
    LATENTS,
    LOOK_BACK,
    LOOK_BACK_END,
    METRICS,
    PROTOCOL,
    ROWS,
    TOKENIZER,
    Row,
    rows_of,
)
from experiments.loopwalk.table import write_results
from mstv.data.schema import MANIFEST
from mstv.errors import UserError
from mstv.termination import EXIT_CODE, Terminated, terminable

LOOK_BACK_SET = "look-back"
"""Its folder, and the end of its name in sets.json."""
QUICK_FRAMES, QUICK_CONTEXT, QUICK_END = 192, 128, 160


class Benchmark:
    """The stages of one size, each the command that a user would type.

    Args:
        size: `mini` or `standard`.
        folder: of everything it makes.
        quick: a few steps on a few short episodes, which checks the pipeline only.
    """

    def __init__(self, size: str, folder: Path, quick: bool = False) -> None:
        self.size, self.folder = size, folder
        sets = {name: _quick(frozen) if quick else frozen for name, frozen in read_sets().items()}
        self.frozen, self.look_back = sets[size], sets[f"{size}-{LOOK_BACK_SET}"]
        self.fit_options = ["--trainer.max_steps", "4", "--trainer.val_check_interval", "2"] if quick else []
        self.context = QUICK_CONTEXT if quick else CONTEXT
        self.ends = {PROTOCOL: QUICK_END if quick else END, LOOK_BACK: QUICK_END if quick else LOOK_BACK_END}
        self.episodes = 2 if quick else EPISODES[size]

    def prepare(self) -> None:
        """Make the set, train the tokenizer, encode, if that was not done.

        Raises:
            UserError: the folder is of another set, or of `quick` and this is not, or the other way round.
        """
        claim(self.folder, self.frozen)
        if not (self.folder / LATENTS / MANIFEST).is_file():
            make_set(self.frozen, self.folder)
            recipe = ["-c", str(HERE / self.size / "tokenizer.yaml"), "--run", str(self.folder / TOKENIZER)]
            data = ["--data.folder", str(self.folder / SHARDS)]
            _mstv("fit", *recipe, *data, "--wandb", "false", *self.fit_options)
            self._encode(self.folder)
        look_back = self.folder / LOOK_BACK_SET
        if not (look_back / LATENTS / MANIFEST).is_file():
            make_set(self.look_back, look_back)
            self._encode(look_back)

    def _encode(self, made: Path) -> None:
        """Latents of a set, beside its shards."""
        _mstv("encode", str(made / SHARDS), str(made / LATENTS), "--tokenizer", str(self.folder / TOKENIZER))

    def train_and_evaluate(self, row: Row) -> None:
        """What is missing of a row."""
        run = row.run(self.folder)
        if row.is_finished(self.folder) and row.is_finished(self.folder, LOOK_BACK):
            print(f"{run}: already there")
            return
        if not row.is_finished(self.folder):
            recipe = [word for path in row.layers(self.size) for word in ("-c", str(path))]
            latents = ["--data.folder", str(self.folder / LATENTS)]
            _mstv("fit", *recipe, "--run", str(run), *latents, *row.training, "--wandb", "false", *self.fit_options)
            self._evaluate(row, PROTOCOL)
        self._evaluate(row, LOOK_BACK, "--latents", str(self.folder / LOOK_BACK_SET / LATENTS))

    def _evaluate(self, row: Row, protocol: str, *options: str) -> None:
        span = ["--context", str(self.context), "--end", str(self.ends[protocol]), "--episodes", str(self.episodes)]
        span += ["--batch-size", str(min(16, self.episodes)), "--protocol", protocol]
        _mstv("evaluate", str(row.run(self.folder)), *options, *span, *row.sampling, *METRICS)

    def compare(self, rows: Sequence[Row]) -> None:
        """The page of those that are finished: training curves, curves, numbers, cost and videos side by side."""
        finished = [str(row.run(self.folder)) for row in rows if row.is_finished(self.folder)]
        name = f"index-{rows[0].steps}.html" if rows[0].steps else "index.html"
        page = ["--out", str(self.folder / name), "--title", f"LoopWalk {self.size}"]
        _mstv("compare", *finished, "--protocol", PROTOCOL, *page)


def _quick(frozen: FrozenSet) -> FrozenSet:
    splits = {name: FrozenSplit(episodes=2) for name in frozen.splits}
    return frozen.model_copy(update={"num_frames": QUICK_FRAMES, "splits": splits})


def _mstv(*arguments: str) -> None:
    """Run a command of mstv, which ends in order when this process is asked to end."""
    print(f"\n{time.strftime('%H:%M:%S')} mstv {' '.join(arguments)}", flush=True)
    with subprocess.Popen([sys.executable, "-m", "mstv.cli.main", *arguments]) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt as stop:
            # Ctrl-C reaches the command by itself, SIGTERM this process alone.
            if isinstance(stop, Terminated):
                process.terminate()
            process.wait()
            raise
    if code in (130, EXIT_CODE):
        raise KeyboardInterrupt
    if code:
        raise UserError(f"mstv {arguments[0]} failed with exit code {code}, see its message above")


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.run", description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=sorted(EPISODES))
    parser.add_argument("folder", type=options.folder, help="of everything it makes, the set included")
    parser.add_argument(
        "--rows", nargs="*", choices=names, default=names, metavar="ROW", help=f"of {', '.join(names)} (default: all)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few steps on a few episodes, in another folder: checks the pipeline only",
    )
    parser.add_argument("--steps", type=options.positive, help="train for so many, into rows and a table of their own")
    arguments = parser.parse_args(argv)
    rows = rows_of(arguments.steps)
    benchmark = Benchmark(arguments.size, arguments.folder, arguments.quick)
    try:
        with terminable():
            benchmark.prepare()
            for name, row in zip(names, rows, strict=True):
                if name in arguments.rows:
                    benchmark.train_and_evaluate(row)
                    # After every row, so that there is always a table of what is done.
                    print(write_results(arguments.size, arguments.folder, steps=arguments.steps))
            if arguments.rows:
                benchmark.compare(rows)
    except UserError as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return EXIT_CODE if isinstance(stop, Terminated) else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
