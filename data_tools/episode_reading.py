"""One episode as `verify` reads it: its frames are looked at as they come, then compared with its actions."""

from dataclasses import dataclass, field

import numpy as np

from data_tools.alignment import Evidence, evidence, has_motion
from data_tools.image_motion import MotionEstimate
from data_tools.video_health import health_warnings
from mstv.data.schema import Episode


@dataclass
class EpisodeReading:
    """What the frames of an episode say.

    Attributes:
        key: of the episode.
        num_frames: that were looked at.
        has_actions: whether there are sound actions for all frames.
        has_motion: whether it can say where its actions stand.
        evidence: where they stand; empty without motion.
        warnings: on the health of its video.
    """

    key: str
    num_frames: int
    has_actions: bool
    has_motion: bool
    evidence: Evidence = field(default_factory=Evidence)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.key}: {self.num_frames} frames, "
        if not self.has_actions:
            return text + "no actions"
        if not self.has_motion:
            return text + "too little motion, or too few changes of the action, to say where its actions stand"
        sure = "" if self.evidence.sure else ", undecided"
        return text + f"best shift {self.evidence.best:+d}, confidence {self.evidence.confidence:.1f}{sure}"


class EpisodeReader:
    """Takes the frames and the actions of one episode, part by part.

    Args:
        episode: its record.
    """

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self._estimate = MotionEstimate()
        self._actions: list[np.ndarray] = []

    def add_frame(self, planes: bytes) -> None:
        """Take the next frame, yuv420p planes of the record's size."""
        height, width = self._episode.height, self._episode.width
        self._estimate.add(np.frombuffer(planes, np.uint8, height * width).reshape(height, width))

    def add_actions(self, actions: np.ndarray) -> None:
        """Take the next actions, checked against the record: int16 (N,) or float32 (N, A)."""
        self._actions.append(actions)

    def reading(self) -> EpisodeReading | None:
        """What was seen; None if no frame was."""
        motion = self._estimate.motion()
        num_frames = len(motion.change)
        if not num_frames:
            return None
        actions = np.concatenate(self._actions) if self._actions else None
        if actions is not None and len(actions) != num_frames:
            actions = None  # what is missing is told of as a problem
        moves = actions is not None and has_motion(actions, motion)
        return EpisodeReading(
            key=self._episode.key,
            num_frames=num_frames,
            has_actions=actions is not None,
            has_motion=moves,
            evidence=evidence(actions, motion, self._episode.actions) if moves and actions is not None else Evidence(),
            warnings=health_warnings(motion, actions, self._episode.fps),
        )
