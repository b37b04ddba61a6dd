"""MineRL's interface, spoken by a stand-in: old Gym, dicts of actions, four values a step."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data_tools.engine import ENGINES, EngineSettings
from data_tools.engine_process import EngineFailure, EngineProcess
from mstv.errors import UserError

pytestmark = pytest.mark.usefixtures("stand_ins")
SETTINGS = EngineSettings(ENGINES["minerl"], size=(48, 64), step_seconds=20)
VECTOR = dataclasses.replace(SETTINGS, action_mode="vector")
COLUMNS = ("forward", "back", "left", "right", "jump", "sneak", "sprint", "attack", "camera_pitch", "camera_yaw")


def test_every_frame_shows_the_action_of_its_step() -> None:
    with EngineProcess(SETTINGS) as engine:
        assert engine.actions.spec.names == ("forward", "turn_left", "turn_right")
        assert engine.actions.spec.kind == "discrete"
        assert engine.fps == 20
        first = engine.reset(seed=5, world=7)
        assert first.frame.shape == (48, 64, 3)
        assert first.frame[0, :3].tolist() == [[0, 0, 7], [0, 0, 0], [128, 128, 0]]
        for step, action in enumerate([0, 2, 2, 1, 0], start=1):
            view = engine.step(action)
            assert view.frame[0, 0].tolist() == [step, 0, 7]
            assert view.frame[0, 1, 0] == (action == 0)
            assert view.frame[0, 2].tolist() == [128, 128 + (0, -10, 10)[action], 0]
            assert not view.ended
        assert view.pose is not None and view.pose.dtype == np.float32
        assert view.pose[3:].tolist() == [10, 0]
        # Yaw 0 looks along +z, and a turn to the right goes towards -x.
        assert view.pose[0] < 0.5 < view.pose[2]
        assert engine.reset(seed=5, world=300).frame[0, 0].tolist() == [0, 0, 300 % 256]


def test_yaw_lies_in_a_full_turn() -> None:
    with EngineProcess(SETTINGS) as engine:
        engine.reset(0, 0)
        assert engine.step(1).pose[3] == 350


def test_vectors_have_named_columns_with_units() -> None:
    with EngineProcess(VECTOR) as engine:
        assert engine.actions.spec.names == COLUMNS
        assert engine.actions.spec.units == ("0/1",) * 8 + ("degrees",) * 2
        assert engine.actions.whole.tolist() == [True] * 8 + [False] * 2
        assert engine.actions.high.tolist() == [1.0] * 8 + [10.0] * 2
        engine.reset(0, 1)
        row = np.zeros(len(COLUMNS), np.float32)
        row[[COLUMNS.index("back"), COLUMNS.index("attack")]] = 1
        row[-2:] = 3, -7
        view = engine.step(row)
        assert view.frame[0, 1].tolist() == [0, 0, 1]
        assert view.frame[0, 2].tolist() == [131, 121, 1]
        assert view.pose[3:].tolist() == [353, 3]


def test_the_end_of_an_episode_is_told() -> None:
    with EngineProcess(dataclasses.replace(SETTINGS, options=(("steps", 2),))) as engine:
        engine.reset(0, 0)
        assert not engine.step(0).ended
        assert engine.step(0).ended


def test_noise_of_a_lost_game_is_never_a_frame() -> None:
    with EngineProcess(dataclasses.replace(SETTINGS, options=(("lost_at", 2),))) as engine:
        engine.reset(0, 0)
        engine.step(0)
        with pytest.raises(EngineFailure, match="the game was lost: Connection timed out"):
            engine.step(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": (("env_id", "MineRLNavigateVectorObf-v0"),)}, "not obfuscated"),
        ({"options": (("env_id", "MineRLNowhere-v0"),)}, "MineRLNowhere-v0"),
        ({"options": (("nothing", 1),)}, "nothing"),
        ({"action_mode": "words"}, "choose discrete or vector"),
    ],
)
def test_what_it_cannot_do_is_the_users_to_mend(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        EngineProcess(dataclasses.replace(SETTINGS, **changes))


def test_where_it_is_not_installed_the_way_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be imported .*make minerl-env"):
        EngineProcess(SETTINGS)
