from itertools import groupby, islice

import numpy as np
import pytest

from data_tools.engines.blockworld import BlockWorldEnv
from data_tools.policies import (
    FORWARD,
    POLICIES,
    TURN_LEFT,
    TURN_RIGHT,
    ExploreReturn,
    FreeWalk,
    LookBack,
    LoopWalk,
    RandomExplorer,
    Uniform,
)


def bundles(count, seed=0):
    rng = np.random.default_rng(seed)
    return [LoopWalk.bundle(rng) for _ in range(count)]


def test_loop_walk_bundles_have_the_published_statistics():
    drawn = bundles(8000)
    turns = np.array([sum(action != FORWARD for action in bundle) for bundle in drawn])
    frequencies = np.bincount(turns, minlength=6) / len(drawn)
    # Five standard deviations of a frequency from 8000 draws are below .028.
    assert np.allclose(frequencies, [0, 0.1, 0.3, 0.1, 0.5, 0], atol=0.028)
    for t in (1, 2, 3, 4):
        forwards = [bundle.count(FORWARD) for bundle, n in zip(drawn, turns, strict=True) if n == t]
        seen = np.bincount(forwards, minlength=3 * t) / len(forwards)
        assert seen[:t].sum() == 0 and len(seen) == 3 * t
        assert np.allclose(seen[t:], 1 / (2 * t), atol=0.09)


def test_loop_walk_bundles_turn_one_way_and_begin_forward():
    sides = [set(bundle) - {FORWARD} for bundle in bundles(2000)]
    assert all(len(side) == 1 for side in sides)
    assert 0.44 < np.mean([side == {TURN_LEFT} for side in sides]) < 0.56
    assert all(bundle[0] == FORWARD for bundle in bundles(2000))
    # The rest is shuffled: both kinds of action come second often.
    second = np.mean([bundle[1] == FORWARD for bundle in bundles(2000)])
    assert 0.2 < second < 0.8


def test_loop_walk_holds_each_action_for_nine_frames():
    policy = LoopWalk()
    policy.reset(np.random.default_rng(3))
    frames = [policy.act({}) for _ in range(9 * 200)]
    assert all(type(action) is int for action in frames)
    assert all(len(list(run)) % 9 == 0 for _, run in groupby(frames))
    rng = np.random.default_rng(3)
    expected = [action for _ in range(100) for action in LoopWalk.bundle(rng)]
    assert frames[::9] == list(islice(expected, 200))


def test_the_same_generator_gives_the_same_walk():
    def walk(policy, seed):
        env = BlockWorldEnv(size=1, action_mode=getattr(policy, "action_mode", "discrete"))
        policy.reset(np.random.default_rng(seed))
        _, info = env.reset(seed=0)
        actions = []
        for _ in range(150):
            actions.append(policy.act(info))
            info = env.step(actions[-1])[4]
        return np.array(actions)

    for policy in (LoopWalk(), RandomExplorer(), RandomExplorer("vector")):
        assert np.array_equal(walk(policy, 1), walk(policy, 1))
        assert not np.array_equal(walk(policy, 1), walk(policy, 2))


def test_explorer_goes_mostly_forward_and_turns_when_blocked():
    policy = RandomExplorer()
    policy.reset(np.random.default_rng(0))
    still = {"pose": np.zeros(5, np.float32)}
    first = [policy.act(still) for _ in range(4)]
    assert first[0] == FORWARD and first[1] != FORWARD, "nothing moved after the first step: turn"
    policy.reset(np.random.default_rng(0))
    actions = [policy.act({"pose": np.array([0.1 * t, 0, 0, 0, 0], np.float32)}) for t in range(5000)]
    assert 0.6 < np.mean(np.array(actions) == FORWARD) < 0.95
    assert {TURN_LEFT, TURN_RIGHT} <= set(actions)


def test_vector_explorer_stays_in_range_and_moves_the_camera_smoothly():
    env = BlockWorldEnv(size=1, action_mode="vector", world=1)
    policy = RandomExplorer("vector")
    policy.reset(np.random.default_rng(0))
    _, info = env.reset(seed=0)
    actions, poses = [], []
    for _ in range(1500):
        actions.append(policy.act(info))
        assert env.action_space.contains(actions[-1])
        info = env.step(actions[-1])[4]
        poses.append(info["pose"])
    yaw = np.array(actions)[:, 3]
    assert np.abs(yaw).max() < 15 and np.abs(np.diff(yaw)).max() < 6
    assert np.abs(np.array(poses)[:, 4]).max() < 45
    assert np.ptp(np.array(poses)[:, [0, 2]], axis=0).max() > 5


def walk_rooms(policy, frames=1024):
    """Actions (T - 1,) and poses (T, 5) of a walk in four closed rooms."""
    env = BlockWorldEnv(size=1, world=3, rooms=2, frames_per_action=1)
    policy.reset(np.random.default_rng(5))
    _, info = env.reset(seed=0)
    actions, poses = [], [info["pose"]]
    for _ in range(frames - 1):
        actions.append(policy.act(info))
        info = env.step(actions[-1])[4]
        poses.append(info["pose"])
    return np.array(actions), np.array(poses)


def test_free_walk_tries_each_barred_step_once_and_takes_all_others():
    actions, poses = walk_rooms(FreeWalk(hold=1))
    still = (poses[1:] == poses[:-1]).all(1)
    barred = {tuple(pose) for pose in poses[:-1][still]}
    assert len(barred) == still.sum() == 8, "two walls without a door in each of four rooms, each met once"
    assert len(np.unique(poses, axis=0)) == 16
    assert (actions[still] == FORWARD).all()
    # Turns and steps between them are those of LoopWalk, less the steps that were left out.
    published = LoopWalk(hold=1)
    published.reset(np.random.default_rng(5))
    drawn = iter(published.act() for _ in range(10_000))
    for action in actions:
        skipped = next(word for word in drawn if word == action or word != FORWARD)
        assert skipped == action
    assert (walk_rooms(LoopWalk(hold=1))[1][1:] == walk_rooms(LoopWalk(hold=1))[1][:-1]).all(1).mean() > 0.4


def test_free_walk_is_the_published_walk_where_poses_are_not_told():
    free, published = FreeWalk(hold=2), LoopWalk(hold=2)
    for policy in (free, published):
        policy.reset(np.random.default_rng(1))
    assert [free.act({}) for _ in range(500)] == [published.act() for _ in range(500)]


def test_policies_refuse_bad_arguments_and_need_a_reset():
    others = {"free-walk": FreeWalk, "explore-return": ExploreReturn, "look-back": LookBack}
    assert dict(POLICIES) == {"loopwalk": LoopWalk, "random": RandomExplorer, "uniform": Uniform, **others}
    for make in (
        lambda: LoopWalk(hold=0),
        lambda: FreeWalk(hold=0),
        lambda: RandomExplorer("keys"),
        lambda: RandomExplorer(speed=0.0),
    ):
        with pytest.raises(ValueError):
            make()
    for policy in (LoopWalk(), RandomExplorer()):
        with pytest.raises(RuntimeError, match="reset"):
            policy.act({})
