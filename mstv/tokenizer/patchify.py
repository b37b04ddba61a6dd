"""Images to patches of every level and back."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mstv.levels import Levels


def pyramid(images: Float[Tensor, "B C H W"], num_levels: int) -> list[Float[Tensor, "B C _ _"]]:
    """The images 2x2-mean-pooled 0, 1, ..., num_levels - 1 times."""
    result = [images]
    for _ in range(num_levels - 1):
        result.append(avg_pool2d(result[-1], 2))
    return result


def patchify(images: Sequence[Float[Tensor, "B 3 _ _"]], levels: Levels) -> Float[Tensor, "B N P"]:
    """Patches of every level's image, level 0 first, row-major; pixels flattened as (channel, row, column)."""
    ph, pw = levels.patch_size
    return torch.cat(
        [
            image.unflatten(3, (-1, pw)).unflatten(2, (-1, ph)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
            for image in images
        ],
        1,
    )


def unpatchify(patches: Float[Tensor, "B N P"], levels: Levels) -> list[Float[Tensor, "B 3 _ _"]]:
    """The inverse of `patchify`: one image per level."""
    ph, pw = levels.patch_size
    images = []
    for level, part in enumerate(patches.split(levels.tokens_per_level, 1)):
        blocks = part.unflatten(2, (3, ph, pw)).unflatten(1, levels.grid(level))
        images.append(blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3))
    return images


def token_coordinates(levels: Levels) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"], Int[Tensor, " N"]]:
    """(level, row, column) of every token of a frame, in the order of `patchify`."""
    level, row, column = [], [], []
    for index, count in enumerate(levels.tokens_per_level):
        height, width = levels.grid(index)
        level.append(torch.full((count,), index))
        row.append(torch.arange(height).repeat_interleave(width))
        column.append(torch.arange(width).repeat(height))
    return torch.cat(level), torch.cat(row), torch.cat(column)
