"""A small convnet that tells from a short clip which action produced its middle frame."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

BINARY_UNIT = "0/1"
"""Unit of the columns that are pressed or not; all others are numbers."""
CELLS = 16
"""Each frame's features are halved until their shorter side is at most this: cells are compared between frames."""
REACH = 4
"""Cells by which something may have moved from a frame to the next, in each direction: a quarter of the picture."""
POOLED = 4
"""Rows and columns that the last features are pooled to: where something moved matters as well as how."""


@dataclass(frozen=True)
class ActionLayout:
    """What the model tells: ids, or columns.

    Attributes:
        kind: `discrete` or `vector`.
        names: of the ids or columns.
        units: of the columns; empty for ids.
        scale: of the columns, by which what the net gives is multiplied; empty for ids.
    """

    kind: str
    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def binary(self) -> tuple[bool, ...] | None:
        """Which columns are binary; None for ids."""
        return None if self.kind == "discrete" else tuple(unit == BINARY_UNIT for unit in self.units)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, as a checkpoint stores it."""
        return {name: value if isinstance(value, str) else list(value) for name, value in vars(self).items()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "ActionLayout":
        """The inverse of `to_dict`."""
        return ActionLayout(values["kind"], *(tuple(values[name]) for name in ("names", "units", "scale")))


class _Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            # Of one group: more of them, of few channels each, would hide how strong a channel is.
            *(nn.GroupNorm(1, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)),
            *(nn.GroupNorm(1, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        return x + self.layers(x)


class _Motion(nn.Module):
    """How alike each cell is to the cells around it in the next frame.

    Convolutions over frames side by side see a motion only as far as their first kernels reach, and hardly learn to
    tell a left turn from a right one; these cosines show it directly (a cost volume, as in optical flow).

    Args:
        rows, columns: of the cells.
    """

    neighbours: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        moves = torch.cartesian_prod(*[torch.arange(-REACH, REACH + 1)] * 2)
        there = torch.stack([row.reshape(-1, 1) + moves[:, 0], column.reshape(-1, 1) + moves[:, 1]])
        inside = ((there >= 0) & (there < torch.tensor([rows, columns])[:, None, None])).all(0)
        # One more entry than there are cells, a zero, stands for what lies outside.
        index = torch.where(inside, there[0] * columns + there[1], rows * columns)
        self.register_buffer("neighbours", index, persistent=False)

    @property
    def channels(self) -> int:
        """Cells compared with each."""
        return self.neighbours.shape[1]

    def forward(self, before: Float[Tensor, "B C h w"], after: Float[Tensor, "B C h w"]) -> Float[Tensor, "B M h w"]:
        """Cosines, of features less their mean over the picture, of each cell and its `channels` neighbours."""
        flat = [part.flatten(2) for part in (before, after)]
        a, b = (functional.normalize(part - part.mean(2, keepdim=True), dim=1) for part in flat)
        alike = functional.pad(a.transpose(1, 2) @ b, (0, 1))
        found = alike.gather(2, self.neighbours.expand(len(alike), -1, -1))
        return found.transpose(1, 2).unflatten(2, before.shape[2:])


class InverseDynamics(nn.Module):
    """Clips (B, K, 3, H, W) in [0, 1] to what produced their middle frames.

    Features of each frame alone, how they moved from frame to frame, and convolutions over both.

    Args:
        image_size: (H, W).
        clip_frames: K.
        width: channels of a frame's features, a multiple of 8.
        actions: what is told.
    """

    def __init__(self, image_size: tuple[int, int], clip_frames: int, width: int, actions: ActionLayout) -> None:
        super().__init__()
        self.clip_frames = clip_frames
        self.actions = actions
        layers: list[nn.Module] = [nn.Conv2d(3, width, 5, stride=2, padding=2), nn.SiLU()]
        rows, columns = ((side + 1) // 2 for side in image_size)
        while min(rows, columns) > CELLS:
            layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU()]
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        self.frame = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1))
        self.motion = _Motion(rows, columns)
        seen = clip_frames * width + (clip_frames - 1) * self.motion.channels
        self.trunk = nn.Sequential(
            *(nn.Conv2d(seen, 2 * width, 3, stride=2, padding=1), _Residual(2 * width), _Residual(2 * width)),
            *(nn.GroupNorm(1, 2 * width), nn.SiLU(), nn.AdaptiveAvgPool2d(POOLED), nn.Flatten()),
            *(nn.Linear(2 * width * POOLED**2, 4 * width), nn.SiLU(), nn.Linear(4 * width, len(actions.names))),
        )

    def forward(self, clips: Float[Tensor, "B K 3 H W"]) -> Float[Tensor, "B A"]:
        """Logits of ids; of columns the logit of a binary one, and of another its value over its scale."""
        features = self.frame(clips.flatten(0, 1) * 2 - 1).unflatten(0, clips.shape[:2])
        moved = [self.motion(features[:, k], features[:, k + 1]) for k in range(self.clip_frames - 1)]
        return self.trunk(torch.cat([features.flatten(1, 2), *moved], 1))

    def losses(self, outputs: Float[Tensor, "B A"], actions: Shaped[Tensor, "B *A"]) -> Float[Tensor, " B"]:
        """Of each clip: cross-entropy of ids, 0 for the null id; of columns the mean of binary cross-entropies and
        smooth absolute errors over the scale.
        """
        binary = self.actions.binary
        if binary is None:
            return functional.cross_entropy(outputs, actions, ignore_index=-1, reduction="none")
        pressed = torch.tensor(binary, device=outputs.device)
        errors = torch.where(
            pressed,
            functional.binary_cross_entropy_with_logits(outputs, (actions >= 0.5).float(), reduction="none"),
            functional.smooth_l1_loss(outputs, actions / self._scale(outputs), reduction="none"),
        )
        return errors.mean(1)

    def told(self, outputs: Float[Tensor, "B A"]) -> Shaped[Tensor, "B *A"]:
        """Ids (B,), or columns (B, A) in their units, 0 or 1 the binary ones."""
        binary = self.actions.binary
        if binary is None:
            return outputs.argmax(1)
        return torch.where(torch.tensor(binary, device=outputs.device), (outputs > 0).float(), self._scaled(outputs))

    def _scaled(self, outputs: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
        return outputs * self._scale(outputs)

    def _scale(self, like: Tensor) -> Float[Tensor, " A"]:
        return torch.tensor(self.actions.scale, dtype=like.dtype, device=like.device)
