"""Motion of the picture: known shifts are found, sizes do not matter, pictures without content do not move."""

import numpy as np
import pytest

from data_tools.image_motion import Motion, MotionEstimate

SCENE = np.random.default_rng(0).integers(0, 256, (48, 96)).astype(np.uint8)


def motion_of(frames: list[np.ndarray]) -> Motion:
    estimate = MotionEstimate()
    for frame in frames:
        estimate.add(frame)
    return estimate.motion()


def views(height: int, width: int, offsets: list[tuple[int, int]]) -> list[np.ndarray]:
    """Cuts of a scene of large squares; the content moves against the offset (down, right)."""
    square = max(4, width // 16)
    scene = SCENE.repeat(square, 0).repeat(square, 1)
    return [scene[100 + down : 100 + down + height, 100 + right : 100 + right + width] for down, right in offsets]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (128, 128), (90, 160), (256, 250)])
def test_known_shifts(height: int, width: int) -> None:
    steps = [(0, 0), (0, 8), (0, 8), (0, 0), (-4, 6), (4, -6), (0, -12), (2, 0), (0, 0), (1, 3)]
    offsets = [(int(down), int(right)) for down, right in np.cumsum(np.array(steps) * width // 64, 0)]
    motion = motion_of(views(height, width, offsets))
    moved = np.diff(np.array([offsets[0], *offsets]), axis=0)
    np.testing.assert_allclose(motion.right, -moved[:, 1] / width, atol=0.01)
    np.testing.assert_allclose(motion.down, -moved[:, 0] / height, atol=0.01)
    assert ((motion.change > 1) == moved.any(1)).all()


def test_length_does_not_depend_on_batches() -> None:
    frames = views(32, 32, [(0, 3 * number % 7) for number in range(20)])
    whole = motion_of(frames)
    assert whole.right.shape == (20,) and whole.right.dtype == np.float32
    for number in range(1, 20):
        part = motion_of(frames[:number])
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_allclose(one, other[:number], atol=1e-5)
    assert motion_of([]).change.shape == (0,)


def test_brightness_and_spread() -> None:
    motion = motion_of([np.full((64, 64), 40, np.uint8), np.eye(64, dtype=np.uint8) * 200])
    assert motion.brightness == pytest.approx([40, 200 / 64]) and motion.spread[0] == 0 and motion.spread[1] > 20
    assert motion.change[0] == 0 and motion.change[1] > 30


@pytest.mark.parametrize("size", [(64, 64), (2, 2), (4, 300), (300, 4)])
def test_empty_and_tiny_pictures_do_not_move(size: tuple[int, int]) -> None:
    motion = motion_of([np.full(size, value, np.uint8) for value in (16, 16, 90, 16)])
    assert not motion.right.any() and not motion.down.any()
