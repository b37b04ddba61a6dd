"""What both LightningModules share: their optimiser and its guard, and checkpoints that say which model they hold."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mstv import checkpoint
from mstv.divergence import DivergenceGuard
from mstv.errors import UserError
from mstv.optimiser import Optimiser
from mstv.sharding import whole

GUARD_FIELD = "divergence"


class TrainedModule(LightningModule):
    """A module that trains all its parameters with one optimiser, and skips steps whose gradient is not finite.

    It logs, at the steps that are logged, `train/gradient_norm`, of all parameters and ranks before clipping, and
    `train/skipped_steps`, their number since the training began.

    Attributes:
        kind: kind of model that its checkpoints name.
        config: plain values that rebuild the model; a subclass sets them.
        monitor: validation metric of the best checkpoint, and whether the smallest or the largest value is best.

    Args:
        optimiser: optimiser settings.
        seed: of all that the training draws.
    """

    kind: str
    config: dict[str, Any]
    monitor: tuple[str, Literal["min", "max"]]

    def __init__(self, optimiser: Optimiser, seed: int) -> None:
        super().__init__()
        self.optimiser = optimiser
        self.seed = seed
        self._guard = DivergenceGuard(optimiser.max_skipped_steps)

    @abstractmethod
    def compile_blocks(self) -> None:
        """Compile the transformer's blocks."""

    @abstractmethod
    def num_samples(self, batch: Any) -> int:
        """Sequences or frames of this rank's batch."""

    @abstractmethod
    def num_tokens(self, batch: Any) -> int:
        """Tokens of this rank's batch through the transformer."""

    @abstractmethod
    def training_flops(self, batch: Any) -> int:
        """Matrix-product FLOPs of forward and backward of this rank's batch; see `mstv.transformer.flops`."""

    def configure_model(self) -> None:
        """Shard the weights where the strategy wants that; called by Lightning.

        Raises:
            UserError: a module that cannot be sharded.
        """
        if self.device_mesh is not None:
            raise UserError(f"trainer.strategy shards weights, which a {self.kind} cannot and need not: use ddp")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `Optimiser`.

        Raises:
            UserError: a strategy that flattens the weights.
        """
        if isinstance(self.trainer.strategy, FSDPStrategy):
            raise UserError(
                "trainer.strategy is fsdp, which flattens weights: Muon needs matrices, and clipping the norm over all "
                "ranks; take ddp"
            )
        optimiser, schedule = self.optimiser.build(self)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def diverging(self) -> bool:
        """Whether the last step was skipped. What is saved then is not known to be good."""
        return self._guard.in_a_row > 0

    def on_train_start(self) -> None:
        """A resumed training follows its own configuration, where it differs from the checkpoint's."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LambdaLR)
        self.optimiser.impose(self.trainer.optimizers[0], schedule)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Show the guard what comes."""
        self._guard.watch(batch, batch_idx)

    def on_before_backward(self, loss: Tensor) -> None:
        """Show the guard the loss, which Lightning has divided by the number of micro-batches."""
        self._guard.note_loss(loss.detach() * self.trainer.accumulate_grad_batches)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of a step, or drop them if they are not finite.

        Lightning calls this once a step with the gradients that all micro-batches and ranks have added up to, whether
        it is to clip or not.

        Raises:
            UserError: too many steps in a row had no finite gradient.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = gradient_norm([p.grad for p in parameters])
        # The only time that a step waits for its device; what is logged stays on the CPU.
        value = norm.item()
        if math.isfinite(value):
            # As in Lightning, a limit of 0 is none.
            limit = max(gradient_clip_val or 0.0, 0.0)
            if limit and gradient_clip_algorithm == "value":
                clip_grad_value_(parameters, limit)
            elif limit:
                clip_grads_with_norm_(parameters, limit, norm)
            self._guard.step_passed()
        else:
            # Without gradients the optimiser's step moves neither weights nor moments.
            optimizer.zero_grad(set_to_none=True)
            self._skip_step(value)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        # Lightning takes 2 ms to be told what it then does not write.
        if every and (self.trainer.global_step + 1) % every == 0:
            skipped = float(self._guard.skipped)
            self.log_dict({"train/gradient_norm": torch.tensor(value), "train/skipped_steps": torch.tensor(skipped)})

    def _skip_step(self, norm: float) -> None:
        # All ranks are here, as they have the same norm. Those whose loss is to blame save; if none's is, all do.
        bad = self._guard.has_bad_loss()
        bad |= not self.trainer.strategy.reduce_boolean_decision(bad, all=False)
        self._guard.step_skipped(
            Path(self.trainer.default_root_dir), self.trainer.global_step, self.global_rank, norm, saved=bad
        )

    def on_save_checkpoint(self, loaded: dict[str, Any]) -> None:
        """Add what rebuilds the model, and the guard's counts."""
        loaded[checkpoint.FIELD] = checkpoint.describe(self.kind, self.config)
        loaded[GUARD_FIELD] = self._guard.state_dict()

    def on_load_checkpoint(self, loaded: dict[str, Any]) -> None:
        """Refuse weights of another architecture, or moments of another optimiser.

        Raises:
            UserError: names the setting that differs.
        """
        path = Path(str(self.trainer.ckpt_path))
        checkpoint.check_same_model(loaded, self.kind, self.config, path)
        for state in loaded.get("optimizer_states", []):
            self.optimiser.check_kind(state, path)
        if GUARD_FIELD in loaded:
            self._guard.load_state_dict(loaded[GUARD_FIELD])


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """2-norm of all gradients as one vector, on their device; of sharded ones (DTensor), over all ranks."""
    return whole(get_total_norm(gradients))
