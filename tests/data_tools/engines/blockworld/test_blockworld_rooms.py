import hashlib

import numpy as np
import pytest

from data_tools.engines.blockworld import BlockWorldEnv
from data_tools.engines.blockworld.rooms import PITCH, build_rooms
from data_tools.policies import LoopWalk

FORWARD, LEFT, RIGHT = 0, 1, 2
# Changes only with a deliberate change of the rooms: then the frozen sets of LoopWalk differ too.
FROZEN = "35fc204aedae714d510ad450fe3924dacbb415b971f7bb21bffd08d0afbd2cd2"


def rooms(world=0, side=2):
    return BlockWorldEnv(world=world, size=24, rooms=side, frames_per_action=1, fov=90)


def test_frames_and_poses_are_the_frozen_ones():
    total = hashlib.sha256()
    env = rooms(side=3)
    for world in (0, 7):
        env.reset(seed=2, options={"world": world})
        for action in [FORWARD, LEFT, FORWARD, FORWARD, RIGHT] * 12:
            frame, *_, info = env.step(action)
            total.update(frame.tobytes() + info["pose"].tobytes())
    assert total.hexdigest() == FROZEN


@pytest.mark.parametrize("side", [1, 2, 4])
def test_each_room_has_colours_of_its_own_and_doors_to_its_neighbours(side):
    world = build_rooms(3, side)
    assert world.size == side * PITCH and len(world.landmarks) == 4 * side * side and len(world.spawns) == side * side
    for x, z, ground in world.spawns:
        nearby = [mark for mark in world.landmarks if max(abs(mark.x - x), abs(mark.z - z)) == PITCH // 2]
        colours = [colour for mark in nearby for colour in mark.colours]
        assert len(nearby) == 4 and len(set([*colours, world.blocks[x, z, ground - 1]])) == 9
        for mark in nearby:
            assert (world.blocks[mark.x, mark.z, ground : ground + 4] == mark.colours[1]).all()
        for dx, dz in ((1, 0), (0, 1), (-1, 0), (0, -1)):
            way = [(x + dx * step, z + dz * step) for step in range(PITCH + 1)]
            inside = all(0 <= place < world.size for place in way[-1])
            free = inside and not any(world.columns[a * world.size + b] >> ground for a, b in way)
            assert free == inside


def test_a_step_leads_to_the_next_room_or_nowhere_and_a_pose_comes_back_bit_for_bit():
    env = rooms()
    frame, info = env.reset(seed=5)
    policy = LoopWalk(1)
    policy.reset(np.random.default_rng(0))
    seen = {tuple(info["pose"].tolist()): frame}
    for _ in range(300):
        frame, *_, info = env.step(policy.act(info))
        assert (seen.setdefault(tuple(info["pose"].tolist()), frame) == frame).all()
    # Four rooms, four headings, and no two views alike.
    assert len(seen) == 16
    views = list(seen.values())
    assert all(np.abs(a.astype(int) - b).mean() > 5 for i, a in enumerate(views) for b in views[:i])
    assert {pose[0] for pose in seen} == {3.5, 3.5 + PITCH}


def test_worlds_differ_and_what_is_out_of_range_is_refused():
    assert not np.array_equal(build_rooms(1, 2).blocks, build_rooms(2, 2).blocks)
    assert np.array_equal(build_rooms(1, 2).blocks, build_rooms(1, 2).blocks)
    for seed, side in ((-1, 2), (0, 0), (0, 17)):
        with pytest.raises(ValueError, match=r"world seed must be >= 0|rooms must be in \[1, 16\]"):
            build_rooms(seed, side)
    with pytest.raises(ValueError, match=r"choose arena \(2\) or rooms \(2\), not both"):
        BlockWorldEnv(arena=2, rooms=2)
    with pytest.raises(ValueError, match="frames_per_action must be 1, got 9"):
        BlockWorldEnv(rooms=2)
