"""Training the inverse-dynamics model, and its predictions for whole videos."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mstv import checkpoint
from mstv.data.clips import ClipBatch, clip_frames
from mstv.errors import UserError
from mstv.inverse_dynamics.inverse_dynamics import ActionLayout, InverseDynamics
from mstv.levels import Levels
from mstv.metrics.action_agreement import ActionAgreement
from mstv.optimiser import Optimiser
from mstv.trained_module import TrainedModule

KIND = "inverse_dynamics"
CLIPS_AT_ONCE = 64


class InverseDynamicsModule(TrainedModule):
    """Trains a convnet to tell which action produced a frame from a short clip around it.

    Args:
        levels: of the tokenizer; the size of its frames alone matters.
        action_kind: `discrete` or `vector`; the command line takes all that is known of actions from the data.
        action_names: of the ids or columns.
        action_units: of the columns.
        action_scale: of the columns, see `ClipsDataModule.action_scale`.
        clip_frames: K, frames of a clip; from the data, too.
        width: channels of a frame's features, a multiple of 8.
        blur: in training, each clip is shrunk by a factor drawn uniformly from [1, blur] and enlarged again, so that
            softly decoded frames are read as well as recorded ones; 1 is none.
        optimiser: optimiser settings.
        seed: seed of initial weights and of the blur.
    """

    kind = KIND
    monitor = ("validation/loss", "min")

    def __init__(
        self,
        levels: Levels,
        action_kind: str,
        action_names: tuple[str, ...],
        action_units: tuple[str, ...] = (),
        action_scale: tuple[float, ...] = (),
        clip_frames: int = 4,
        width: int = 32,
        blur: float = 1.0,
        optimiser: Optimiser = Optimiser(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        super().__init__(optimiser, seed)
        if width < 8 or width % 8:
            raise UserError(f"width must be a positive multiple of 8, got {width}")
        if blur < 1:
            raise UserError(f"blur must be at least 1, which is none, got {blur}")
        self.blur = blur
        layout = ActionLayout(action_kind, tuple(action_names), tuple(action_units), tuple(action_scale))
        self.config = {
            "image_size": list(levels.image_size),
            "clip_frames": clip_frames,
            "width": width,
            "actions": layout.to_dict(),
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = build_model(self.config)
        self._agreement = ActionAgreement(layout.names, layout.binary)

    def compile_blocks(self) -> None:
        """Compile what looks at frames, and at what moved."""
        self.model.frame.compile()
        self.model.trunk.compile()

    def num_samples(self, batch: ClipBatch) -> int:
        """Clips of this rank's batch."""
        return len(batch.images)

    def num_tokens(self, batch: ClipBatch) -> int:
        """Frames of this rank's batch: a convnet has no tokens."""
        return len(batch.images) * self.model.clip_frames

    def training_flops(self, batch: ClipBatch) -> int:
        """FLOPs of convolutions and matrix products, forward and (twice as much) backward, of this rank's batch."""
        return len(batch.images) * self._clip_flops

    @cached_property
    def _clip_flops(self) -> int:
        with torch.device("meta"):
            model = build_model(self.config)
            clip = torch.empty(1, self.model.clip_frames, 3, *self.config["image_size"])
        with FlopCounterMode(display=False) as counter:
            model(clip)
        return 3 * counter.get_total_flops()

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        """`loss` of one batch; detached: `losses` (B,)."""
        outputs = self.model(self._blurred(batch))
        losses = self.model.losses(outputs, batch.actions)
        return {"loss": losses.mean(), "losses": losses.detach()}

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Loss of an episode's clips; what agrees is counted over all episodes."""
        outputs = torch.cat([self.model(part) for part in batch.images.split(CLIPS_AT_ONCE)])
        # A float: Lightning averages over ranks in the number's own type, and integers would be cut off.
        weight: Any = batch.weight
        loss = self.model.losses(outputs, batch.actions).mean()
        self.log("validation/loss", loss, prog_bar=True, batch_size=weight, sync_dist=True)
        if batch.weight:
            self._agreement.update(self.model.told(outputs), batch.actions)

    def on_validation_epoch_end(self) -> None:
        """Log the scores, as `validation/accuracy` or `validation/f1_<action>`."""
        scores = self._agreement.compute()
        self._agreement.reset()
        for (metric, name), value in scores.items():
            # A rank that logs nothing would leave the others waiting; these are equal on all.
            self.log(f"validation/{metric}{f'_{name}' if name else ''}", value if np.isfinite(value) else 0.0)

    def _blurred(self, batch: ClipBatch) -> Float[Tensor, "B K 3 H W"]:
        """The clips, shrunk and enlarged by one factor for the batch, which (seed, batch, rank) alone give."""
        if self.blur == 1:
            return batch.images
        factor = np.random.default_rng([self.seed, batch.index, self.global_rank]).uniform(1, self.blur)
        height, width = batch.images.shape[-2:]
        size = (max(1, round(height / factor)), max(1, round(width / factor)))
        small = torch.nn.functional.interpolate(batch.images.flatten(0, 1), size, mode="area")
        large = torch.nn.functional.interpolate(small, (height, width), mode="bilinear", align_corners=False)
        return large.view_as(batch.images)


def build_model(config: dict[str, Any]) -> InverseDynamics:
    """A model with untrained weights from its plain configuration."""
    height, width = config["image_size"]
    actions = ActionLayout.from_dict(config["actions"])
    return InverseDynamics((height, width), config["clip_frames"], config["width"], actions)


@torch.inference_mode()
def predict_actions(
    model: InverseDynamics, frames: Float[Tensor, "T 3 H W"], first: int
) -> Shaped[np.ndarray, "N *columns"]:
    """What produced the frames first, ..., T - 1 of a video: ids (N,), or columns (N, A) in their units.

    Args:
        model: on any device, in evaluation mode.
        frames: (T, 3, H, W) in [0, 1].
        first: at least 1: what produced the first frame cannot be seen.
    """
    if not 1 <= first < len(frames):
        raise ValueError(f"first is {first}, it must lie in [1, {len(frames)})")
    clips = torch.from_numpy(clip_frames(np.arange(first, len(frames)), model.clip_frames, len(frames)))
    device = next(model.parameters()).device
    parts = [model.told(model(frames[part].to(device))).cpu() for part in clips.split(CLIPS_AT_ONCE)]
    return torch.cat(parts).numpy()


def load_inverse_dynamics(path: Path) -> tuple[InverseDynamics, tuple[int, int], str]:
    """Model of a checkpoint, frozen and in evaluation mode, the (H, W) of its frames, and the sha256 of its weights.

    Raises:
        UserError: not an inverse-dynamics checkpoint of ours.
    """
    config, state, sha256 = checkpoint.read_checkpoint(path, KIND)
    model = build_model(config)
    prefix = "model."
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    checkpoint.load_weights(model, weights, path)
    height, width = config["image_size"]
    return model.eval().requires_grad_(False), (height, width), sha256
