"""Whether actions stand at the frames that they produced, found by comparing them with the motion of the picture.

Sign of a shift s, everywhere: the motion of the picture at frame t fits the actions of row t + s best.
s = 0: right, `actions[t]` produced frame t. s = +1: the action that produced frame t stands at row t + 1, so the
actions are 1 frame LATE and must be moved 1 row earlier. s = -1: it stands at row t - 1, they are 1 frame EARLY.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from data_tools.image_motion import Motion
from mstv.data.schema import ActionSpec

FARTHEST = 3
SHIFTS = tuple(range(-FARTHEST, FARTHEST + 1))
"""Shifts that are compared."""
SURE = 2.5
"""Confidence from which a shift is named: standard errors between it and every other shift. The actions of another
episode, which have nothing to do with the picture, reached 1.7 in 760 trials on walks of 512 frames."""
_BLOCK = 8
"""Frames that count as one observation, since neighbouring frames are alike."""
_CHANGES = 4
"""Changes of the action that an episode must hold to say anything."""
_MOVING = 1.0
"""Mean difference of luma between two frames from which the picture moves."""
_MOVING_SHARE = 0.05
_NOISE = 0.005
"""Shares of the width or height below which shifts of the picture are noise."""
_NOISE_CHANGE = 0.1
"""The same of the logarithm of the picture's change."""
_FREEDOM = 2.0
"""Degrees of freedom of Student's t, the distribution of what the fits leave."""
_ITERATIONS = 8
_SOME = 5
"""Keys that a warning names."""


def _pairs() -> np.ndarray:
    return np.zeros((len(SHIFTS), len(SHIFTS)))


@dataclass
class Evidence:
    """How much better each shift explains the picture than each other; sums over blocks of frames, so it can be added.

    Attributes:
        gain: [i, j] is the log-likelihood of shift i less that of shift j.
        square: the same, of the squares of the blocks' differences.
    """

    gain: np.ndarray = field(default_factory=_pairs)
    square: np.ndarray = field(default_factory=_pairs)

    def __iadd__(self, other: "Evidence") -> "Evidence":
        self.gain = self.gain + other.gain
        self.square = self.square + other.square
        return self

    @property
    def best(self) -> int:
        """The shift that explains most."""
        return SHIFTS[int(self.gain.sum(1).argmax())]

    @property
    def confidence(self) -> float:
        """Standard errors between the best shift and the next; 0 where there is no evidence."""
        row = SHIFTS.index(self.best)
        error = np.sqrt(self.square[row])
        ratio = np.divide(self.gain[row], error, out=np.zeros(len(SHIFTS)), where=error > 0)
        return float(np.delete(ratio, row).min())

    @property
    def sure(self) -> bool:
        """Whether the best shift may be named."""
        return self.confidence >= SURE


def has_motion(actions: np.ndarray, motion: Motion) -> bool:
    """Whether an episode can tell anything: its action changes a few times, and its picture moves now and then."""
    if len(actions) < 4 * FARTHEST:
        return False
    flat = actions.reshape(len(actions), -1)
    changes = (flat[2:] != flat[1:-1]).any(1).sum()
    return bool(changes >= _CHANGES and (motion.change[1:] > _MOVING).mean() >= _MOVING_SHARE)


def evidence(actions: np.ndarray, motion: Motion, spec: ActionSpec) -> Evidence:
    """Compare the shifts on one episode.

    The shifts of the picture and the logarithm of its change are each fitted, by least squares, to the actions moved by
    every shift, on the same frames; the residuals of the fits are compared block by block.

    Args:
        actions: int16 (T,) or float32 (T, A).
        motion: of the T frames.
        spec: what the actions are, not `none`.
    """
    columns = _columns(actions, spec)
    # The same frames for every shift; frame 0 has no motion, and its action is null.
    frames = np.arange(1 + FARTHEST, len(actions) - FARTHEST)
    likelihood = np.zeros((len(SHIFTS), len(frames)))
    for target, noise in ((motion.right, _NOISE), (motion.down, _NOISE), (np.log1p(motion.change), _NOISE_CHANGE)):
        fits = [_fit(columns[frames + shift], target[frames].astype(np.float64), noise) for shift in SHIFTS]
        scale = min(scale for _, scale in fits)
        likelihood += [-0.5 * (_FREEDOM + 1) * np.log1p(residual**2 / (_FREEDOM * scale**2)) for residual, _ in fits]
    blocks = np.add.reduceat(likelihood, np.arange(0, len(frames), _BLOCK), axis=1)
    difference = blocks[:, None] - blocks[None]
    return Evidence(difference.sum(2), (difference**2).sum(2))


def _fit(inputs: np.ndarray, target: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Residuals (N,) of a linear fit of `target` (N,) to `inputs` (N, C), and their scale, at least `noise`.

    The residuals are taken for Student's t, since a shift that phase correlation gets wrong is wrong by far.
    """
    inputs = np.concatenate([np.ones((len(inputs), 1)), inputs], 1)
    weight = np.ones(len(target))
    ridge = 1e-6 * len(target) * np.diag(np.maximum((inputs**2).mean(0), 1e-6))
    for _ in range(_ITERATIONS):
        weighted = inputs * weight[:, None]
        residual = target - inputs @ np.linalg.solve(weighted.T @ inputs + ridge, weighted.T @ target)
        scale = max(noise, float(np.sqrt((weight * residual**2).mean())))
        weight = (_FREEDOM + 1) / (_FREEDOM + (residual / scale) ** 2)
    return residual, scale


def _columns(actions: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """The actions as inputs of a linear fit: float64 (T, C). Signs turn the picture, absolute values change it."""
    if spec.kind == "discrete":
        return (actions[:, None] == np.arange(spec.size)).astype(np.float64)
    values = actions.astype(np.float64)
    return np.concatenate([values, np.abs(values)], 1)


def alignment_warnings(episodes: Mapping[str, Evidence]) -> list[str]:
    """What to tell of a set, one line for each shift that some of its episodes show.

    Args:
        episodes: evidence of each episode with motion, by key.
    """
    named: dict[int, list[str]] = {}
    together = Evidence()
    for key, found in episodes.items():
        together += found
        if found.sure and found.best:
            named.setdefault(found.best, []).append(key)
    warnings = []
    for shift, keys in sorted(named.items(), key=lambda item: -len(item[1])):
        some = ", ".join(keys[:_SOME]) + (", ..." if len(keys) > _SOME else "")
        count = f"best shift {shift:+d} in {len(keys)} of {len(episodes)} episodes with motion: {some}"
        warnings.append(f"actions look {_words(shift)} ({count}): {_remedy(shift)}")
    if together.sure and together.best and together.best not in named:
        shift = together.best
        count = f"best shift {shift:+d} of {len(episodes)} episodes with motion taken together, none alone is sure"
        warnings.append(f"actions look {_words(shift)} ({count}): {_remedy(shift)}")
    return warnings


def _words(shift: int) -> str:
    return f"{abs(shift)} frame{'s' if abs(shift) > 1 else ''} {'late' if shift > 0 else 'early'}"


def _remedy(shift: int) -> str:
    rows = f"{abs(shift)} row{'s' if abs(shift) > 1 else ''} {'earlier' if shift > 0 else 'later'}"
    return f"row t must hold the action that produced frame t, so import or record them {rows}, then shard again"
