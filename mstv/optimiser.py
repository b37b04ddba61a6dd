"""The optimiser that both LightningModules use."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Optimiser:
    """AdamW with linear warm-up, then constant or, given `decay_steps`, a cosine to zero.

    Args:
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay of matrices; vectors (biases, norms) have none.
        warmup_steps: steps of linear warm-up.
        decay_steps: step at which the cosine reaches zero; None keeps the peak.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 2000
    decay_steps: int | None = None

    def factor(self, step: int) -> float:
        """Learning rate at `step` over its peak."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay_steps is None:
            return 1.0
        progress = (step - self.warmup_steps) / max(self.decay_steps - self.warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1)))

    def build(self, parameters: Iterable[Parameter]) -> tuple[AdamW, LambdaLR]:
        """Optimiser and learning-rate schedule, to be stepped once a training step."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.95))
        # A plain function: the schedule's state then holds no object, and the checkpoint stays weights_only.
        return optimiser, LambdaLR(optimiser, lambda step: self.factor(step))
