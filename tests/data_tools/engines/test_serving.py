"""The engine's side of the protocol: messages, spaces as columns, and code that old interpreters can run."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

import data_tools.engines.serving
from data_tools.engines.serving.adapter import SettingsError
from data_tools.engines.serving.columns import SpaceColumns
from data_tools.engines.serving.minecraft import MinecraftActions, pose
from data_tools.engines.serving.protocol import receive, send

FILES = sorted(Path(data_tools.engines.serving.__file__).parent.glob("*.py"))
ALLOWED = {"numpy", "gym", "minerl", "gymnasium", "craftground", "pkg_resources"}
NEW_GENERICS = {"list", "dict", "tuple", "set", "type", "frozenset"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_python_3_7_can_read_it(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 7))
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in NEW_GENERICS, f"line {node.lineno}: {node.value.id}[...] came with Python 3.9"
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                unions = [part for part in ast.walk(annotation) if isinstance(part, ast.BinOp)]
                assert not unions, f"line {node.lineno}: X | Y came with Python 3.10"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_imports_nothing_of_ours_but_itself(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names | ALLOWED, f"{file.name} imports {name}"


def test_messages_arrive_as_they_were_sent() -> None:
    pipe = io.BytesIO()
    send(pipe, {"a": [1, float("inf")], "b": "ü"}, b"\x00\xff")
    send(pipe, {})
    pipe.seek(0)
    assert receive(pipe) == ({"a": [1, float("inf")], "b": "ü"}, b"\x00\xff")
    assert receive(pipe) == ({}, b"")
    with pytest.raises(EOFError):
        receive(pipe)


@pytest.mark.parametrize("text", [b"Traceback (most recent", b"\xff" * 8 + b"xx", b"\x02\0\0\0\0\0\0\0]["])
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        receive(io.BytesIO(text + bytes(20)))


def test_a_message_cut_short_is_the_end() -> None:
    pipe = io.BytesIO()
    send(pipe, {"a": 1}, b"xyz")
    with pytest.raises(EOFError):
        receive(io.BytesIO(pipe.getvalue()[:-1]))


def test_a_server_answers_errors_and_ends_with_its_pipe() -> None:
    requests = io.BytesIO()
    send(requests, {"request": "open", "adapter": "gymnasium", "imports": ["no_such_module"]})
    send(requests, {"request": "reset", "seed": 0, "world": 0})
    serve = "from data_tools.engines.serving.server import serve; serve()"
    done = subprocess.run([sys.executable, "-c", serve], input=requests.getvalue(), capture_output=True, timeout=60)
    answers = io.BytesIO(done.stdout)
    told, _ = receive(answers)
    assert told["fix"] and "no_such_module" in told["error"]
    assert not receive(answers)[0]["fix"]
    assert answers.read() == b"" and done.returncode == 0
    assert b"no_such_module" in done.stderr


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(np.array([-np.inf, 0], np.float32), np.array([0, np.inf], np.float32)),
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.MultiBinary([2, 2]),
        spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
        spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple((spaces.Box(0, 1), spaces.MultiBinary(3)))}),
    ],
    ids=lambda space: type(space).__name__,
)
def test_every_row_within_the_bounds_is_an_action_of_the_space(space: spaces.Space) -> None:
    columns = SpaceColumns(space)
    actions = columns.actions
    count = len(actions.names)
    assert len(set(actions.names)) == len(actions.low) == len(actions.high) == len(actions.whole) == count
    json.dumps(actions._asdict())
    low, high = (np.clip(np.array(bound, float), -1e3, 1e3) for bound in (actions.low, actions.high))
    rng = np.random.default_rng(0)
    for row in (low, high, *rng.uniform(low, high, (20, count))):
        assert space.contains(columns.build(row.tolist()))


def test_controls_of_a_row() -> None:
    actions = MinecraftActions("vector", {"forward", "jump", "ESC", "camera", "inventory"})
    assert actions.columns.names == ("forward", "jump", "camera_pitch", "camera_yaw")
    assert actions.controls([1.0, 0.0, 2.5, -9.0]) == ({"forward": 1, "jump": 0}, 2.5, -9.0)
    with pytest.raises(SettingsError, match="forward"):
        MinecraftActions("vector", {"camera"})


def test_minecrafts_pose_is_ours_within_a_full_turn() -> None:
    assert pose(1, 64, -3, -90.0, 12.5) == [1.0, 64.0, -3.0, 270.0, 12.5]
