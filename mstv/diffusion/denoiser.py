"""The denoiser: a diffusion transformer over the seen tokens of one step."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from mstv.rollout.layout import StepLayout
from mstv.transformer.block import Transformer, modulate, per_token
from mstv.transformer.embeddings import TimeEmbedding, position_3d
from mstv.transformer.size import TransformerSize


class ActionEmbedding(nn.Module):
    """Actions of frames to vectors; null and dropped actions add exactly zero.

    Args:
        kind: `none`, `discrete` (ids, null is -1) or `vector` (columns, null is zeros).
        num_actions: ids or columns.
        dim: width.
    """

    def __init__(self, kind: str, num_actions: int, dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.num_actions = num_actions
        if kind == "discrete":
            self.table = nn.Embedding(num_actions, dim)
        elif kind == "vector":
            self.table = nn.Linear(num_actions, dim, bias=False)  # type: ignore[assignment]
        elif kind != "none":
            raise ValueError(f"actions are none, discrete or vector, got {kind}")

    def forward(
        self, actions: Shaped[Tensor, "B F *A"], dropped: Bool[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B F D"]:
        """Embed int ids (B, F) or float vectors (B, F, A); samples in `dropped` give zero."""
        if self.kind == "discrete":
            embedding = self.table(actions.clamp(min=0).long()) * (actions >= 0)[..., None]
        else:
            embedding = self.table(actions)
        return embedding if dropped is None else embedding * ~dropped[:, None, None]


@dataclass(frozen=True, eq=False)
class DenoiserState:
    """All of one step that depends neither on the targets nor on their time.

    Attributes:
        layout: where the tokens stand.
        context: (B, Nc, D) embedded context tokens.
        target_position: (Nt, D) position of the target tokens.
        context_condition: (B, Kc, D) condition of each context cell.
        target_condition: (B, Kt, D) condition of each target cell but for the time embedding.
    """

    layout: StepLayout
    context: Tensor
    target_position: Tensor
    context_condition: Tensor
    target_condition: Tensor


class Denoiser(nn.Module):
    """Predicts v for the target tokens of a step from its context, with joint attention (every token sees every token).

    Training and sampling use the same two calls, `prepare` once a step and `denoise` once an evaluation.

    Args:
        latent_channels: C.
        num_levels: levels of the tokenizer.
        size: size of the transformer.
        action_kind: `none`, `discrete` or `vector`.
        num_actions: ids or columns of the actions.
    """

    def __init__(
        self,
        latent_channels: int,
        num_levels: int,
        size: TransformerSize,
        action_kind: str = "none",
        num_actions: int = 0,
    ) -> None:
        super().__init__()
        self.dim = size.dim
        self.from_latents = nn.Linear(latent_channels, size.dim)
        self.time = TimeEmbedding(size.dim)
        self.level = nn.Embedding(num_levels, size.dim)
        self.action = ActionEmbedding(action_kind, num_actions, size.dim)
        self.transformer = Transformer(size.dim, size.depth, size.num_heads, size.mlp_ratio, conditional=True)
        self.norm = nn.LayerNorm(size.dim, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(size.dim, 2 * size.dim))
        self.to_latents = nn.Linear(size.dim, latent_channels)
        nn.init.zeros_(self.to_latents.weight)
        nn.init.zeros_(self.to_latents.bias)

    def prepare(
        self,
        layout: StepLayout,
        context: Float[Tensor, "B Nc C"],
        context_t: Float[Tensor, " B"],
        actions: Shaped[Tensor, "B F *A"] | None = None,
        dropped: Bool[Tensor, " B"] | None = None,
    ) -> DenoiserState:
        """Do all that depends neither on the targets nor on their time.

        Args:
            layout: the step's tokens.
            context: context latents as noised to `context_t`.
            context_t: time of each sample's context: 0 is clean, 1 where the condition is dropped.
            actions: actions of the step's distinct frames; None for no actions at all.
            dropped: samples whose action embedding is zeroed.
        """
        position = position_3d(
            layout.frames[layout.cell_frame][layout.token_cell], layout.token_row, layout.token_column, self.dim
        )
        split = layout.num_context_tokens
        condition = self.level(layout.cell_level).expand(len(context), -1, -1)
        if actions is not None and self.action.kind != "none":
            condition = condition + self.action(actions, dropped)[:, layout.cell_frame]
        cells = layout.num_context_cells
        return DenoiserState(
            layout=layout,
            context=self.from_latents(context) + position[:split],
            target_position=position[split:],
            context_condition=condition[:, :cells] + self.time(context_t)[:, None],
            target_condition=condition[:, cells:],
        )

    def denoise(
        self, state: DenoiserState, x_t: Float[Tensor, "B Nt C"], t: Float[Tensor, " B"]
    ) -> Float[Tensor, "B Nt C"]:
        """Predict v of the target tokens `x_t` at times `t`."""
        layout = state.layout
        target_condition = state.target_condition + self.time(t)[:, None]
        targets = self.from_latents(x_t) + state.target_position
        x = self.transformer(
            torch.cat([state.context, targets], 1),
            torch.cat([state.context_condition, target_condition], 1),
            layout.token_cell,
        )
        target_cell = layout.token_cell[layout.num_context_tokens :] - layout.num_context_cells
        shift, scale = (per_token(part, target_cell) for part in self.modulation(target_condition).chunk(2, -1))
        return self.to_latents(modulate(self.norm(x[:, layout.num_context_tokens :]), shift, scale))
