import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from data_tools.engines.blockworld import ENV_ID, BlockWorldEnv
from data_tools.engines.blockworld.player import BLOCK, Player
from data_tools.engines.blockworld.world import build_world
from data_tools.policies import LoopWalk

FORWARD, LEFT, RIGHT = 0, 1, 2


def run(env, actions):
    for action in actions:
        frame, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (0.0, False, False)
    return frame, info["pose"]


@pytest.fixture(scope="module")
def discrete():
    return BlockWorldEnv(world=0, size=(24, 32))


@pytest.fixture(scope="module")
def vector():
    return BlockWorldEnv(world=0, size=16, action_mode="vector")


@pytest.mark.parametrize("mode", ["discrete", "vector"])
def test_gymnasium_checks_pass(mode):
    env = gymnasium.make(ENV_ID, world=2, size=16, action_mode=mode)
    with warnings.catch_warnings():
        # The checker warns of what cannot be otherwise: a spec on a made env, and camera degrees beyond [-1, 1].
        warnings.simplefilter("ignore")
        check_env(env.unwrapped, skip_render_check=False)
    assert len(env.unwrapped.action_names) == len(env.unwrapped.action_units)


def test_frames_and_info_have_the_promised_form(discrete):
    frame, info = discrete.reset(seed=1)
    assert frame.shape == (24, 32, 3) and frame.dtype == np.uint8
    assert info["pose"].shape == (5,) and info["pose"].dtype == np.float32 and info["world"] == 0
    assert np.array_equal(discrete.render(), frame)
    assert frame.std() > 10
    discrete.step(FORWARD)[0][:] = 0
    assert discrete.render().any(), "the caller's frame is the caller's"


def test_a_full_turn_comes_back_bit_for_bit(discrete):
    frame, info = discrete.reset(seed=1)
    half, _ = run(discrete, [LEFT] * 18)
    assert not np.array_equal(frame, half)
    back, pose = run(discrete, [LEFT] * 18)
    assert np.array_equal(frame, back) and np.array_equal(info["pose"], pose)


@pytest.mark.parametrize("seed", range(4))
def test_walking_there_and_back_comes_back_bit_for_bit(discrete, seed):
    frame, info = discrete.reset(seed=seed)
    _, away = run(discrete, [FORWARD] * 9)
    assert np.isclose(np.abs(away - info["pose"])[[0, 2]].sum(), 1.0, atol=1e-5)
    back, pose = run(discrete, [RIGHT] * 18 + [FORWARD] * 9 + [RIGHT] * 18)
    assert np.array_equal(info["pose"], pose) and np.array_equal(frame, back)


def test_yaw_and_axes_are_minecrafts(vector):
    _, info = vector.reset(seed=3)
    turn = -info["pose"][3]
    _, start = run(vector, [[0, 0, 0, turn if turn > -180 else turn + 360, 0]])
    assert start[3] == 0
    _, south = run(vector, [[0.25, 0, 0, 0, 0]])
    level = [0, 2, 3, 4]  # all but the height
    assert np.allclose((south - start)[level], [0, 0.25, 0, 0], atol=1e-5)
    _, right = run(vector, [[0, 0.25, 0, 0, 0]])
    assert np.allclose((right - south)[level], [-0.25, 0, 0, 0], atol=1e-5)
    _, west = run(vector, [[0.25, 0, 0, 90, 0]])
    assert np.allclose((west - right)[level], [-0.25, 0, 90, 0], atol=1e-5)


def test_pitch_stops_and_shows_sky_above_and_ground_below(vector):
    vector.reset(seed=3)
    up, pose = run(vector, [[0, 0, 0, 0, -120]])
    assert pose[4] == -89 and up[..., 2].mean() > up[..., 0].mean()
    down, pose = run(vector, [[0, 0, 0, 0, 180], [0, 0, 0, 0, 10]])
    assert pose[4] == 89 and down[..., 2].mean() < up[..., 2].mean()


def test_a_jump_rises_more_than_a_block_and_lands(vector):
    vector.reset(seed=3)
    heights = [run(vector, [[0, 0, jump, 0, 0]])[1][1] for jump in [0, 1] + [0] * 20]
    assert 1.0 < max(heights) - heights[0] < 1.5
    assert heights[-1] == heights[0]


@pytest.mark.parametrize("action", [3, -1, 0.0, np.nan, [0], None, "forward", True])
def test_bad_discrete_actions_raise(discrete, action):
    discrete.reset(seed=0)
    with pytest.raises(ValueError, match="discrete action"):
        discrete.step(action)


@pytest.mark.parametrize(
    "action", [0, [0.0] * 4, [np.nan, 0, 0, 0, 0], [1.5, 0, 0, 0, 0], [0, 0, -1, 0, 0], [0, 0, 0, np.inf, 0], None]
)
def test_bad_vector_actions_raise(vector, action):
    vector.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        vector.step(action)


@pytest.mark.parametrize(
    "arguments",
    [{"world": -1}, {"size": 0}, {"action_mode": "keys"}, {"map_size": 10}, {"map_height": 20}, {"fov": 180},
     {"view_distance": 0}, {"render_mode": "human"}],
)  # fmt: skip
def test_bad_arguments_raise(arguments):
    with pytest.raises(ValueError):
        BlockWorldEnv(**arguments)


def test_step_before_reset_raises():
    with pytest.raises(RuntimeError, match="reset"):
        BlockWorldEnv(size=8).step(0)


def test_reset_seed_chooses_the_place_and_the_option_the_world():
    env = BlockWorldEnv(world=4, size=32)
    first, info = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    _, elsewhere = env.reset(seed=2)
    assert np.array_equal(first, again) and not np.array_equal(info["pose"], elsewhere["pose"])
    changed, info = env.reset(seed=1, options={"world": 5})
    assert info["world"] == 5 and not np.array_equal(first, changed)
    fresh, _ = BlockWorldEnv(world=5, size=32).reset(seed=1)
    assert np.array_equal(changed, fresh)
    with pytest.raises(ValueError, match="unknown reset options"):
        env.reset(options={"word": 5})


def test_a_walker_never_stands_in_a_block_in_water_or_off_the_map():
    world = build_world(6)
    rng = np.random.default_rng(0)
    for spawn in world.spawns[:6]:
        player = Player(world, *map(int, spawn), yaw=0)
        for _ in range(400):
            player.turn(int(rng.integers(-20_000, 20_001)))
            player.step(int(rng.integers(0, BLOCK)), jump=bool(rng.integers(2)))
            column = world.columns[player.x // BLOCK * world.size + player.z // BLOCK]
            assert not column >> (player.y // BLOCK) & 1
            assert player._free(player.x, player.y, player.z)


@pytest.mark.parametrize("world", range(8))
def test_loop_walks_are_seldom_stuck(world):
    env = BlockWorldEnv(world=world, size=1)
    moved = []
    for seed in range(2):
        policy = LoopWalk()
        policy.reset(np.random.default_rng(seed))
        _, info = env.reset(seed=seed)
        for _ in range(1023):
            action, before = policy.act(info), info["pose"]
            info = env.step(action)[4]
            if action == FORWARD:
                moved.append(np.abs(info["pose"] - before)[[0, 2]].max() > 0.05)
    assert np.mean(moved) > 0.6
