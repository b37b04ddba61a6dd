"""Pictures of any size made to fit: scaled until they just cover the size asked for, and their centre cut out."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter


class Fitting:
    """Fits pictures to one size.

    Args:
        size: (H, W) in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._reformatter = VideoReformatter()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The picture, uint8 (H', W', 3) RGB, as uint8 (H, W, 3)."""
        (rows, columns), (height, width) = picture.shape[:2], self._size
        if (rows, columns) == (height, width):
            return picture
        scale = max(height / rows, width / columns)
        tall, wide = max(height, round(rows * scale)), max(width, round(columns * scale))
        scaled = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"),
            width=wide,
            height=tall,
            format="rgb24",
            interpolation=Interpolation.AREA if scale < 1 else Interpolation.BICUBIC,
            threads=1,
        ).to_ndarray()
        top, left = (tall - height) // 2, (wide - width) // 2
        return scaled[top : top + height, left : left + width]
