"""Tokenizer pretraining."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mstv import checkpoint
from mstv.data.frames import EpisodeBatch, FrameBatch
from mstv.keyed_random import keyed_uniform
from mstv.levels import Levels
from mstv.metrics import frame_psnr
from mstv.optimiser import Optimiser
from mstv.tokenizer.flops import frame_flops
from mstv.tokenizer.perceptual import PerceptualLoss
from mstv.tokenizer.tokenizer import Tokenizer, reconstruction_losses
from mstv.trained_module import TrainedModule
from mstv.transformer.initialise import initialise
from mstv.transformer.size import TransformerSize

KIND = "tokenizer"


class TokenizerModule(TrainedModule):
    """Trains encoder and decoder: each image is decoded from one level, drawn uniformly (arXiv 2606.09056).

    Args:
        levels: the token pyramid.
        latent_channels: C.
        encoder: size of the encoder.
        decoder: size of the decoder.
        cascaded: ablation, see `Tokenizer`.
        activation_checkpointing: compute the blocks' activations anew in the backward pass, see `Transformer`.
        lpips_weight: weight of LPIPS on the level-0 image (published: 0.05); above 0 it needs the extra `lpips`.
        optimiser: optimiser settings.
        seed: seed of initial weights and drawn levels.
    """

    kind = KIND
    monitor = ("validation/psnr_level0", "max")

    def __init__(
        self,
        levels: Levels,
        latent_channels: int,
        encoder: TransformerSize,
        decoder: TransformerSize,
        cascaded: bool = False,
        activation_checkpointing: bool = False,
        lpips_weight: float = 0.0,
        optimiser: Optimiser = Optimiser(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        super().__init__(optimiser, seed)
        self.lpips_weight = lpips_weight
        self.config = {
            "levels": levels.to_dict(),
            "latent_channels": latent_channels,
            "encoder": asdict(encoder),
            "decoder": asdict(decoder),
            "cascaded": cascaded,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokenizer = build_tokenizer(self.config)
            initialise(self.tokenizer)
        for part in (self.tokenizer.encoder, self.tokenizer.decoder):
            part.transformer.checkpointing = activation_checkpointing
        # In a list, so that its public weights are neither trained nor saved with ours.
        self._perceptual = [PerceptualLoss()] if lpips_weight else []

    def compile_blocks(self) -> None:
        """Compile the blocks of encoder and decoder."""
        for part in (self.tokenizer.encoder, self.tokenizer.decoder):
            part.transformer.compile_blocks()

    def num_samples(self, batch: FrameBatch) -> int:
        """Frames of this rank's batch."""
        return len(batch.images)

    def num_tokens(self, batch: FrameBatch) -> int:
        """Tokens of this rank's batch, of all levels; encoder and decoder both take each of them."""
        return len(batch.images) * sum(self.tokenizer.levels.tokens_per_level)

    def training_flops(self, batch: FrameBatch) -> int:
        """Matrix-product FLOPs of forward and backward of this rank's batch; see `mstv.transformer.flops`."""
        encoder, decoder = (TransformerSize(**self.config[part]) for part in ("encoder", "decoder"))
        levels, channels = self.tokenizer.levels, self.tokenizer.latent_channels
        return len(batch.images) * frame_flops(levels, channels, encoder, decoder, bool(self.lpips_weight))

    def training_step(self, batch: FrameBatch, batch_idx: int) -> dict[str, Any]:
        """`loss` of one batch; detached: `losses` (B,) and the `kept` level (B,) of each image, `lpips` where used."""
        count, levels = len(batch.images), self.tokenizer.levels.num_levels
        # Keyed by batch and sample, so that accumulation and ranks draw anew and a resume draws the same.
        draw = keyed_uniform(self.global_rank * count, count, 1, self.seed, "tokenizer", batch.index)[:, 0]
        kept = (draw * levels).long().to(self.device)
        decoded = self.tokenizer.decoder(self.tokenizer.encode_tokens(batch.images), kept)
        losses = reconstruction_losses(decoded, batch.images)
        loss = losses.mean()
        outputs = {"losses": losses.detach(), "kept": kept}
        for perceptual in self._perceptual:
            distance = perceptual.to(self.device)(decoded[0], batch.images)
            outputs["lpips"] = distance.detach()
            loss = loss + self.lpips_weight * distance
        return {"loss": loss, **outputs}

    def validation_step(self, batch: EpisodeBatch, batch_idx: int) -> None:
        """Reconstruction PSNR of an episode's frames from each level, in dB, mean of per-frame values."""
        for level, images in enumerate(self.reconstruct(batch.images)):
            psnr = frame_psnr(images[None], batch.images[None]).mean()
            name = f"validation/psnr_level{level}"
            # A float: Lightning averages over ranks in the number's own type, and integers would be cut off.
            weight: Any = batch.weight
            self.log(name, psnr, prog_bar=level == 0, batch_size=weight, sync_dist=True)

    @torch.no_grad()
    def reconstruct(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B 3 H W"]]:
        """The frames as decoded from each level alone, finest first, in [0, 1] fp32."""
        parts = []
        # Slices bound the memory: an episode is far longer than a training batch.
        for part in images.split(64):
            latents = self.tokenizer.encode(part)
            parts.append([self.tokenizer.decode(grid, level).float() for level, grid in enumerate(latents)])
        return [torch.cat(level_parts) for level_parts in zip(*parts, strict=True)]


def build_tokenizer(config: dict[str, Any]) -> Tokenizer:
    """A tokenizer with untrained weights from its plain configuration."""
    return Tokenizer(
        Levels.from_dict(config["levels"]),
        config["latent_channels"],
        TransformerSize(**config["encoder"]),
        TransformerSize(**config["decoder"]),
        config["cascaded"],
    )


def load_tokenizer(path: Path) -> tuple[Tokenizer, str]:
    """Tokenizer of a checkpoint, frozen and in evaluation mode, and the sha256 of its weights.

    Raises:
        UserError: not a tokenizer checkpoint of ours.
    """
    config, state, sha256 = checkpoint.read_checkpoint(path, KIND)
    tokenizer = build_tokenizer(config)
    prefix = "tokenizer."
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    checkpoint.load_weights(tokenizer, weights, path)
    return tokenizer.eval().requires_grad_(False), sha256
