"""Gymnasium environments of every shape, well-behaved and not; importing this module registers them."""

import os
import signal
import subprocess
import sys
import time
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

PICTURE = spaces.Box(0, 255, (12, 16, 3), np.uint8)


class Shown(gymnasium.Env):
    """Shows its step, its seed and the sum of its action in the first pixel of its observation."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space = PICTURE
    action_space = spaces.Discrete(4)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.seed = 0, seed
        return self.seen(0), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.count += 1
        self.misbehave()
        return self.seen(_total(action)), 0.0, False, False, {}

    def misbehave(self):
        pass

    def picture(self, total):
        picture = np.zeros((12, 16, 3), np.uint8)
        picture[0, 0] = (self.count, self.seed % 256, total % 256)
        return picture

    def seen(self, total):
        return self.picture(total)


def _total(action):
    if isinstance(action, dict):
        return sum(_total(part) for part in action.values())
    if isinstance(action, tuple):
        return sum(_total(part) for part in action)
    return int(np.sum(action))


class Dicts(Shown):
    """Its picture is one of several observations; its ids begin at 2; it tells a pose."""

    observation_space = spaces.Dict({"pov": PICTURE, "compass": spaces.Box(-180, 180)})
    action_space = spaces.Discrete(3, start=2)

    def seen(self, total):
        return {"pov": self.picture(total), "compass": np.zeros(1, np.float32)}

    def step(self, action):
        seen, reward, terminated, truncated, _ = super().step(action)
        return seen, reward, terminated, truncated, {"pose": np.arange(5) + 0.5}

    def get_action_meanings(self):
        return ["NOOP", "LEFT", "RIGHT"]


class Rendered(Shown):
    """Its observations are numbers; only `render` shows a picture."""

    observation_space = spaces.Box(-np.inf, np.inf, (4,))
    action_space = spaces.Box(-np.inf, np.inf, (2,))

    def seen(self, total):
        self.total = total
        return np.zeros(4, np.float32)

    def render(self):
        assert self.render_mode == "rgb_array"
        return self.picture(self.total)


class Nested(Shown):
    action_space = spaces.Dict(
        {
            "keys": spaces.MultiBinary(2),
            "wheels": spaces.MultiDiscrete([3, 5]),
            "both": spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(-2, 2, (1, 2)))),
            "count": spaces.Box(0, 9, (), np.int64),
        }
    )


class Words(Shown):
    action_space = spaces.Text(5)


class Blind(Shown):
    """Shows nothing at all."""

    observation_space = spaces.Box(-1, 1, (4,))

    def seen(self, total):
        return np.zeros(4, np.float32)

    def render(self):
        return None


class Undrawn(Rendered):
    """Misses the package that it draws with, and sees it when it draws."""

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed")


class Early(Shown):
    """Ends by itself after three steps."""

    def step(self, action):
        seen, reward, _, _, info = super().step(action)
        return seen, reward, self.count == 3, False, info


class Raises(Shown):
    def misbehave(self):
        raise RuntimeError("the level is flooded")


class Hangs(Shown):
    """Hangs, with a child in its group and one in a session of its own, whose ids it has written down."""

    def __init__(self, render_mode=None, note=""):
        super().__init__(render_mode)
        children = [subprocess.Popen(["sleep", "1000"], start_new_session=own) for own in (False, True)]
        forked = os.fork()
        if not forked:
            time.sleep(1000)
        with open(note, "w") as file:
            file.write(" ".join(str(number) for number in (os.getpid(), forked, *(child.pid for child in children))))

    def misbehave(self):
        # One that does not listen to signals either.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)


class Prints(Shown):
    """Writes to standard output in three ways."""

    def misbehave(self):
        print("x" * 100_000)
        sys.stdout.flush()
        os.write(1, b"\x00\x01junk\n" * 100)
        subprocess.run(["echo", "from a child"], check=True)


class Exits(Shown):
    def misbehave(self):
        if not os.fork():  # a child that still holds all pipes
            time.sleep(1000)
        os.write(2, b"first line\nout of memory on the card\n")
        os._exit(7)


for kind in (Shown, Dicts, Rendered, Nested, Words, Blind, Undrawn, Early, Raises, Hangs, Prints, Exits):
    gymnasium.register(f"{kind.__name__}-v0", kind)
