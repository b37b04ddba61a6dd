"""The eye: never in a block, whatever the walk; and no read outside the arrays, wherever it is."""

import runpy

import numba
import numpy as np
import pytest

from data_tools.engines.blockworld import BlockWorldEnv, raycast
from data_tools.engines.blockworld.blocks import Block
from data_tools.engines.blockworld.player import BLOCK, EYE_HEIGHT
from data_tools.engines.blockworld.renderer import Eye, Renderer
from data_tools.engines.blockworld.world import World, build_world
from data_tools.policies import ExploreReturn


def eye_column_and_height(env: BlockWorldEnv) -> tuple[int, int, int]:
    player = env._player
    return player.x // BLOCK, player.z // BLOCK, (player.y - player.lag + EYE_HEIGHT) // BLOCK


@pytest.mark.parametrize("world", range(6))
def test_exploring_by_whole_blocks_keeps_the_eye_out_of_the_ground(world):
    env = BlockWorldEnv(world=world, size=2, frames_per_action=1)
    for seed in range(3):
        policy = ExploreReturn(hold=1)
        policy.reset(np.random.default_rng(seed))
        _, info = env.reset(seed=seed)
        for _ in range(383):
            _, _, _, _, info = env.step(policy.act(info))
            assert env._world.blocks[eye_column_and_height(env)] == Block.AIR, info["pose"]


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, "vector"])
def test_walking_at_random_keeps_the_eye_out_of_the_ground(frames):
    vector = frames == "vector"
    env = BlockWorldEnv(
        size=2, action_mode="vector" if vector else "discrete", frames_per_action=9 if vector else frames
    )
    lagged = 0
    for world in range(3):
        rng = np.random.default_rng(world)
        env.reset(seed=world, options={"world": world})
        for _ in range(600):
            leaps = [rng.uniform(), rng.uniform(-1, 1), rng.integers(2), rng.uniform(-40, 40), rng.uniform(-40, 40)]
            env.step(np.array(leaps, np.float32) if vector else int(rng.choice([0, 0, 0, 0, 1, 2])))
            assert env._world.blocks[eye_column_and_height(env)] == Block.AIR
            lagged += env._player.lag > 0
    assert lagged > 20, "there was nothing to climb"


def test_a_slow_climb_lags_as_it_always_did():
    # Two climbs in a row that leave the eye above the ground: recordings made before have such frames.
    env = BlockWorldEnv(world=0, size=2)
    env.reset(seed=0)
    player = env._player
    x, z = player.x, player.z
    for lag, expected in [(0, BLOCK), (BLOCK // 2, BLOCK + BLOCK // 2), (BLOCK * 5 // 6, BLOCK)]:
        player.x, player.z, player.lag, player._last_ground = x, z, lag, player.y
        player._free = lambda *place, start=(player.x, player.y, player.z): place != (start[0], start[1], start[2] + 1)
        player._shift(0, 1)
        assert player.lag == expected


def checked_renderer(monkeypatch: pytest.MonkeyPatch, size: int) -> Renderer:
    """A renderer that raises IndexError where the usual one would read outside an array."""
    checking = numba.njit(error_model="numpy", boundscheck=True)
    monkeypatch.setattr("data_tools.engines.blockworld.kernel.kernel", checking)
    fresh = runpy.run_path(raycast.__file__)
    monkeypatch.setattr("data_tools.engines.blockworld.renderer.render_frame", fresh["render_frame"])
    return Renderer(size, size, 110, 64)


def hard_eyes(world: World) -> list[Eye]:
    rng = np.random.default_rng(0)
    filled = np.argwhere(world.blocks != Block.AIR)
    inside = [tuple(place[[0, 2, 1]] + rng.uniform(size=3)) for place in rng.permutation(filled)[:150]]
    anywhere = list(rng.uniform(0, 1, (50, 3)) * [world.size, world.height, world.size])
    # The last double within the map, which is past the map as a float32; and a hair before a cell's end.
    far, top = np.nextafter(world.size, 0), np.nextafter(world.height, 0)
    rims = [(x, y, z) for x in (0.0, far, 40 - 1e-9) for y in (0.0, top, 30 - 1e-9) for z in (0.0, far, 40 - 1e-9)]
    return [
        Eye(*map(float, place), yaw=int(rng.integers(360_000)), pitch=int(rng.integers(-89_000, 89_001)))
        for place in [*inside, *anywhere, *rims]
    ]


def test_no_eye_makes_the_renderer_read_outside_its_arrays(monkeypatch):
    world = build_world(3, 64)
    renderer = checked_renderer(monkeypatch, 12)
    for eye in hard_eyes(world):
        renderer.draw(world, eye)


def test_from_inside_a_block_one_sees_what_surrounds_it():
    world = build_world(3, 64)
    x, z, ground = map(float, world.spawns[0])
    renderer = Renderer(16, 16, 70, 64)
    inside = renderer.draw(world, Eye(x + 0.5, ground - 0.5, z + 0.5, 0, -89_000))
    above = renderer.draw(world, Eye(x + 0.5, ground + 0.5, z + 0.5, 0, -89_000))
    assert np.abs(inside.astype(int) - above).mean() < 2, "the open sky over both"


@pytest.mark.parametrize("place", [(-0.1, 30, 5), (5, 48, 5), (5, 30, 64), (5, -1e-9, 5), (float("nan"), 30, 5)])
def test_an_eye_outside_the_map_is_refused(place):
    with pytest.raises(ValueError, match="inside the map"):
        Renderer(2, 2, 70, 64).draw(build_world(3, 64), Eye(*place, yaw=0, pitch=0))
