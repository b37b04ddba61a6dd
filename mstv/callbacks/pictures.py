"""Frames beside each other and in grids, enlarged and labelled, as 8-bit pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SMALLEST = 128
"""Pixels that the shorter side of a shown frame has at least; frames are enlarged by whole factors."""
BAR, GAP, MARGIN = 16, 2, 64
"""Heights and widths of a label, between frames, and of the labels of rows."""
PAPER, INK = 255, 30


def beside(columns: Sequence[tuple[str, Float[Tensor, "T 3 H W"]]]) -> UInt8[np.ndarray, "T h w 3"]:
    """Videos beside each other, each under its label; both sides even, as H.264 wants it.

    Args:
        columns: label and frames in [0, 1], all of one size.
    """
    shown = [_shown(frames) for _, frames in columns]
    count, height, width = shown[0].shape[:3]
    video = np.full((count, height + BAR, len(shown) * (width + GAP) - GAP, 3), PAPER, np.uint8)
    for index, ((label, _), frames) in enumerate(zip(columns, shown, strict=True)):
        left = index * (width + GAP)
        video[:, BAR:, left : left + width] = frames
        video[:, :BAR, left : left + width] = _text(label, width)
    return np.pad(video, ((0, 0), (0, video.shape[1] % 2), (0, video.shape[2] % 2), (0, 0)), constant_values=PAPER)


def grid(
    rows: Sequence[tuple[str, Float[Tensor, "N 3 H W"]]], titles: Sequence[str]
) -> UInt8[np.ndarray, "height width 3"]:
    """Rows of frames, a label before each row and a title over each column.

    Args:
        rows: label and N frames in [0, 1].
        titles: N.
    """
    shown = [_shown(frames) for _, frames in rows]
    count, height, width = shown[0].shape[:3]
    picture = np.full((BAR + len(rows) * (height + GAP), MARGIN + count * (width + GAP), 3), PAPER, np.uint8)
    for column, title in enumerate(titles):
        left = MARGIN + column * (width + GAP)
        picture[:BAR, left : left + width] = _text(title, width)
    for row, ((label, _), frames) in enumerate(zip(rows, shown, strict=True)):
        top = BAR + row * (height + GAP)
        picture[top : top + BAR, :MARGIN] = _text(label, MARGIN)
        for column, frame in enumerate(frames):
            left = MARGIN + column * (width + GAP)
            picture[top : top + height, left : left + width] = frame
    return picture


def _shown(frames: Float[Tensor, "T 3 H W"]) -> UInt8[np.ndarray, "T h w 3"]:
    """8-bit frames, enlarged so that one sees their pixels."""
    zoom = max(1, -(-SMALLEST // min(frames.shape[2:])))
    images = (frames.clamp(0, 1) * 255).round().to(torch.uint8)
    return images.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3).permute(0, 2, 3, 1).numpy()


def _text(label: str, width: int) -> UInt8[np.ndarray, "bar {width} 3"]:
    """A line of text, cut off where it is too long."""
    bar = Image.new("RGB", (width, BAR), (PAPER,) * 3)
    ImageDraw.Draw(bar).text((3, 2), label, fill=(INK,) * 3, font=ImageFont.load_default(11))
    return np.asarray(bar)
