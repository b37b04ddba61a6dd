"""The denoiser: a diffusion transformer over the seen tokens of one step."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from mstv.rollout.cost import AttentionMode
from mstv.rollout.layout import StepLayout
from mstv.token_cells import affine
from mstv.transformer.block import Past
from mstv.transformer.embeddings import TimeEmbedding, position_3d
from mstv.transformer.size import TransformerSize
from mstv.transformer.transformer import Transformer


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


@dataclass(eq=False)
class DenoiserState:
    """All of one step that depends neither on the targets nor on their time.

    Attributes:
        layout: where the transformer's tokens stand.
        context: (B, Nc, D) embedded context tokens.
        target_position: (Nt, D) position of the target tokens.
        context_condition: (B, Kc, D) condition of each context cell.
        target_condition: (B, Kt, D) condition of each target cell but for the time embedding.
        refresh: evaluations for which the context's keys and values serve; None: they do for the whole step.
        past: the context's keys and values in each block; None: they must be computed.
        age: evaluations that `past` has served.
    """

    layout: StepLayout
    context: Tensor
    target_position: Tensor
    context_condition: Tensor
    target_condition: Tensor
    refresh: int | None
    past: list[Past] | None = None
    age: int = 0


class Denoiser(nn.Module):
    """Predicts v for the target tokens of a step from its context.

    Training and sampling use the same two calls, `prepare` once a step and `denoise` once an evaluation. With isolated
    attention, `prepare` computes the context's keys and values, and `denoise` evaluates the targets alone.

    Args:
        latent_channels: C.
        num_levels: levels of the tokenizer.
        size: size of the transformer.
        action_kind: `none`, `discrete` or `vector`.
        num_actions: ids or columns of the actions.
        attention: what context tokens see.
    """

    def __init__(
        self,
        latent_channels: int,
        num_levels: int,
        size: TransformerSize,
        action_kind: str = "none",
        num_actions: int = 0,
        attention: AttentionMode = "isolated",
    ) -> None:
        super().__init__()
        self.attention = attention
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
        refresh: int = 1,
    ) -> DenoiserState:
        """Do all that depends neither on the targets nor on their time.

        Args:
            layout: the step's tokens.
            context: context latents as noised to `context_t`.
            context_t: time of each sample's context: 0 is clean, 1 where the condition is dropped.
            actions: actions of the step's distinct frames; None for no actions at all.
            dropped: samples whose action embedding is zeroed.
            refresh: with joint attention, evaluations that share the context's keys and values; 1 is exact. Isolated
                attention has no use for it.
        """
        layout = self.token_layout(layout)
        position = position_3d(
            layout.frames[layout.cell_frame][layout.token_cell], layout.token_row, layout.token_column, self.dim
        )
        split = layout.num_context_tokens
        condition = self.level(layout.cell_level).expand(len(context), -1, -1)
        if actions is not None and self.action.kind != "none":
            condition = condition + self.action(actions, dropped)[:, layout.cell_frame]
        cells = layout.num_context_cells
        state = DenoiserState(
            layout=layout,
            context=self.embed_context(context) + position[:split],
            target_position=position[split:],
            context_condition=condition[:, :cells] + self.time(context_t)[:, None],
            target_condition=condition[:, cells:],
            refresh=refresh,
        )
        if self.attention == "isolated":
            state.refresh = None
            room = layout.num_target_tokens
            state.past = self.transformer.remember(state.context, state.context_condition, layout.context_cells, room)
        return state

    def token_layout(self, layout: StepLayout) -> StepLayout:
        """Where the transformer's tokens of a step stand; here each latent of the step is one token."""
        return layout

    def embed_context(self, context: Float[Tensor, "B Nc C"]) -> Float[Tensor, "B Nm D"]:
        """Embed context latents as the context tokens of `token_layout`, without their position."""
        return self.from_latents(context)

    def denoise(
        self, state: DenoiserState, x_t: Float[Tensor, "S Nt C"], t: Float[Tensor, " S"]
    ) -> Float[Tensor, "S Nt C"]:
        """Predict v of the target tokens `x_t` at times `t`.

        In training with isolated attention, S may be a multiple of the state's B: sample m B + b goes with context b.
        """
        layout = state.layout
        condition = state.target_condition.repeat(len(t) // len(state.context), 1, 1) + self.time(t)[:, None]
        x = self.from_latents(x_t) + state.target_position
        if state.past is None or state.age == state.refresh:
            x, past = self.transformer.joint(
                *(state.context, state.context_condition, layout.context_cells),
                *(x, condition, layout.target_cells),
                layout.all_cells,
            )
            state.past, state.age = (None if state.refresh == 1 else past), 0
        else:
            x = self.transformer.recall(x, condition, layout.target_cells, state.past)
        state.age += 1
        shift, scale = self.modulation(condition).chunk(2, -1)
        return self.to_latents(affine(shift, self.norm(x), 1 + scale, layout.target_cells))
