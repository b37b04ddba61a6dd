"""How much memory GPUs have."""

import re

PUBLISHED: tuple[tuple[str, float], ...] = (
    ("B200", 178.3),
    ("GH200", 94.5),
    ("H200", 139.8),
    ("H100 NVL", 93.1),
    ("H100", 79.1),
    ("A100.*40 ?GB", 39.4),
    ("A100", 79.1),
    ("A10G?", 22.1),
    ("L40S", 44.4),
    ("L4", 22.0),
    ("V100.*32 ?GB", 31.7),
    ("V100.*", 15.8),
    ("T4", 14.6),
    ("RTX 4090", 23.6),
    ("RTX 3090", 23.7),
)
"""GiB that a process can have of them, a little less than what their names say."""


def published_bytes(name: str) -> int | None:
    """Memory of the GPU of this name; None for an unknown one or a slice of one."""
    if "MIG" in name:
        return None
    for pattern, gibibytes in PUBLISHED:
        if re.search(rf"\b({pattern})\b", name, re.IGNORECASE):
            return round(gibibytes * 2**30)
    return None
