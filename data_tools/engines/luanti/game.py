"""One running game: its folder, configuration and processes, and the lock-step with our mod in its world."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.luanti.screen import STRIP, Screen, find_program, owned
from mstv.errors import UserError

_HERE = Path(__file__).parent
_PREFIX = "mstv-luanti-"
_START_SECONDS = 240.0
_STEP_SECONDS = 60.0
_SETTLED_SECONDS = 1.5  # after so long without a new block there is none to come

Pose = tuple[float, float, float, int, int]
"""x, y, z of the feet in blocks, yaw in [0, 360000) and pitch in millidegrees; axes and senses are Minecraft's."""


class Game:
    """A game in a world of its own, behind a screen of its own, reachable through two named pipes only.

    The kernel ends both processes when this one ends, however it ends.

    Args:
        world: seed of the map, >= 0.
        size: (height, width) of the frames in pixels.
        reach: half the side of the square in which one can walk, in blocks.
        view_distance: how far one sees, in blocks.
        fov: vertical field of view of a frame in degrees.

    Raises:
        UserError: a program is missing.
        RuntimeError: the game did not start.
    """

    def __init__(self, world: int, size: tuple[int, int], reach: int, view_distance: int, fov: float) -> None:
        programs = required_programs()
        _remove_left_behind()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._screen: Screen | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._pipes: list[int] = []
        self._answers = b""
        try:
            self._screen = Screen(programs["Xvfb"], self._folder, *size)
            self._start(programs["minetest"], self._screen, world, reach, view_distance, fov)
            self.order("start", 0, 0, seconds=_START_SECONDS)
            self._settle()
        except BaseException:
            self.close()
            raise

    def _start(self, program: str, screen: Screen, world: int, reach: int, view_distance: int, fov: float) -> None:
        folder = self._folder
        for name in ("orders", "answers"):
            os.mkfifo(folder / name, 0o600)
            # Open for both ways, so that neither side waits for the other to open it.
            self._pipes.append(os.open(folder / name, os.O_RDWR | os.O_NONBLOCK))
        world_folder = folder / "world"
        shutil.copytree(_HERE / "mod", world_folder / "worldmods" / "mstv")
        shutil.copytree(_HERE / "clientmod", folder / ".minetest" / "clientmods" / "mstv_marker")
        (folder / ".minetest" / "clientmods" / "mods.conf").write_text("load_mod_mstv_marker = true\n")
        (world_folder / "world.mt").write_text(
            "gameid = minetest\nbackend = dummy\nplayer_backend = dummy\nauth_backend = sqlite3\n"
            "mod_storage_backend = dummy\ncreative_mode = true\nenable_damage = false\n"
        )
        height, width = screen.size
        port = _free_port()
        changing = {
            "screen_w": width,
            "screen_h": height,
            "fov": _game_fov(fov, height, width),
            "viewing_range": view_distance,
            "fixed_map_seed": world,
            "mstv_orders": folder / "orders",
            "mstv_answers": folder / "answers",
            "mstv_reach": reach,
            "mstv_sight": view_distance,
        }
        text = (_HERE / "luanti.conf").read_text() + "".join(f"{key} = {value}\n" for key, value in changing.items())
        (folder / "luanti.conf").write_text(text)
        environment = {
            **{key: os.environ[key] for key in ("PATH", "LANG", "LD_LIBRARY_PATH") if key in os.environ},
            "DISPLAY": screen.display,
            "HOME": str(folder),
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        common = ["--config", str(folder / "luanti.conf"), "--logfile"]
        at = ["--port", str(port)]
        # Two processes, since a game that is both draws its port from the time in seconds, which other games share.
        self._launch(
            "server",
            [program, "--server", "--world", str(world_folder), "--gameid", "minetest", *at, *common],
            environment,
        )
        self._expect("generated")
        self._launch("client", [program, "--go", "--address", "127.0.0.1", "--name", "mstv", *at, *common], environment)
        self._expect("ready")

    def _launch(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self._folder / f"{name}.out").open("wb") as output:
            self._processes[name] = subprocess.Popen(
                owned([*command, str(self._folder / f"{name}.log")]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self._folder,
            )

    def _expect(self, word: str) -> None:
        answer = self._answer(_START_SECONDS)
        if answer != [word]:
            raise RuntimeError(f"Luanti: unexpected answer {answer}")

    def order(self, *words: object, seconds: float = _STEP_SECONDS) -> tuple[Pose, NDArray[np.uint8]]:
        """Give an order to the mod, and wait for the picture that shows its outcome.

        Returns:
            The pose, and the picture, uint8 (height, width, 3).

        Raises:
            RuntimeError: the game has ended, or does not answer in time.
        """
        os.write(self._pipes[0], (" ".join(map(str, words)) + "\n").encode())
        answer = self._answer(seconds)
        if answer[0] != "pose":
            raise RuntimeError(f"Luanti: unexpected answer {answer}")
        x, y, z = (float(word) for word in answer[1:4])
        yaw, pitch = (int(word) for word in answer[4:6])
        return (x, y, z, yaw, pitch), self._picture((x, y, z, yaw, pitch), seconds)

    def _picture(self, pose: Pose, seconds: float) -> NDArray[np.uint8]:
        assert self._screen is not None
        x, y, z, yaw, pitch = pose
        # The game's x and yaw are mirrored, and its blocks centred on whole numbers.
        wanted = np.array([(0.5 - x) * 1000, (y - 0.5) * 1000, (z - 0.5) * 1000, -yaw, pitch])
        end = time.monotonic() + seconds
        while True:
            shown = self._screen.pose()
            if shown is not None:
                difference = np.abs(np.array(shown) - wanted)
                difference[3] = abs((difference[3] + 180_000) % 360_000 - 180_000)
                if difference.max() <= 1.0:
                    return self._screen.picture()
            if time.monotonic() > end:
                raise self._failure(f"shows {shown} and not {wanted.round().astype(int).tolist()}")
            self._check_alive()
            time.sleep(0.0005)

    def _settle(self) -> None:
        """Wait until all blocks are drawn: the thread that meshes them rests, and no picture changes any more."""
        assert self._screen is not None
        self._wait_for_meshes()
        changed = True
        while changed:
            changed = False
            for yaw in range(0, 360_000, 60_000):
                _, picture = self.order("look", yaw, 0)
                since = time.monotonic()
                while time.monotonic() - since < _SETTLED_SECONDS / 4:
                    time.sleep(0.02)
                    if not np.array_equal(now := self._screen.picture(), picture):
                        picture, since, changed = now, time.monotonic(), True

    def _wait_for_meshes(self) -> None:
        tasks = Path(f"/proc/{self._processes['client'].pid}/task").iterdir()
        stat = next(task / "stat" for task in tasks if (task / "comm").read_text().strip() == "MeshUpdate")
        before, rested = None, time.monotonic()
        end = rested + _START_SECONDS
        while time.monotonic() - rested < _SETTLED_SECONDS:
            self._check_alive()
            if time.monotonic() > end:
                raise self._failure(f"still prepares blocks after {_START_SECONDS:g} s")
            fields = stat.read_text().rsplit(")", 1)[1].split()
            # On a busy machine a thread may wait for its turn; then it is not asleep (S), though its times stand still.
            state, times = fields[0], fields[11:13]
            if state != "S" or times != before:
                before, rested = times, time.monotonic()
            time.sleep(0.02)

    def _answer(self, seconds: float) -> list[str]:
        end = time.monotonic() + seconds
        while b"\n" not in self._answers:
            self._check_alive()
            if time.monotonic() > end:
                raise self._failure(f"gave no answer within {seconds:g} s")
            if select.select([self._pipes[1]], [], [], 0.2)[0]:
                self._answers += os.read(self._pipes[1], 4096)
        line, self._answers = self._answers.split(b"\n", 1)
        return line.decode().split()

    def _check_alive(self) -> None:
        if not self._processes:
            raise RuntimeError("Luanti: the game is closed")
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise self._failure(f"{name} ended")

    def _failure(self, what: str) -> RuntimeError:
        errors = []
        for name in self._processes:
            for path in (self._folder / f"{name}.log", self._folder / f"{name}.out"):
                lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
                errors += [line for line in lines if "ERROR" in line]
        return RuntimeError(f"Luanti {what}" + (f"; its log says: {errors[-1]}" if errors else ""))

    def close(self) -> None:
        """End the game and its screen and remove its folder; calling it again does nothing."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes = {}
        if self._screen is not None:
            self._screen.close()
            self._screen = None
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = []
        shutil.rmtree(self._folder, ignore_errors=True)


def game_version(program: str) -> str:
    """Version of the game, as it says."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return told[1] if len(told) > 1 else "unknown"


def _remove_left_behind() -> None:
    """Remove the folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def required_programs() -> dict[str, str]:
    """Paths of `minetest`, `Xvfb` and `setpriv`.

    Raises:
        UserError: one is missing; says which Debian package holds it.
    """
    found = {}
    for key, names, package in (
        ("minetest", ("minetest", "luanti"), "minetest"),
        ("Xvfb", ("Xvfb",), "xvfb"),
        ("setpriv", ("setpriv",), "util-linux"),
    ):
        path = find_program(names, "/usr/games:/usr/local/games")
        if path is None:
            raise UserError(f"engine luanti: {names[0]} is not installed: apt-get install {package}")
        found[key] = path
    return found


def _free_port() -> int:
    while True:
        # Drawn by chance, since the kernel's own choice gives two games that start together the same port.
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _game_fov(fov: float, height: int, width: int) -> float:
    """The game's setting (degrees) that gives `fov` to the frame between the strips."""
    whole = 2 * np.arctan(np.tan(np.radians(fov) / 2) * height / (height - 2 * STRIP))
    # The game widens its vertical angle on windows that are narrower than 16:10.
    widened = np.clip(np.sqrt(1.6 * height / width), 1.0, 1.4)
    return float(np.degrees(whole) / widened)
