"""Any Gymnasium environment that shows a picture, as an engine."""

import dataclasses

import numpy as np
import pytest

from data_tools.engine import EngineSettings, find_engine
from data_tools.engine_process import EngineFailure, EngineProcess
from mstv.errors import UserError

pytestmark = pytest.mark.usefixtures("stand_ins")


def settings(name: str, **changes: object) -> EngineSettings:
    return EngineSettings(find_engine(f"gym:odd_envs:{name}-v0"), size=(32, 32), step_seconds=20, **changes)


def test_a_picture_observed_is_the_frame_and_the_world_is_the_seed() -> None:
    with EngineProcess(settings("Shown")) as engine:
        assert engine.fps == 30
        assert engine.actions.spec.kind == "discrete"
        assert engine.actions.spec.names == ("action_0", "action_1", "action_2", "action_3")
        assert set(engine.versions) >= {"gymnasium", "numpy"}
        view = engine.reset(seed=3, world=9)
        assert view.frame.shape == (12, 16, 3) and view.frame.dtype == np.uint8
        assert view.frame[0, 0].tolist() == [0, 9, 0]
        assert view.pose is None
        for step, action in enumerate([3, 0, 2], start=1):
            assert engine.step(action).frame[0, 0].tolist() == [step, 9, action]


def test_ids_begin_at_zero_here_and_where_they_begin_there() -> None:
    with EngineProcess(settings("Dicts")) as engine:
        assert engine.actions.spec.names == ("noop", "left", "right")
        engine.reset(0, 1)
        view = engine.step(0)
        assert view.frame[0, 0].tolist() == [1, 1, 2]
        assert view.pose is not None and view.pose.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_what_is_only_rendered_is_the_frame_and_bounds_may_be_infinite() -> None:
    with EngineProcess(settings("Rendered")) as engine:
        assert engine.actions.spec.names == ("action.0", "action.1")
        assert engine.actions.low.tolist() == [-np.inf] * 2 and engine.actions.high.tolist() == [np.inf] * 2
        engine.reset(0, 1)
        assert engine.step(np.array([1.25, 3.75])).frame[0, 0].tolist() == [1, 1, 5]


def test_nested_spaces_are_columns() -> None:
    names = ("both.0", "both.1.0", "both.1.1", "count", "keys.0", "keys.1", "wheels.0", "wheels.1")
    with EngineProcess(settings("Nested")) as engine:
        assert engine.actions.spec.names == names
        assert engine.actions.spec.units == ("",) * 8
        assert engine.actions.low.tolist() == [1, -2, -2, 0, 0, 0, 0, 0]
        assert engine.actions.high.tolist() == [3, 2, 2, 9, 1, 1, 2, 4]
        assert engine.actions.whole.tolist() == [True, False, False, True, True, True, True, True]
        engine.reset(0, 0)
        assert engine.step(np.array([3, 1.5, 0.5, 9, 1, 0, 2, 4.2])).frame[0, 0].tolist() == [1, 0, 21]


def test_an_episode_may_end_by_itself() -> None:
    with EngineProcess(settings("Early")) as engine:
        engine.reset(0, 0)
        assert [engine.step(0).ended for _ in range(3)] == [False, False, True]
        assert not engine.reset(0, 1).ended


def test_what_it_prints_is_no_answer() -> None:
    with EngineProcess(settings("Prints")) as engine:
        engine.reset(0, 4)
        assert engine.step(3).frame[0, 0].tolist() == [1, 4, 3]
        assert engine.step(2).frame[0, 0].tolist() == [2, 4, 2]


def test_what_it_raises_is_told_and_the_engine_still_answers() -> None:
    with EngineProcess(settings("Raises")) as engine:
        engine.reset(0, 0)
        with pytest.raises(EngineFailure, match="the level is flooded"):
            engine.step(0)
        assert engine.reset(0, 2).frame[0, 0].tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Words", "holds a Text, which has no columns"),
        ("Nowhere", "Nowhere"),
    ],
)
def test_what_cannot_be_recorded_is_the_users_to_mend(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        EngineProcess(settings(name))


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(UserError, match="colour"):
        EngineProcess(dataclasses.replace(settings("Shown"), options=(("colour", "red"),)))


@pytest.mark.parametrize(
    ("name", "message"), [("Blind", "its frames are"), ("Undrawn", r"pygame is not installed.*install the package")]
)
def test_one_without_pictures_is_refused_at_its_first_frame(name: str, message: str) -> None:
    with EngineProcess(settings(name)) as engine, pytest.raises(UserError, match=message):
        engine.reset(0, 0)
