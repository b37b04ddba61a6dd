"""The real game behind a real screen: frames and poses belong to their actions, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from data_tools.engines.luanti import ENV_ID, LuantiEnv
from data_tools.engines.luanti import game as game_module
from data_tools.engines.luanti.game import required_programs
from mstv.errors import UserError

try:
    required_programs()
    MISSING = ""
except UserError as error:
    MISSING = str(error)

with_game = pytest.mark.skipif(bool(MISSING), reason=MISSING)
SIZE = (64, 96)


def offspring(root):
    """Process ids of `root`'s descendants that have not ended, by name."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        if rest.split()[0] != "Z":
            parents[int(folder.name)], names[int(folder.name)] = int(rest.split()[1]), name
    found, new = {}, {root}
    while new:
        new = {process for process, parent in parents.items() if parent in new}
        found |= {process: names[process] for process in new}
    return found


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def shift(before, after):
    """Pixels that the picture moved to the right from `before` to `after`, in [-16, 16], by the best overlap."""
    before, after = before.astype(float).mean(2), after.astype(float).mean(2)
    width = before.shape[1]
    errors = {}
    for move in range(-16, 17):
        left, right = max(0, move), min(width, width + move)
        errors[move] = np.abs(after[:, left:right] - before[:, left - move : right - move]).mean()
    return min(errors, key=errors.get)


@pytest.fixture(scope="module")
def env():
    with gymnasium.make(ENV_ID, disable_env_checker=True, world=2, size=SIZE, reach=16, view_distance=32) as made:
        yield made.unwrapped


def test_arguments_out_of_range_are_refused():
    for wrong in ({"size": 32}, {"reach": 17}, {"fov": 120}, {"world": -1}, {"action_mode": "other"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LuantiEnv(**wrong)


def test_a_missing_program_names_its_package(monkeypatch):
    monkeypatch.setattr(game_module, "find_program", lambda names, _: None if "Xvfb" in names else "/bin/true")
    with pytest.raises(UserError, match="Xvfb is not installed: apt-get install xvfb"):
        LuantiEnv()


@with_game
@pytest.mark.slow
def test_every_pose_is_that_of_its_own_action(env):
    actions = np.random.default_rng(0).choice(3, 120, p=[0.6, 0.2, 0.2])
    _, info = env.reset(seed=3)
    pose = info["pose"].astype(float)
    walked = 0
    for action in actions:
        *_, info = env.step(action)
        new = info["pose"].astype(float)
        turned = (new[3] - pose[3] + 180) % 360 - 180
        assert turned == pytest.approx((0, -10, 10)[action], abs=1e-3)
        heading = np.array([-np.sin(np.radians(pose[3])), np.cos(np.radians(pose[3]))])
        moved = (new - pose)[[0, 2]]
        assert moved @ heading <= 1 / 9 + 1e-3
        if action == 0:
            walked += moved @ heading > 1 / 9 - 1e-3
        else:
            assert np.abs(moved).max() == 0
        pose = new
    assert walked > 20


@with_game
@pytest.mark.slow
def test_every_picture_moves_with_its_own_action_and_no_neighbour(env):
    # Turned right, the picture moves left, at once and for one frame only; the walk between hardly moves it sideways.
    rng = np.random.default_rng(1)
    actions = np.concatenate([rng.permutation([1, 2]) for _ in range(40)])
    frame, _ = env.reset(seed=5)
    moves = []
    for action in actions:
        new, *_ = env.step(int(action))
        moves.append(shift(frame, new))
        frame = new
    signs, wanted = np.sign(moves), np.array([0, 1, -1])[actions]
    assert (signs == wanted).mean() > 0.95
    assert (signs[1:] == wanted[:-1]).mean() < 0.7
    assert (signs[:-1] == wanted[1:]).mean() < 0.7


@with_game
@pytest.mark.slow
def test_the_frame_stays_as_it_was_taken_and_shows_the_world_alone(env):
    env.reset(seed=6)
    for action in (0, 0, 1, 0, 2, 2, 0):
        frame, *_ = env.step(action)
        time.sleep(0.4)
        later = env._game._screen.picture()
        # A few blocks at the end of sight may come later, nothing else.
        assert (frame != later).any(2).mean() < 0.03
    assert frame.shape == (*SIZE, 3) and frame.dtype == np.uint8
    # The marker's cells are grey; a picture of the world has colours in its first and last rows.
    for row in (frame[0], frame[-1]):
        assert (np.ptp(row.astype(int), axis=1) > 8).mean() > 0.5


@with_game
@pytest.mark.slow
def test_a_seed_chooses_start_and_picture(env):
    first, info = env.reset(seed=8)
    again, other = env.reset(seed=9)
    assert not np.array_equal(info["pose"], other["pose"])
    for _ in range(3):
        env.step(0)
    again, info_again = env.reset(seed=8)
    assert np.array_equal(info["pose"], info_again["pose"])
    assert (first != again).any(2).mean() < 0.03
    with pytest.raises(ValueError, match="unknown reset options"):
        env.reset(options={"word": 1})


@with_game
@pytest.mark.slow
def test_vector_actions_move_jump_and_look_and_a_killed_game_is_told():
    others = set(offspring(os.getpid()))
    env = LuantiEnv(world=2, size=64, action_mode="vector", reach=16, view_distance=32)
    try:
        _, info = env.reset(seed=3)
        start = info["pose"].astype(float)
        *_, info = env.step(np.array([0, 0, 1, 30.5, 12.25], np.float32))
        pose = info["pose"].astype(float)
        assert pose[1] > start[1]
        assert (pose[3] - start[3]) % 360 == pytest.approx(30.5, abs=1e-3)
        assert pose[4] == pytest.approx(12.25, abs=1e-3)
        with pytest.raises(ValueError, match="column move must be"):
            env.step(np.array([2, 0, 0, 0, 0], np.float32))
        for process, name in offspring(os.getpid()).items():
            if name.startswith("minetest") and process not in others:
                os.kill(process, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="ended"):
            env.step(np.zeros(5, np.float32))
        assert time.monotonic() - began < 10
        assert set(offspring(os.getpid())) <= others
    finally:
        env.close()


@with_game
@pytest.mark.slow
def test_nothing_outlives_a_killed_host():
    code = (
        "from data_tools.engines.luanti import LuantiEnv\n"
        "env = LuantiEnv(world=2, size=64, reach=16, view_distance=32)\n"
        "env.reset(seed=1); print('walking', flush=True)\n"
        "while True: env.step(0)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert host.stdout.readline() == b"walking\n"
        children = offspring(host.pid)
        assert {"Xvfb", "minetest"} <= set(children.values())
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
    end = time.monotonic() + 10
    while any(alive(process) for process in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [name for process, name in children.items() if alive(process)]
