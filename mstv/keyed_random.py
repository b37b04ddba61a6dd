"""Random numbers that depend on a key alone, never on what was drawn before."""

import hashlib

import torch


def keyed_generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by `key`, the same in every process and on every device.

    Noise keyed by (seed, episode, chunk, step) does not depend on batch size, rank, device count or resume.
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
