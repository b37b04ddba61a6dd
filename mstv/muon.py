"""Muon for the weights of linear layers and AdamW for everything else, in one optimiser."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from mstv.sharding import local, shard_like, whole_like

MuonScale = Literal["match_rms", "original"]
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Newton-Schulz polynomial a s + b s^3 + c s^5; five of them take singular values in (0.01, 1] to about [0.7, 1.2]."""
ITERATIONS = 5
EPS = 1e-7


class MuonAdamW(Optimizer):
    """Each group of parameters says its `algorithm`: `muon`, for matrices, or `adamw`.

    Muon (Jordan et al. 2024): B <- m B + (1 - m) G; W <- (1 - lr decay) W - lr s O(m B + (1 - m) G), where O makes all
    singular values about 1, and s = 0.2 sqrt(max(rows, columns)) gives the update the root mean square 0.2 that AdamW's
    usually has (arXiv 2502.16982), so that one learning rate serves both; the `original` s is
    sqrt(max(1, rows / columns)).

    Not torch.optim.Muon: that one takes only matrices, so that a training needs two optimisers, iterates one matrix at
    a time, and always in bfloat16, which many CPUs emulate (40 times slower than float32 on the one this was written
    on). Here matrices of equal shape go through one batched product, in bfloat16 on an accelerator and in float32 on
    a CPU.

    Of sharded parameters (DTensor, FSDP2) every rank gathers the whole matrices, one shape at a time, makes the same
    orthogonal ones, and keeps its shard; moments stay sharded.

    Args:
        groups: dicts with `params` and `algorithm`, and with any of the settings below where they differ.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        momentum: m, Nesterov's.
        scale: s of Muon's update.
        betas: decays of AdamW's two moments.
        eps: of AdamW.

    Raises:
        ValueError: an unknown algorithm or scale, or a parameter for Muon that is no matrix.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        scale: MuonScale = "match_rms",
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        # Plain values only, so that weights_only loads a checkpoint.
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "scale": scale}
        super().__init__(groups, {**defaults, "betas": betas, "eps": eps, "algorithm": None})
        for group in self.param_groups:
            if group["algorithm"] not in ("muon", "adamw"):
                raise ValueError(f"algorithm of a group must be muon or adamw, got {group['algorithm']}")
            if group["scale"] not in get_args(MuonScale):
                raise ValueError(f"scale must be one of {', '.join(get_args(MuonScale))}, got {group['scale']}")
            if group["algorithm"] == "muon" and any(parameter.ndim != 2 for parameter in group["params"]):
                raise ValueError("Muon takes matrices only: give other parameters to a group of algorithm adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Returns:
            what `closure`, which computes the gradients, returns; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["algorithm"] == "adamw":
                self._step_adamw(group, parameters)
                continue
            equal: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
            for parameter in parameters:
                equal.setdefault((parameter.shape, parameter.device), []).append(parameter)
            for alike in equal.values():
                self._step_muon(group, alike)
        return loss

    def _step_muon(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """One step of matrices of equal shape."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        gradients = local([parameter.grad for parameter in parameters if parameter.grad is not None])
        momenta = local([self.state[parameter]["momentum_buffer"] for parameter in parameters])
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, momenta, group["momentum"])

        dtype = torch.float32 if parameters[0].device.type == "cpu" else torch.bfloat16
        whole = [whole_like(update.to(dtype), parameter) for update, parameter in zip(updates, parameters, strict=True)]
        orthogonal = orthogonalise(torch.stack(whole)).to(parameters[0].dtype)
        parts = [shard_like(one, parameter) for one, parameter in zip(orthogonal, parameters, strict=True)]

        rows, columns = parameters[0].shape
        scale = 0.2 * math.sqrt(max(rows, columns))
        if group["scale"] == "original":
            scale = math.sqrt(max(1, rows / columns))
        weights = local(parameters)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, parts, alpha=-group["lr"] * scale)

    def _step_adamw(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                # On the CPU, as torch has it: reading it needs no synchronisation.
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalise(matrices: Float[Tensor, "N R C"]) -> Float[Tensor, "N R C"]:
    """U S' V^T for each matrix U S V^T, S' within about 0.3 of 1 where S is not tiny; zero stays zero."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    # The Frobenius norm bounds the spectral norm.
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True, dtype=torch.float32)
    x = x / norm.clamp(min=EPS).to(x.dtype)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
