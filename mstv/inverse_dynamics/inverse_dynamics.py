"""A small convnet that tells from a short clip which action produced its middle frame."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

BINARY_UNIT = "0/1"
"""Unit of the columns that are pressed or not; all others are numbers."""
GRID = 4
"""Rows and columns that the last features are pooled to: where something moved matters as well as what."""
DOWN_TO = 8
"""Features are halved until their shorter side is at most this."""


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
            *(nn.GroupNorm(1, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)),
            *(nn.GroupNorm(1, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        return x + self.layers(x)


class InverseDynamics(nn.Module):
    """Clips (B, K, 3, H, W) in [0, 1] to what produced their middle frames.

    The K frames enter side by side as channels, so that the first layers already see what moved.

    Args:
        image_size: (H, W).
        clip_frames: K.
        width: channels of the first layer, a multiple of 8; each halving of the picture doubles them, up to 4 times.
        actions: what is told.
    """

    def __init__(self, image_size: tuple[int, int], clip_frames: int, width: int, actions: ActionLayout) -> None:
        super().__init__()
        self.clip_frames = clip_frames
        self.actions = actions
        channels = width
        layers: list[nn.Module] = [nn.Conv2d(3 * clip_frames, width, 5, stride=2, padding=2)]
        side = (min(image_size) + 1) // 2
        while side > DOWN_TO:
            following = min(2 * channels, 4 * width)
            layers += [nn.GroupNorm(1, channels), nn.SiLU(), nn.Conv2d(channels, following, 3, stride=2, padding=1)]
            layers.append(_Residual(following))
            channels, side = following, (side + 1) // 2
        layers += [_Residual(channels), nn.GroupNorm(1, channels), nn.SiLU()]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(channels * GRID**2, 4 * width), nn.SiLU(), nn.Linear(4 * width, len(actions.names))
        )

    def forward(self, clips: Float[Tensor, "B K 3 H W"]) -> Float[Tensor, "B A"]:
        """Logits of ids; of columns the logit of a binary one, and of another its value over its scale."""
        features = self.trunk(clips.flatten(1, 2) * 2 - 1)
        return self.head(functional.adaptive_avg_pool2d(features, GRID).flatten(1))

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
