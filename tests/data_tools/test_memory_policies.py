"""Walks that come back on purpose: explore-return and look-back."""

from itertools import pairwise

import numpy as np
import pytest

from data_tools.engine_process import ActionRange
from data_tools.engines.blockworld import BlockWorldEnv
from data_tools.policies import (
    EXPLORE_FRAMES,
    FORWARD,
    LOOK_BACK_GAPS,
    LOOK_FRAMES,
    TURN_RIGHT,
    ExploreReturn,
    LookBack,
    make_policy,
)
from mstv.data.schema import ActionSpec
from mstv.errors import UserError
from mstv.metrics import find_revisits


def walk(policy, frames, seed=0, world=0, **settings):
    """Poses (T, 5) and actions (T - 1,) of a walk in blockworld."""
    env = BlockWorldEnv(size=1, world=world, **settings)
    policy.reset(np.random.default_rng(seed))
    _, info = env.reset(seed=seed)
    poses, actions = [info["pose"]], []
    for _ in range(frames - 1):
        actions.append(policy.act(info))
        info = env.step(actions[-1])[4]
        poses.append(info["pose"])
    return np.array(poses), np.array(actions)


ARENAS = [(9, {"arena": 8}), (1, {"arena": 4, "frames_per_action": 1}), (3, {"arena": 8, "frames_per_action": 3})]


@pytest.mark.parametrize(("hold", "settings"), ARENAS)
def test_the_way_back_is_the_way_there(hold, settings):
    for seed in (0, 1):
        poses, actions = walk(ExploreReturn(hold), 520, seed, **settings)
        back = poses[EXPLORE_FRAMES - 1 :]
        # Places in the order in which they were met, without the frames in which it turned or was blocked.
        there, returned = (places(part) for part in (poses[:EXPLORE_FRAMES], back))
        assert len(there) > 20
        assert returned == there[::-1], "bit for bit, to the first place"
        assert actions[EXPLORE_FRAMES - 1] != FORWARD, "it turns round at once"
        assert (actions[-20:] == TURN_RIGHT).all(), "at home it looks around"


def places(poses):
    kept = [tuple(poses[0, [0, 2]])]
    for pose in poses:
        if tuple(pose[[0, 2]]) != kept[-1]:
            kept.append(tuple(pose[[0, 2]]))
    return kept


@pytest.mark.parametrize(("hold", "settings"), ARENAS)
def test_the_way_back_shows_poses_of_the_way_there(hold, settings):
    poses, _ = walk(ExploreReturn(hold), 384, **settings)
    found = find_revisits(poses, EXPLORE_FRAMES, away=7)
    exact = (poses[found.frame] == poses[found.earlier]).all(1) & found.in_context
    assert len(set(found.frame[exact].tolist())) > 0.2 * (384 - EXPLORE_FRAMES)
    assert found.gap[exact].max() > 128


def test_exploring_ends_a_leg_where_the_way_is_blocked_and_sees_all_around():
    poses, actions = walk(ExploreReturn(1), EXPLORE_FRAMES, arena=4, frames_per_action=1)
    blocked = (actions == FORWARD) & (poses[1:, [0, 2]] == poses[:-1, [0, 2]]).all(1)
    assert blocked.any()
    assert all(actions[step + 1] != FORWARD for step in np.flatnonzero(blocked[:-1]))
    turns = np.flatnonzero(np.diff((actions != FORWARD).astype(int), prepend=0) == 1)
    whole = [start for start in turns if start + 3 <= len(actions)]
    assert len(whole) > 20
    assert all((actions[start : start + 3] == actions[start]).all() and actions[start] for start in whole)


def test_a_way_back_that_is_barred_ends_in_looking_around():
    policy = ExploreReturn(1)
    policy.reset(np.random.default_rng(0))
    pose = np.zeros(5, np.float32)
    actions = []
    for frame in range(400):
        actions.append(policy.act({"pose": pose.copy()}))
        if actions[-1] == FORWARD:
            pose[0] += frame < EXPLORE_FRAMES - 1  # afterwards nothing moves any more
        else:
            pose[3] = (pose[3] + (90 if actions[-1] == TURN_RIGHT else -90)) % 360
    back = actions[EXPLORE_FRAMES - 1 :]
    assert back.count(FORWARD) == 1 and set(back[back.index(FORWARD) + 1 :]) == {TURN_RIGHT}


def test_a_wrong_hold_is_told():
    with pytest.raises(UserError, match=r"turns by 10 degrees a frame, .* in 4: give --hold the frames"):
        walk(ExploreReturn(4), 300, arena=8)


def test_without_poses_it_walks_on():
    policy = ExploreReturn(2)
    policy.reset(np.random.default_rng(0))
    actions = [policy.act({}) for _ in range(900)]
    there, back = actions[: EXPLORE_FRAMES - 1], actions[EXPLORE_FRAMES - 1 :]
    assert there.count(FORWARD) == back.count(FORWARD) > 50


@pytest.mark.parametrize(("index", "hold"), [(0, 9), (1, 9), (2, 9), (3, 9), (4, 9), (5, 9), (6, 9), (0, 1), (4, 1)])
def test_the_place_returns_exactly_after_the_gap(index, hold):
    settings = {"arena": 4, "frames_per_action": hold}
    policy = LookBack(index, hold)
    assert policy.gap == LOOK_BACK_GAPS[index]
    poses, actions = walk(policy, 800, seed=index, **settings)
    last = LOOK_FRAMES - 1
    assert (actions[last - 60 :] != FORWARD).all() and (poses[last - 60 :, :3] == poses[last, :3]).all()
    returns = range(last + policy.gap, 800, policy.gap + 6)
    for before, now in pairwise([last, *(at for at in returns)]):
        start = before if before == last else before + 6  # it looks for six frames, then away
        assert now - start == policy.gap
        assert (poses[now] == poses[start]).all(), "bit for bit"
        between = np.abs((poses[start + 1 : now, 3] - poses[start, 3] + 180) % 360 - 180)
        assert between.min() >= 90 / hold - 1e-3, "meanwhile it never looks there"
    # What an evaluation finds from the poses alone.
    found = find_revisits(poses, LOOK_FRAMES, away=7)
    found = found.select(found.latest)
    first = found.select(found.frame == last + policy.gap)
    assert first.gap.tolist() == [policy.gap] and first.in_context.all()
    look = found.select((found.frame >= last + policy.gap) & (found.frame <= last + policy.gap + 6))
    assert (look.gap >= policy.gap).all() and (look.gap <= policy.gap + 6).all() and look.in_context.all()
    assert len(look.frame) == 7
    # Swaying in one direction is no revisit: while it is away, none is of what it saw since it turned.
    turn = min(policy.gap // 2, 2 * hold)
    away = found.select((found.frame > last + turn) & (found.frame <= last + policy.gap - turn))
    assert away.in_context.all()


def test_it_looks_half_way_round_where_there_is_time():
    for index, gap in enumerate(LOOK_BACK_GAPS):
        poses, _ = walk(LookBack(index, 9), 256 + gap, arena=4)
        turned = np.abs((poses[LOOK_FRAMES:, 3] - poses[LOOK_FRAMES - 1, 3] + 180) % 360 - 180)
        assert turned.max() == min(180, 10 * gap / 2)


def test_all_gaps_are_covered_evenly():
    gaps = [LookBack(episode).gap for episode in range(98)]
    for start in range(0, 98, 7):
        assert sorted(gaps[start : start + 7]) == list(LOOK_BACK_GAPS)
    for worlds in (2, 7, 14):  # episodes cycle through the worlds: each has all gaps
        for world in range(worlds):
            assert set(gaps[world::worlds]) == set(LOOK_BACK_GAPS)


def test_policies_are_made_by_name():
    nothing = np.empty(0)
    walks = ActionSpec(kind="discrete", names=("forward", "turn_left", "turn_right"), units=("", "", ""))
    engine = ActionRange(walks, nothing, nothing, nothing)
    policy = make_policy("look-back", engine, 3, episode=4)
    assert isinstance(policy, LookBack) and (policy.gap, policy.hold) == (128, 3)
    policy = make_policy("explore-return", engine)
    assert isinstance(policy, ExploreReturn) and policy.hold == 9
    other = ActionRange(ActionSpec(kind="vector", names=("a",), units=("",)), nothing, nothing, nothing)
    for name in ("look-back", "explore-return"):
        with pytest.raises(UserError, match=f"policy {name}: speaks no vector actions"):
            make_policy(name, other)


@pytest.mark.parametrize("make", [ExploreReturn, LookBack])
def test_same_generator_same_walk_and_bad_arguments(make):
    assert all(np.array_equal(*pair) for pair in zip(walk(make(), 300), walk(make(), 300), strict=True))
    assert not np.array_equal(walk(make(), 300)[1], walk(make(), 300, seed=1)[1])
    with pytest.raises(ValueError, match="hold"):
        make(hold=0)
    with pytest.raises(RuntimeError, match="reset"):
        make().act({})
