"""Speed of the data loaders on one core: frames from shards against other ways to keep them, and crops of latents.

python -m benchmarks.loading --folder bench --json benchmarks/results/loading.json
python -m benchmarks.loading --quick                        # little data in a temporary folder, about two minutes

Frames: blockworld episodes of 128x128 are recorded and sharded once into --folder; then random frames become batches by
(a) ours: the training stream of FramesDataModule, which decodes with PyAV, of each group of pictures no more than is
    wanted; (v) the same stream, decoded by decord; (t) by torchcodec, if it is installed;
(b) opening the episode's mp4 with decord and seeking, for every frame: our mp4, with a keyframe every 8 frames;
(d) the same with x264's default groups of up to 250 pictures, which is what most mp4 have;
(w) tars of one JPEG a frame, read by webdataset through a shuffle buffer.
Latents: random float16 values in shards of our writer, of the published shapes and of those of `mstv demo`; crops of
LatentsDataModule, the bytes read for each byte used, and the tokens of training steps of the demo's model.

The procedures alternate, a round of each after the other, on one core with one thread. Files are warm in the page
cache, except where the bytes that come from the device are counted.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import av
import decord
import numpy as np
import torch
import webdataset
from PIL import Image

from benchmarks.blockworld import machine
from benchmarks.frame_sets import JPEG_QUALITY, FrameSets
from benchmarks.latents_reading import LEVELS as PUBLISHED_LEVELS
from benchmarks.latents_reading import PLAN as PUBLISHED_PLAN
from benchmarks.latents_reading import write_set
from mstv.data import video
from mstv.data.frames import FramesDataModule
from mstv.data.latents import LatentsDataModule
from mstv.data.schema import MANIFEST, VIDEO
from mstv.data.shards import index_members
from mstv.diffusion.module import DiffusionModule
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.transformer.size import TransformerSize

BATCH = 64
JPEG_SHUFFLE = 1000
DEMO_PLAN, DEMO_LEVELS = CoarseToFine([2, 8, 32], 32), Levels((64, 64), (16, 16), 3)
LATENT_CHANNELS = 32
LATENT_SETS = {"published": (PUBLISHED_PLAN, PUBLISHED_LEVELS, 8), "demo": (DEMO_PLAN, DEMO_LEVELS, 16)}
"""Plan, levels and batch size."""

Run = Callable[[int], int]
"""Does the work of round i and says how many frames or tokens it was."""


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Bind this process to one core and torch to one thread."""
    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)


def rounds(runs: dict[str, Run], count: int) -> dict[str, dict[str, object]]:
    """Rates of each, in alternating rounds: a second of the clock, and a second of this process's CPU time.

    Another process on the core lowers the first and hardly touches the second.
    """
    rates: dict[str, list[float]] = {name: [] for name in runs}
    cpu_rates: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(count):
        for name, run in runs.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            done = run(index)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
            rates[name].append(done / seconds)
            cpu_rates[name].append(done / cpu)
            print(f"{name}: {done / seconds:.0f} a second, {done / cpu:.0f} a CPU second", file=sys.stderr)
    return {
        name: {
            "per_second": statistics.median(rates[name]),
            "per_second_all": rates[name],
            "per_cpu_second": statistics.median(cpu_rates[name]),
            "per_cpu_second_all": cpu_rates[name],
        }
        for name in runs
    }


def ratio(results: dict[str, dict[str, object]], fast: str, slow: str, field: str = "per_second_all") -> float:
    """Median over the rounds of how many times as fast one is as the other."""
    pairs = zip(results[fast][field], results[slow][field], strict=True)  # type: ignore[call-overload]
    return statistics.median(one / other for one, other in pairs)


def our_frames(sets: FrameSets) -> Run:
    """(a): an epoch of our training stream a round."""
    data = FramesDataModule(sets.shards, Levels((sets.size, sets.size), (2, 2), 1), BATCH, num_workers=0)
    data.setup("fit")
    loader = data.train_dataloader()
    return lambda _: sum(len(batch.images) for batch in loader)


def with_decoder(run: Run, decode: Callable[..., np.ndarray]) -> Run:
    """The same, decoded by another library."""

    def patched(index: int) -> int:
        with mock.patch("mstv.data.frames.decode_frames", decode):
            return run(index)

    return patched


def decord_frames(data: bytes, indices: np.ndarray, where: str) -> np.ndarray:
    """As `mstv.data.video.decode_frames`; the check comes first because decord crashes on damaged files."""
    video._check_index(data, where)
    return decord.VideoReader(io.BytesIO(data), num_threads=1).get_batch(indices.tolist()).asnumpy()


def torchcodec_decoder() -> Callable[..., np.ndarray] | None:
    """As `mstv.data.video.decode_frames`; None where torchcodec cannot be used."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError):
        return None

    def decode(data: bytes, indices: np.ndarray, _: object) -> np.ndarray:
        decoder = VideoDecoder(data, dimension_order="NHWC", num_ffmpeg_threads=1)
        return decoder.get_frames_at([int(index) for index in indices]).data.numpy()

    return decode


def seeking(paths: list[Path], num_frames: int, count: int) -> Run:
    """(b) and (d): an mp4 is opened for every random frame."""

    def run(index: int) -> int:
        rng = np.random.default_rng(index)
        for _ in range(0, count, BATCH):
            images = []
            for _ in range(BATCH):
                reader = decord.VideoReader(str(paths[rng.integers(len(paths))]), num_threads=1)
                images.append(reader[int(rng.integers(num_frames))].asnumpy().transpose(2, 0, 1))
            torch.from_numpy(np.stack(images))
        return -(-count // BATCH) * BATCH

    return run


def jpeg_frames(tars: list[Path], count: int) -> Run:
    """(w): JPEG tars, read by webdataset."""

    def run(index: int) -> int:
        order = np.random.default_rng(index).permutation(len(tars))
        images = webdataset.WebDataset([str(tars[place]) for place in order], shardshuffle=False)
        images = images.shuffle(JPEG_SHUFFLE, seed=index).decode("rgb8").to_tuple("jpg")
        batch: list[np.ndarray] = []
        done = 0
        for (image,) in images:
            batch.append(image.transpose(2, 0, 1))
            if len(batch) == BATCH:
                torch.from_numpy(np.stack(batch))
                done, batch = done + BATCH, []
                if done >= count:
                    break
        return done

    return run


def measure_frames(sets: FrameSets, arguments: argparse.Namespace) -> dict[str, object]:
    """All ways to keep frames."""
    ours = our_frames(sets)
    runs = {"a ours": ours, "v ours, decord": with_decoder(our_frames(sets), decord_frames)}
    if decode := torchcodec_decoder():
        runs["t ours, torchcodec"] = with_decoder(our_frames(sets), decode)
    runs["b our mp4, open and seek"] = seeking(
        [sets.our_mp4(key) for key in sets.keys], sets.num_frames, arguments.seeks
    )
    runs["d default mp4, open and seek"] = seeking(
        [sets.default_mp4(key) for key in sets.keys], sets.num_frames, arguments.seeks
    )
    runs["w jpeg tars"] = jpeg_frames([sets.jpeg_tar(key) for key in sets.keys], arguments.jpegs)
    for run in runs.values():
        run(0)  # fills the page cache
    results = rounds(runs, arguments.rounds)
    return {
        "frames": results,
        "ratio_open_and_seek": ratio(results, "a ours", "b our mp4, open and seek"),
        "ratio_open_and_seek_default_mp4": ratio(results, "a ours", "d default mp4, open and seek"),
        "ratio_decord": ratio(results, "a ours", "v ours, decord"),
        "ratio_jpeg_tars": ratio(results, "a ours", "w jpeg tars"),
        "bytes_per_frame": sets.bytes_per_frame(),
        "jpeg_quality": JPEG_QUALITY,
        "episodes": len(sets.keys),
        "frames_an_episode": sets.num_frames,
        "bytes_from_device_per_byte_of_video": _frame_bytes(sets, ours),
    }


def _frame_bytes(sets: FrameSets, run: Run) -> float | None:
    used = 0
    tars = [sets.shards / shard.name for shard in sets.manifest.of_split("train")]
    for tar in tars:
        used += sum(members[VIDEO][1] for members in index_members(tar).values())
    with from_device(tars) as count:
        run(0)
    return count[0] / used if count else None


@contextlib.contextmanager
def from_device(paths: list[Path]) -> Iterator[list[int]]:
    """Bytes that the block reads from the device, in the list it yields; it stays empty where they are not counted."""
    forget(paths)
    before = counter("read_bytes")
    count: list[int] = []
    yield count
    if (read := counter("read_bytes") - before) > 0:
        count.append(read)


def forget(paths: list[Path]) -> None:
    """Put files out of the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def counter(name: str) -> int:
    """A counter of /proc/self/io: `rchar` is what was asked for, `read_bytes` what came from the device."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines[name])


def crops(data: LatentsDataModule) -> Run:
    """Batches of an epoch; tokens are counted."""
    loader = data.train_dataloader()
    return lambda _: sum(batch.tokens.shape[0] * batch.tokens.shape[1] for batch in loader)


def training(data: LatentsDataModule, steps: int) -> Run:
    """Steps of the demo's model, forwards, backwards and the update, on batches that are there already."""
    torch.manual_seed(0)
    module = DiffusionModule(
        DEMO_LEVELS, DEMO_PLAN, LATENT_CHANNELS, TransformerSize(192, 4, 6), data.action_kind, data.num_actions
    )
    optimiser, _ = module.optimiser.build(module)
    stream = data.training_stream(0, 1)
    batches = [data.on_after_batch_transfer(stream.batch(index), 0) for index in range(steps)]

    def run(_: int) -> int:
        for index, batch in enumerate(batches):
            module.training_step(batch, index)["loss"].backward()
            optimiser.step()
            optimiser.zero_grad()
        return sum(batch.tokens.shape[0] * batch.tokens.shape[1] for batch in batches)

    return run


def measure_latents(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Crops of both plans, and training of the demo's model."""
    runs: dict[str, Run] = {}
    read: dict[str, dict[str, float | None]] = {}
    for name, (plan, levels, batch_size) in LATENT_SETS.items():
        place = folder / f"latents-{name}"
        if not (place / MANIFEST).is_file():
            write_set(place, arguments.latent_episodes, levels)
        data = LatentsDataModule(
            place, plan, levels, batch_size, num_workers=0, epoch_batches=arguments.batches, validation_batches=16
        )
        data.setup("fit")
        runs[f"crops, {name} plan"] = crops(data)
        read[name] = latent_bytes(data)
        if name == "demo":
            runs["training, demo model"] = training(data, arguments.steps)
    for run in runs.values():
        run(0)
    results = rounds(runs, arguments.rounds)
    for name, (plan, levels, _) in LATENT_SETS.items():
        tokens = plan.plan(levels.num_tokens(0)).num_tokens[-1]
        row = results[f"crops, {name} plan"]
        row["crops_per_second"] = row["per_second"] / tokens  # type: ignore[operator]
        row |= read[name]
    return {
        "tokens": results,
        "ratio_training": ratio(results, "crops, demo plan", "training, demo model"),
        "latent_episodes": arguments.latent_episodes,
    }


def latent_bytes(data: LatentsDataModule) -> dict[str, float | None]:
    """Bytes read for each byte of the tokens of an epoch, the index apart: asked for, and from the device.

    The files leave the page cache before every batch, so that what two batches share is counted twice, as it would be
    in a set that is larger than the memory.
    """
    store, tars = data.store, sorted(data.folder.glob("*.tar"))
    with from_device(tars) as index:
        for key in store.keys("train"):
            store.actions(key)
    asked = used = 0
    device: list[int] = []
    batches = iter(data.train_dataloader())
    for _ in range(data.epoch_batches):
        before = counter("rchar")
        with from_device(tars) as count:
            used += next(batches).tokens.numel() * 2
        asked += counter("rchar") - before
        device += count
    return {
        "bytes_asked_per_byte_used": asked / used,
        "bytes_from_device_per_byte_used": sum(device) / used if device else None,
        "bytes_from_device_for_the_index": index[0] if index else None,
        "bytes_of_the_set": sum(tar.stat().st_size for tar in tars),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the data are made, once (default: a temporary folder)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default: 5)")
    parser.add_argument("--episodes", type=int, default=24, help="blockworld episodes (default: 24)")
    parser.add_argument("--frames", type=int, default=1024, help="frames of each (default: 1024)")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side (default: 128)")
    parser.add_argument("--seeks", type=int, default=512, help="frames of a round of (b) and (d) (default: 512)")
    parser.add_argument("--jpegs", type=int, default=4096, help="frames of a round of (w) (default: 4096)")
    parser.add_argument("--latent-episodes", type=int, default=12, help="of 1024 frames, each set (default: 12)")
    parser.add_argument("--batches", type=int, default=100, help="of latents a round (default: 100)")
    parser.add_argument("--steps", type=int, default=6, help="training steps a round (default: 6)")
    parser.add_argument("--quick", action="store_true", help="5 episodes of 256 frames, 3 rounds, fewer batches")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.episodes, options.frames = 3, 5, 256
        options.seeks, options.jpegs, options.latent_episodes, options.batches, options.steps = 128, 512, 2, 20, 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        sets = FrameSets(folder, options.episodes, options.frames, options.size)
        with contextlib.redirect_stdout(sys.stderr):
            sets.make()
        with one_core():
            load = [os.getloadavg()[0]]
            results = measure_frames(sets, options)
            load.append(os.getloadavg()[0])
            results |= measure_latents(folder, options)
            load.append(os.getloadavg()[0])
    versions = {"torch": torch.__version__, "decord": decord.__version__, "av": av.__version__}
    versions |= {"webdataset": webdataset.__version__, "pillow": Image.__version__}
    results = {"machine": machine(), "versions": versions, "load_averages": load, "rounds": options.rounds} | results
    text = json.dumps(results, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
