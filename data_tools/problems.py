"""The problems that a check finds, and the checks that raw episodes and shards have in common."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mstv.data.schema import ACTIONS, POSES, Episode, array_sha256
from mstv.data.shards import read_npy
from mstv.data.video import frame_planes
from mstv.errors import UserError


class Problems(list[str]):
    """Lines of text, one a problem."""

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note an error instead of raising it."""
        try:
            yield
        except UserError as error:
            self.append(str(error))

    def expect(self, where: str | Path, name: str, found: object, expected: object) -> None:
        """Note that field `name` is not as expected."""
        if found != expected:
            self.append(f"{where}: field {name} is {expected}, found {found}")

    def expect_arrays(
        self, where: str, members: Mapping[str, bytes], episode: Episode, num_frames: int, checksums: Mapping[str, str]
    ) -> np.ndarray | None:
        """Check actions and poses of `num_frames` frames; return the actions if they are sound.

        Args:
            where: what the names of the members are put behind.
            members: npy files by extension.
            episode: the record.
            num_frames: rows of each array.
            checksums: of the arrays, by name.
        """
        arrays: dict[str, np.ndarray] = {}
        for extension in (ACTIONS, POSES):
            if extension in members:
                with self.caught():
                    arrays[extension] = read_npy(members[extension], f"{where}.{extension}")
        actions = None
        if ACTIONS in arrays or ACTIONS not in members:  # else it was told of
            with self.caught():
                episode.actions.check(arrays.get(ACTIONS), num_frames, f"{where}.{ACTIONS}")
                actions = arrays.get(ACTIONS)
        if POSES in arrays:
            poses = arrays[POSES]
            self.expect(f"{where}.{POSES}", "shape", (poses.dtype, poses.shape), (np.float32, (num_frames, 5)))
            if poses.dtype == np.float32 and not np.isfinite(poses).all():
                self.append(f"{where}.{POSES}: holds a NaN or an infinity")
        for extension, array in arrays.items():
            name = extension.partition(".")[0]
            if name in checksums:
                self.expect(f"{where}.{extension}", f"checksums.{name}", array_sha256(array), checksums[name])
        return actions

    def expect_frames(
        self,
        where: str,
        video: bytes,
        size: tuple[int, int],
        num_frames: int,
        checksum: str | None,
        take: Callable[[bytes], None],
    ) -> None:
        """Decode a video and check the number, size and checksum of its frames.

        Args:
            where: names the video.
            video: mp4.
            size: (H, W) that each frame must have.
            num_frames: that there must be.
            checksum: of all frames.
            take: receives the planes of each frame.

        Raises:
            UserError: a frame does not decode or has another size.
        """
        digest = hashlib.sha256()
        count = 0
        height, width = size
        for planes in frame_planes(video, where):
            if len(planes) != height * width * 3 // 2:
                raise UserError(f"{where}: frame {count} is not {height}x{width}, as the record says")
            digest.update(planes)
            take(planes)
            count += 1
        self.expect(where, "num_frames", count, num_frames)
        self.expect(where, "checksums.frames", digest.hexdigest(), checksum)
