"""The protocols that have a name: which frames are given, which are generated and scored, and on what walks."""

import difflib
import re
from dataclasses import dataclass
from typing import NamedTuple

from mstv.data.schema import Source
from mstv.errors import UserError

CONTEXT_FRAMES, END_FRAME = 256, 1024
"""Of an evaluation of own settings that does not say them."""


@dataclass(frozen=True)
class Protocol:
    """What is asked of a model; with the set of episodes it makes numbers comparable.

    Attributes:
        name: as `--protocol` takes it, and the name of the results' folder.
        version: grows when the same model would get other numbers.
        context_frames: recorded frames that the video begins with.
        end_frame: one past the last frame that is generated and scored; every episode must be that long.
        about: where it comes from and what it asks.
        policy: the walk that it needs, a name of `mstv-data record --policy`; None takes any walk.
        way_back: whether recordings of any origin will do that are known to be on the way back from the last frame of
            the context on.
    """

    name: str
    version: int
    context_frames: int
    end_frame: int
    about: str
    policy: str | None = None
    way_back: bool = False

    def check_plan(self, context_frames: int) -> None:
        """Raise UserError unless a plan that needs so many frames of context can be evaluated."""
        if context_frames > self.context_frames:
            fitting = [name for name, other in PROTOCOLS.items() if other.context_frames >= context_frames]
            fix = f"choose --protocol {' or '.join(fitting)}" if fitting else "give --context instead of a protocol"
            raise UserError(
                f"--protocol {self.name}: gives {self.context_frames} frames of context, and this run's plan needs "
                f"{context_frames}, so it cannot be evaluated by it: {fix}, or train with a plan of smaller windows"
            )

    def check_episode(self, key: str, num_frames: int, source: Source) -> None:
        """Raise UserError unless an episode of so many frames, which comes from `source`, can be evaluated."""
        walk = self.policy or "loopwalk"
        fix = f"record some with mstv-data record --policy {walk} --frames {self.end_frame}, or choose another protocol"
        if num_frames < self.end_frame:
            raise UserError(
                f"--protocol {self.name}: needs episodes of at least {self.end_frame} frames, {key} has {num_frames}: "
                + fix
            )
        if self.policy in (None, source.policy):
            return
        if not self.way_back or source.policy is not None:
            raise UserError(
                f"--protocol {self.name}: needs walks of the policy {self.policy}, {key} was recorded with "
                f"{source.policy or 'none that is known'}: {fix}"
            )
        turns = return_frame(source)
        if turns is None or not 0 < turns <= self.context_frames:
            raise UserError(
                f"--protocol {self.name}: needs walks of the policy {self.policy}, or such as are on their way back "
                f"from a frame up to {self.context_frames} on; of {key} "
                + ("no way back is known" if turns is None else f"the way back begins at frame {turns}")
                + ": give settings of your own, --context, --end and --protocol NAME"
                + (", or import LoopNav walks again with this version" if turns is None else "")
            )


def return_frame(source: Source) -> int | None:
    """Frame of an imported episode from which it is on its way back, as far as the importer could tell; it may lie
    before the episode, at or below 0.
    """
    known = source.settings.get("return_frame")
    return int(known) - source.first_frame if known is not None else None


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("millivid", 1, 256, 1024, "as published with the method: 768 frames after 256"),
        Protocol("teco-144", 1, 144, 300, "of TECO and FAR: 156 frames after 144"),
        Protocol("teco-36", 1, 36, 300, "of TECO and FAR: 264 frames after 36"),
        Protocol(
            "explore-return",
            1,
            256,
            384,
            "as LoopNav asks: the walker explores during the context, and is scored on the way back",
            policy="explore-return",
            way_back=True,
        ),
        Protocol(
            "look-back",
            1,
            256,
            800,
            "a memory test: looks at a place, away for 8, 16, 32, 64, 128, 256 or 512 frames, and back",
            policy="look-back",
        ),
    )
}
"""By name."""
_CLOSE = 0.85
"""Ratio of `difflib` from which a name is taken for a misspelt one: one letter of eight missing, wrong or too many."""


class Settings(NamedTuple):
    """A protocol by name, or own settings under a label."""

    name: str
    version: int
    context_frames: int
    end_frame: int
    protocol: Protocol | None
    """None for own settings."""


def settings_of(name: str | None, context: int | None, end: int | None) -> Settings:
    """What is to be evaluated, from what a user gave of the three.

    Args:
        name: one of `PROTOCOLS`, or a label for own settings; None makes a label of them.
        context: frames that are given; None takes the protocol's, or `CONTEXT_FRAMES`.
        end: one past the last frame; None takes the protocol's, or `END_FRAME`.

    Raises:
        UserError: `name` is nearly a protocol's, `context` or `end` contradicts the protocol, or nothing is left to
            generate.
    """
    protocol = PROTOCOLS.get(name or "")
    if protocol:
        for option, given, own in (
            ("--context", context, protocol.context_frames),
            ("--end", end, protocol.end_frame),
        ):
            if given not in (None, own):
                raise UserError(
                    f"{option} {given}: --protocol {name} is defined by {option} {own}: leave {option} out, or give "
                    "your settings another name"
                )
        return Settings(protocol.name, protocol.version, protocol.context_frames, protocol.end_frame, protocol)
    if name and (meant := _meant(name)):
        raise UserError(
            f"--protocol {name}: did you mean {' or '.join(meant)}? Settings of your own need a name less like it"
        )
    context = CONTEXT_FRAMES if context is None else context
    end = END_FRAME if end is None else end
    if end <= context:
        raise UserError(f"--end {end} must lie beyond --context {context}")
    return Settings(name or f"context{context}-end{end}", 1, context, end, None)


def _meant(name: str) -> list[str]:
    """Protocols whose name this one nearly is, case and punctuation aside, or begins; the nearest first."""
    plain = _plain(name)
    ratios = {known: difflib.SequenceMatcher(None, plain, _plain(known)).ratio() for known in PROTOCOLS}
    near = [known for known in sorted(ratios, key=lambda known: -ratios[known]) if ratios[known] >= _CLOSE]
    begun = [known for known in PROTOCOLS if len(plain) >= 4 and _plain(known).startswith(plain)]
    return near[:1] or begun


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def protocols_help() -> str:
    """The protocols as a block of the commands' help."""
    lines = []
    for protocol in PROTOCOLS.values():
        needs = f"episodes of {protocol.end_frame} frames"
        needs += f", policy {protocol.policy}" if protocol.policy else ", any walk"
        needs += f", or a way back from frame {protocol.context_frames} or before" if protocol.way_back else ""
        span = f"--context {protocol.context_frames} --end {protocol.end_frame}"
        lines += [f"  {protocol.name:15} {span}; needs {needs}", f"  {'':15} {protocol.about}"]
    return "protocols by name:\n" + "\n".join(lines) + "\n"
