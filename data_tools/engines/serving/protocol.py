"""Messages between a recorder and an engine: one JSON object each, and at most one block of bytes behind it.

A message is two little-endian uint32, the lengths of both parts, then the parts.

| request | answer |
|---|---|
| `open`: adapter, env_id, imports, size [H, W], action_mode, options | kind, names, units, low, high, fps, versions |
| `reset`: seed, world | ended, pose or null; the frame, uint8 (H', W', 3), with its shape |
| `step`: action, an int or a list of numbers | as for `reset` |

Any answer may be `{"error": text, "fix": bool, "missing": bool}` instead; `fix` tells that asking again cannot help and
the user must mend something, `missing` that it is something to install. A closed pipe ends the engine.
"""

import json
import struct
from typing import IO, Any, Dict, Tuple

_LENGTHS = struct.Struct("<II")
_MOST_JSON = 1 << 24  # bytes; a longer one is not ours


def send(pipe: IO[bytes], message: Dict[str, Any], block: bytes = b"") -> None:
    """Write one message and flush it."""
    text = json.dumps(message).encode()
    pipe.write(_LENGTHS.pack(len(text), len(block)))
    pipe.write(text)
    pipe.write(block)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Tuple[Dict[str, Any], bytes]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
        ValueError: what comes is no message.
    """
    text_length, block_length = _LENGTHS.unpack(_exactly(pipe, _LENGTHS.size))
    if text_length > _MOST_JSON:
        raise ValueError("what came is no message")
    return json.loads(_exactly(pipe, text_length).decode()), _exactly(pipe, block_length)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    parts = []
    while count:
        part = pipe.read(count)
        if not part:
            raise EOFError("the other side closed the pipe")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
