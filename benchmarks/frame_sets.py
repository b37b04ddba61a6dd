"""The same frames kept in several ways, for `benchmarks.loading`: made once in a folder, then found again."""

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import webdataset
from PIL import Image

from data_tools.cli import main as mstv_data
from mstv.data.schema import VIDEO, Manifest, atomic_path, read_manifest
from mstv.data.video import decode_video

JPEG_QUALITY = 95


@dataclass(frozen=True)
class FrameSets:
    """Blockworld episodes as raw episodes, as our shards, as mp4 of x264's defaults and as tars of JPEG.

    Attributes:
        folder: holds them.
        episodes: number recorded; about eight in ten are of the training split, and those are compared.
        num_frames: of each.
        size: (H, W) = (size, size).
    """

    folder: Path
    episodes: int
    num_frames: int
    size: int

    def make(self) -> None:
        """Make what is not there."""
        raw, count = self.folder / "raw", self.episodes
        command = ["record", "--episodes", str(count), "--frames", str(self.num_frames), "--size", str(self.size)]
        if mstv_data([*command, "--seed", "0", "--workers", "1", "--out", str(raw)]):
            raise SystemExit(f"{raw}: could not be recorded")
        per_tar = max(1, count // 8)
        command = ["shard", str(raw), str(self.shards), "--episodes-per-shard", str(per_tar), "--workers", "1"]
        if mstv_data(command):
            raise SystemExit(f"{self.shards}: could not be made")
        for key in self.keys:
            frames = None
            for path, write in ((self.default_mp4(key), _write_mp4), (self.jpeg_tar(key), _write_jpeg_tar)):
                if not path.is_file():
                    frames = decode_video(self.our_mp4(key)) if frames is None else frames
                    with atomic_path(path) as temporary:
                        write(frames, temporary)
        wanted = {path.name for key in self.keys for path in (self.default_mp4(key), self.jpeg_tar(key))}
        for path in [*self.folder.glob("default/*"), *self.folder.glob("jpeg/*")]:
            if path.name not in wanted:
                path.unlink()

    @property
    def shards(self) -> Path:
        """Folder of our shards."""
        return self.folder / "shards"

    @cached_property
    def manifest(self) -> Manifest:
        """Manifest of our shards."""
        return read_manifest(self.shards, "frames")

    @cached_property
    def keys(self) -> list[str]:
        """Episodes of the training split."""
        return [key for shard in self.manifest.of_split("train") for key in shard.episodes]

    def our_mp4(self, key: str) -> Path:
        """The raw episode's video, of closed groups of 8 pictures."""
        return self.folder / "raw" / f"{key}.{VIDEO}"

    def default_mp4(self, key: str) -> Path:
        """The same frames, encoded by x264 as it comes: groups of up to 250 pictures, with B-frames."""
        return self.folder / "default" / f"{key}.{VIDEO}"

    def jpeg_tar(self, key: str) -> Path:
        """The same frames, one JPEG a sample."""
        return self.folder / "jpeg" / f"{key}.tar"

    def bytes_per_frame(self) -> dict[str, float]:
        """Size on disk of each way."""
        frames = len(self.keys) * self.num_frames
        return {
            "shards": sum(shard.num_bytes for shard in self.manifest.of_split("train")) / frames,
            "our mp4": sum(self.our_mp4(key).stat().st_size for key in self.keys) / frames,
            "default mp4": sum(self.default_mp4(key).stat().st_size for key in self.keys) / frames,
            "jpeg tars": sum(self.jpeg_tar(key).stat().st_size for key in self.keys) / frames,
        }


def _write_mp4(frames: np.ndarray, path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(20))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _write_jpeg_tar(frames: np.ndarray, path: Path) -> None:
    key = path.name.split(".")[1]
    with path.open("wb") as file, webdataset.TarWriter(file, encoder=False) as writer:
        for number, frame in enumerate(frames):
            image = io.BytesIO()
            Image.fromarray(frame).save(image, "jpeg", quality=JPEG_QUALITY)
            writer.write({"__key__": f"{key}-{number:06d}", "jpg": image.getvalue()})
