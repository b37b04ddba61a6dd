"""Random numbers that depend on a key alone, never on what was drawn before."""

import hashlib

import torch
from jaxtyping import Float
from torch import Tensor


def keyed_generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by `key`, the same in every process; another kind of device draws other numbers.

    Noise keyed by (seed, episode, chunk, step) does not depend on batch size, rank, device count or resume.
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def keyed_uniform(first: int, count: int, width: int, *key: int | str) -> Float[Tensor, "{count} {width}"]:
    """Numbers in [0, 1) for the samples first, first + 1, ... of the batch that `key` names, `width` for each.

    A sample's numbers do not depend on how the batch is shared out among ranks.
    """
    return torch.rand(first + count, width, generator=keyed_generator(*key))[first:]


def keyed_normal(
    first: int, shape: tuple[int, ...], *key: int | str, device: torch.device | str = "cpu"
) -> Float[Tensor, "*shape"]:
    """Standard normal numbers (B, ...) for the samples first, first + 1, ... of the batch that `key` names; likewise.

    They are drawn on `device`: those of a large model's step would take longer on the CPU than the step takes.
    """
    samples = range(first, first + shape[0])
    parts = [torch.randn(shape[1:], generator=keyed_generator(*key, n, device=device), device=device) for n in samples]
    return torch.stack(parts)
