import hashlib

import gymnasium
import numpy as np
import pytest

from data_tools.engines.blockworld import ENV_ID, BlockWorldEnv
from data_tools.engines.blockworld.arena import build_arena
from data_tools.engines.blockworld.blocks import Block
from data_tools.policies import LoopWalk

FORWARD, LEFT, RIGHT = 0, 1, 2
# Changes only with a deliberate change of the arenas: then the frozen sets of LoopWalk differ too.
FROZEN = "e34648c72a5f669afe324d4a7f59cb561db8cbe7a1e6bded97ead09b49c0f93c"


def arena(world=0, side=4, size=24, frames=1, **arguments):
    return BlockWorldEnv(world=world, size=size, arena=side, frames_per_action=frames, fov=90, **arguments)


def walk(env, actions):
    for action in actions:
        frame, *_, info = env.step(action)
    return frame, info["pose"]


def test_frames_and_poses_are_the_frozen_ones():
    total = hashlib.sha256()
    for frames in (1, 3):
        env = arena(side=5, frames=frames)
        for world in (0, 7):
            env.reset(seed=2, options={"world": world})
            for action in [FORWARD, LEFT, FORWARD, FORWARD, RIGHT] * 12:
                frame, *_, info = env.step(action)
                total.update(frame.tobytes() + info["pose"].tobytes())
    assert total.hexdigest() == FROZEN


@pytest.mark.parametrize("side", [2, 4, 9])
def test_arenas_have_walls_emblems_pillars_and_a_court_to_walk(side):
    for seed in range(5):
        world = build_arena(seed, side)
        walls = [mark for mark in world.landmarks if mark.kind == "wall"]
        pillars = [mark for mark in world.landmarks if mark.kind == "pillar"]
        colours = [colour for mark in walls for colour in mark.colours] + [mark.colours[0] for mark in pillars]
        assert len(walls) == len(pillars) == 4 and len(set(colours)) == 12
        for mark in walls:
            assert (world.blocks[mark.x, mark.z, mark.ground :][:3] == mark.colours[1]).all()
            assert (world.blocks == mark.colours[0]).sum() > (world.blocks == mark.colours[1]).sum() >= 6
        for mark in pillars:
            assert (world.blocks[mark.x, mark.z, mark.ground :][:2] == mark.colours[0]).all()
        assert len(world.spawns) == side * side
        places = {(int(x), int(z)) for x, z, _ in world.spawns}
        free = {
            (x, z) for x in range(world.size) for z in range(world.size) if not world.columns[x * world.size + z] >> 2
        }
        assert places == free, "one can stand in the court, and nowhere else"


def test_arenas_differ_and_follow_from_their_seed():
    assert np.array_equal(build_arena(3, 4).blocks, build_arena(3, 4).blocks)
    assert len({build_arena(seed, 4).blocks.tobytes() for seed in range(60)}) == 60
    with pytest.raises(ValueError, match="read-only"):
        build_arena(3, 4).blocks[0, 0, 0] = Block.AIR


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9])
def test_steps_and_turns_are_whole_after_so_many_frames(frames):
    env = arena(side=6, frames=frames)
    _, info = env.reset(seed=4)
    start = info["pose"]
    _, turned = walk(env, [RIGHT] * frames)
    assert (turned[3] - start[3]) % 360 == 90
    walk(env, [FORWARD] * (6 * frames))  # up to the moat
    _, before = walk(env, [RIGHT] * (2 * frames))
    _, after = walk(env, [FORWARD] * frames)
    assert np.isclose(np.abs(after - before)[[0, 2]].sum(), 1, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_walk_keeps_to_the_lattice_and_the_same_pose_shows_the_same_frame(frames):
    env = arena(frames=frames)
    policy = LoopWalk(hold=frames)
    policy.reset(np.random.default_rng(1))
    frame, info = env.reset(seed=1)
    seen = {}
    for _ in range(500):
        pose = tuple(info["pose"].round(4).tolist())
        assert np.array_equal(seen.setdefault(pose, frame), frame)
        assert all(abs(x * frames - round(x * frames - frames / 2) - frames / 2) < 1e-3 for x in (pose[0], pose[2]))
        frame, *_, info = env.step(policy.act(info))
    assert len(seen) > 40 and (frames > 1 or len(seen) <= 64)


def test_a_blocked_step_does_not_begin():
    env = arena()
    env.reset(seed=0)
    walk(env, [FORWARD] * 4)
    frame, pose = walk(env, [FORWARD])
    again, there = walk(env, [FORWARD])
    assert np.array_equal(pose, there) and np.array_equal(frame, again)


def test_vector_walks_stay_in_the_court():
    env = arena(action_mode="vector")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(300):
        action = [rng.uniform(-1, 1), rng.uniform(-1, 1), rng.integers(2), rng.uniform(-90, 90), 0]
        *_, info = env.step(np.array(action, np.float32))
        assert (info["pose"][[0, 2]] > 3).all() and (info["pose"][[0, 2]] < 7).all()


def test_actions_say_what_they_do():
    assert arena().action_units == ("1 block", "90 degrees", "90 degrees")
    assert arena(frames=3).action_units == ("1/3 block", "30 degrees", "30 degrees")
    assert BlockWorldEnv(size=8).action_units == ("1/9 block", "10 degrees", "10 degrees")


@pytest.mark.parametrize("arguments", [{"arena": 1}, {"arena": 33}, {"arena": -1}, {"frames_per_action": 7},
                                       {"frames_per_action": 0}, {"frames_per_action": 25}])  # fmt: skip
def test_bad_arguments_raise(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        gymnasium.make(ENV_ID, size=8, **arguments)
