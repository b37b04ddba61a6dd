"""Our importer against MineRL's own data reader, in an environment made by `make minerl-env`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data_tools.importers.foreign_sets import imported, minerl, read_numbers

ROOT = Path(__file__).parents[3]
STREAM = "v3_absolute_grape_changeling-6_37339-46767"
STEPS, LEADING = 39, 5

READ = """
import sys
import numpy as np
import minerl.data

if __name__ == "__main__":
    data = minerl.data.make("MineRLNavigate-v0", data_dir=sys.argv[1], num_workers=1)
    steps = list(data.load_data(sys.argv[2]))
    np.savez(
        sys.argv[3],
        shown=[seen["pov"] for seen, _, _, _, _ in steps],
        shown_next=[seen["pov"] for _, _, _, seen, _ in steps],
        **{name: [action[name] for _, action, _, _, _ in steps] for name in ("camera", "forward", "attack")},
    )
    data.processing_pool.terminate()
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with MineRL's reader: that beside the repository, else one made where packages can be had."""
    ready = ROOT / ".minerl" / "bin" / "python"
    if ready.exists():
        return ready
    folder = tmp_path_factory.mktemp("minerl")
    options = {**os.environ, "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "15"}
    probe = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "xmltodict==0.12.0"]
    if subprocess.run(probe, env=options, capture_output=True).returncode:
        pytest.skip("no .minerl (make minerl-env), and packages cannot be downloaded here")
    shutil.copy(ROOT / "Makefile", folder)
    pins = Path("data_tools", "engines", "environments")
    shutil.copytree(ROOT / pins, folder / pins)
    made = ["make", "-C", str(folder), "minerl-env", f"PYTHON={sys.executable}"]
    subprocess.run(made, env=options, check=True)
    return folder / ".minerl" / "bin" / "python"


@pytest.mark.slow
def test_frames_actions_and_their_alignment_agree_with_minerls_own_reader(tmp_path: Path, python: Path) -> None:
    data = tmp_path / "in"
    minerl(data, f"MineRLNavigate-v0/{STREAM}", steps=STEPS, leading=LEADING)
    script, out = tmp_path / "read.py", tmp_path / "read.npz"
    script.write_text(READ)
    subprocess.run([python, "-W", "ignore", script, data, STREAM, out], check=True, timeout=120)
    with np.load(out) as theirs:
        shown, shown_next = read_numbers(theirs["shown"]), read_numbers(theirs["shown_next"])
        camera, buttons = theirs["camera"], {name: theirs[name] for name in ("forward", "attack")}
    assert len(shown) == STEPS and shown[0] == LEADING

    (ours,) = imported("minerl", data, tmp_path / "raw").values()
    assert len(ours.numbers) == STEPS + 1
    # Their action i takes what step i shows to what it shows next; ours stands on the frame that it produced.
    assert ours.numbers[:-1] == shown
    assert ours.numbers[1:-1] == shown_next[:-1]
    # Their reader shows the frame before the last one twice, and never the last.
    assert shown_next[-1] == shown[-1] and ours.numbers[-1] == shown[-1] + 1
    assert camera.dtype.kind == "f"
    np.testing.assert_array_equal(ours.column("camera_pitch")[1:], camera[:, 0])
    np.testing.assert_array_equal(ours.column("camera_yaw")[1:], camera[:, 1])
    for name, values in buttons.items():
        np.testing.assert_array_equal(ours.column(name)[1:], values)
    assert not ours.actions[0].any()
