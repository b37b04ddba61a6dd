"""CraftGround's interface, spoken by a stand-in: Gymnasium, settings of its own, five values a step."""

import dataclasses
import subprocess

import numpy as np
import pytest

from data_tools.engine import ENGINES, EngineSettings
from data_tools.engine_process import EngineProcess
from mstv.errors import UserError

pytestmark = pytest.mark.usefixtures("stand_ins")
SETTINGS = EngineSettings(ENGINES["craftground"], size=(36, 64), step_seconds=20)


def test_every_frame_shows_the_action_of_its_step() -> None:
    with EngineProcess(SETTINGS) as engine:
        assert engine.actions.spec.names == ("forward", "turn_left", "turn_right")
        first = engine.reset(seed=5, world=7)
        assert first.frame.shape == (36, 64, 3)
        assert first.frame[0, :3].tolist() == [[0, 6, 7], [0, 0, 0], [128, 128, 0]]
        # No display, no monsters, lasting day and fair weather: five commands.
        assert first.frame[0, 3].tolist() == [1, 1, 5]
        for step, action in enumerate([0, 1, 2, 1], start=1):
            view = engine.step(action)
            assert view.frame[0, 0].tolist() == [step, 6, 7]
            assert view.frame[0, 1, 0] == (action == 0)
            assert view.frame[0, 2].tolist() == [128, 128 + (0, -10, 10)[action], 0]
            assert not view.ended
        np.testing.assert_allclose(view.pose, [0.5, 64, 0.7, 350, 0], rtol=1e-6)


def test_another_world_is_another_game_and_the_same_one_is_not() -> None:
    with EngineProcess(SETTINGS) as engine:
        engine.reset(0, world=7)
        games = _sleepers(engine)
        assert len(games) == 1
        engine.reset(1, world=7)
        assert _sleepers(engine) == games
        assert engine.reset(1, world=8).frame[0, 0, 2] == 8
        assert len(_sleepers(engine)) == 1
        assert _sleepers(engine) != games


def test_vectors_have_the_players_keys_but_none_that_opens_a_window() -> None:
    with EngineProcess(dataclasses.replace(SETTINGS, action_mode="vector")) as engine:
        names = engine.actions.spec.names
        assert "use" in names and not {"inventory", "drop", "hotbar.1"} & set(names)
        engine.reset(0, 1)
        row = [float(name in ("jump", "back")) for name in names]
        row[names.index("camera_pitch")], row[names.index("camera_yaw")] = -4.0, 9.0
        view = engine.step(np.array(row, np.float32))
        assert view.frame[0, 1].tolist() == [0, 1, 0]
        assert view.frame[0, 2].tolist() == [124, 137, 1]


def test_settings_of_its_own_are_passed_and_unknown_ones_named() -> None:
    with EngineProcess(dataclasses.replace(SETTINGS, options=(("render_distance", 9),))) as engine:
        assert engine.reset(0, 0).frame[0, 0, 1] == 9
    with pytest.raises(UserError, match="has no setting render_distence"):
        EngineProcess(dataclasses.replace(SETTINGS, options=(("render_distence", 9),)))


def test_a_game_in_a_session_of_its_own_ends_with_the_engine() -> None:
    engine = EngineProcess(SETTINGS)
    engine.reset(0, 0)
    game = _sleepers(engine)
    assert len(game) == 1
    engine.kill()
    # It may still be waited for by whoever adopted it.
    state = subprocess.run(["ps", "-o", "stat=", "-p", game[0]], capture_output=True, text=True).stdout
    assert state.strip()[:1] in ("", "Z")


def _sleepers(engine: EngineProcess) -> list[str]:
    """Ids of the stand-in's games below the engine."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(engine.process_id)], capture_output=True, text=True)
    return listed.stdout.split()
