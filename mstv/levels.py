"""Levels of the token pyramid: image and patch size -> grid and token count of every level."""

from dataclasses import dataclass
from typing import Any

from mstv.errors import UserError


@dataclass(frozen=True)
class Levels:
    """The token pyramid of one frame; level 0 is the finest grid, each next level has a quarter of the tokens.

    Args:
        image_size: (H, W) of a frame in pixels.
        patch_size: (ph, pw) in pixels, the same at every level.
        num_levels: L, the number of levels.

    Raises:
        UserError: if H or W is not divisible by patch_size * 2^(L-1).
    """

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    num_levels: int

    def __post_init__(self) -> None:
        if self.num_levels < 1 or min(self.image_size) < 1 or min(self.patch_size) < 1:
            raise UserError(f"levels: image_size, patch_size and num_levels must be positive, got {self}")
        for name, size, patch in zip(("height", "width"), self.image_size, self.patch_size, strict=True):
            multiple = patch * 2 ** (self.num_levels - 1)
            if size % multiple:
                raise UserError(
                    f"levels: image {name} {size} is not divisible by {multiple} "
                    f"(patch {patch} x 2^{self.num_levels - 1} for {self.num_levels} levels): "
                    "change image_size, patch_size or num_levels"
                )

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Levels":
        """The inverse of `to_dict`."""
        return Levels(tuple(values["image_size"]), tuple(values["patch_size"]), values["num_levels"])

    def to_dict(self) -> dict[str, Any]:
        """The levels as plain values, as a checkpoint stores them."""
        return {
            "image_size": list(self.image_size),
            "patch_size": list(self.patch_size),
            "num_levels": self.num_levels,
        }

    def grid(self, level: int) -> tuple[int, int]:
        """(rows, columns) of tokens at `level`."""
        return tuple(s // p >> level for s, p in zip(self.image_size, self.patch_size, strict=True))  # type: ignore[return-value]

    def pixels(self, level: int) -> tuple[int, int]:
        """(height, width) of the frame mean-pooled to `level`."""
        return (self.image_size[0] >> level, self.image_size[1] >> level)

    def num_tokens(self, level: int) -> int:
        """n_l, the tokens of one frame at `level`."""
        rows, columns = self.grid(level)
        return rows * columns

    @property
    def tokens_per_level(self) -> tuple[int, ...]:
        """(n_0, ..., n_{L-1})."""
        return tuple(self.num_tokens(level) for level in range(self.num_levels))
