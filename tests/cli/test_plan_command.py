"""`mstv plan`: one table of experiments, one picture, and one line for what is wrong."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from mstv.cli.main import main
from mstv.rollout.families import FAMILIES
from tests.cli.conftest import EXPERIMENTS

DEMO = EXPERIMENTS / "demo_diffusion.yaml"
PUBLISHED_PLAN = {
    "class_path": "mstv.rollout.coarse_to_fine.CoarseToFine",
    "init_args": {"windows": [3, 12, 48, 192], "extra_context_tokens": 768},
}


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def experiment(path: Path, **changes: Any) -> Path:
    """The published plan at the published size, with `changes` of its top level; None removes a field."""
    values = {
        "levels": {"image_size": [256, 256], "patch_size": [16, 16], "num_levels": 4},
        "plan": PUBLISHED_PLAN,
        "model": {"class_path": "DiffusionModule", "init_args": {"size": {"dim": 768, "depth": 12, "num_heads": 12}}},
        "trainer": {"max_steps": 3},
    }
    values |= changes
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def table(output: str) -> dict[str, list[str]]:
    """Rows by name; cells of several lines are joined."""
    rows: dict[str, list[str]] = {}
    name = ""
    for line in output.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        if not cells:
            continue
        if cells[0] or not rows:
            name = cells[0]
            rows[name] = cells[1:]
        else:
            rows[name] = [" ".join(pair).strip() for pair in zip(rows[name], cells[1:], strict=True)]
    return rows


def test_a_table_of_the_published_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = experiment(tmp_path / "published.yaml")
    assert main(["plan", str(path)]) == 0
    rows = table(capsys.readouterr().out)
    assert rows[""] == ["published"]
    assert rows["plan"] == ["coarse_to_fine"]
    assert rows["parameters"] == ["windows 3 12 48 192 extra_context_tokens 768"]
    assert rows["tokens per frame, by level"] == ["256 64 16 4"]
    assert rows["width, blocks"] == ["768, 12"]
    assert rows["attention"] == ["isolated"]
    assert rows["evaluations per step (NFE)"] == ["50"]
    assert rows["steps per chunk"] == ["85"]
    assert rows["frames per chunk"] == ["192"]
    assert rows["frames of context needed"] == ["255"]
    assert rows["tokens per step"] == ["3,840"]
    assert rows["of which targets"] == ["768"]
    # 1360 + 340 x 50.
    assert rows["token evaluations per frame"] == ["18,360"]
    # 24 x 768^2 x 12 x 18360 = 3.119e12; 85/192 x 4 x 768 x 12 x (3072^2 + 768 x 3840 x 50) = 2.560e12.
    assert rows["linear layers per frame"] == ["3.12 TFLOP"]
    assert rows["attention per frame"] == ["2.56 TFLOP"]


def test_experiments_beside_one_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = {"dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 2}
    joint = {"class_path": "DiffusionModule", "init_args": {"size": size, "attention": "joint"}}
    packed = {"class_path": "FramePackLatents", "init_args": {"num_context_frames": [1, 2, 4], "num_target_frames": 2}}
    paths = [
        experiment(tmp_path / "a.yaml"),
        experiment(tmp_path / "b.yaml", model=joint),
        experiment(tmp_path / "c.yaml", plan=packed),
    ]
    out = tmp_path / "plans.png"
    assert main(["plan", *map(str, [*paths, DEMO]), "--nfe", "10", "--out", str(out), "--max-steps", "6"]) == 0
    rows = table(capsys.readouterr().out)
    assert rows[""] == ["a", "b", "c", "demo_diffusion"]
    assert rows["attention"][:3] == ["isolated", "joint", "isolated"]
    assert rows["token evaluations per frame"][:2] == ["4,760", "17,000"]
    # 17000 x 12 x 2 x (4 + 2 x 2) x 768^2.
    assert rows["linear layers per frame"][1] == "1.93 TFLOP"
    # What the input layer leaves of the past: 256 + 2 x 64 + 4 x 16, and two target frames.
    assert rows["tokens per step"][2] == "960"
    assert rows["steps per chunk"] == ["85", "85", "1", "21"]
    with Image.open(out) as picture:
        assert picture.width > 2000
    assert list(tmp_path.glob(".*")) == []


def test_levels_that_a_plan_leaves_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = {"class_path": PLAN, "init_args": {"windows": [3, 12], "extra_context_tokens": 64}}
    ahead = {"class_path": "FramePack", "init_args": {"num_context_frames": [1, 0, 4, 0], "num_target_frames": 2}}
    level0 = {"class_path": "FullResolution", "init_args": {"num_frames": 4}}
    paths = [str(experiment(tmp_path / f"{n}.yaml", plan=plan)) for n, plan in enumerate((two, ahead, level0))]
    assert main(["plan", *paths, str(DEMO), "--nfe", "10"]) == 0
    rows = table(capsys.readouterr().out)
    assert rows["levels that the plan leaves out"] == ["2 3", "none", "1 2 3", "none"]
    # Targets are 12 x 64 or 3 x 256; the context is 3 x 256 + 64 (extra), or the 12 coarse frames.
    assert rows["of which targets"][0] == "768"
    assert rows["tokens per step"][0] == "1,536 to 1,600"


def test_a_picture_that_cannot_be_written_is_told_before_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    for out in ("/proc/plan.png", "/sys/plan.png"):
        refused(capsys, ["plan", str(DEMO), "--out", out], f"--out {out}: cannot be written")


def test_only_a_picture_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "notes.svg"
    out.write_text("mine")
    refused(capsys, ["plan", str(DEMO), "--out", str(out)], "notes.svg: there is a file that is not an SVG picture")
    assert out.read_text() == "mine"
    for name in ("plan.svg", "plan.pdf", "plan.png"):
        for _ in range(2):
            assert main(["plan", str(DEMO), "--out", str(tmp_path / name), "--max-steps", "2"]) == 0


def test_help_tells_the_families(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    text = capsys.readouterr().out
    for kind in FAMILIES.values():
        assert all(f"{kind.__name__} " in text and field.name in text for field in fields(kind))


def test_files_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    paths = [str(experiment(tmp_path / folder / "config.yaml")) for folder in ("a", "b")]
    assert main(["plan", *paths]) == 0
    heads = [cell.replace(" ", "") for cell in table(capsys.readouterr().out)[""]]
    assert heads == paths


def test_narrow_terminals_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", str(DEMO), str(experiment(tmp_path / "published.yaml"))]) == 0
    output = capsys.readouterr().out
    assert "…" not in output and max(map(len, output.splitlines())) <= 80
    assert table(output)["token evaluations per frame"][1] == "18,360"


PLAN = "mstv.rollout.coarse_to_fine.CoarseToFine"


def size(**values: Any) -> dict[str, Any]:
    return {"init_args": {"size": {"dim": 8, "depth": 1, "num_heads": 1} | values}}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"plan": None}, ["plan is missing"]),
        ({"levels": None}, ["levels is missing"]),
        ({"model": None}, ["model is missing"]),
        ({"model": {"init_args": {}}}, ["model.init_args.size is missing"]),
        ({"model": size(dim=0)}, ["model.init_args.size.dim", "0"]),
        ({"model": size(dim="wide")}, ["model.init_args.size.dim", "wide"]),
        ({"model": size(heads=3)}, ["model.init_args.size.heads"]),
        ({"model": {"init_args": size()["init_args"] | {"attention": "sparse"}}}, ["attention", "sparse", "isolated"]),
        ({"levels": 3}, ["levels", "3"]),
        ({"levels": {"image_size": [60, 64], "patch_size": [16, 16], "num_levels": 2}}, ["levels", "60"]),
        ({"levels": {"image_size": [64], "patch_size": [16, 16], "num_levels": 2}}, ["levels.image_size"]),
        (
            {"levels": {"image_size": [64, 64], "patch_size": [4, 4], "num_levels": 3}},
            ["uses 4 levels", "levels.num_levels is 3"],
        ),
        ({"plan": {"class_path": "os.system", "init_args": {"command": "false"}}}, ["os.system", PLAN]),
        ({"plan": {"class_path": "mstv.rollout.plan.PlanFamily"}}, ["mstv.rollout.plan.PlanFamily", PLAN]),
        ({"plan": {"class_path": PLAN}}, ["windows is missing"]),
        ({"plan": {"class_path": PLAN, "init_args": {"windows": 3}}}, ["windows", "list of integers"]),
        ({"plan": {"class_path": PLAN, "init_args": {"windows": [3, 4]}}}, ["divide"]),
        ({"plan": {"class_path": PLAN, "init_args": {"window": [3]}}}, ["window is unknown", "windows"]),
        ({"plan": {"class_path": PLAN, "arguments": {}}}, ["plan.arguments"]),
        ({"plan": {"class_path": "Upscale", "init_args": {"base_num_frames": 3, "num_levels": 2}}}, ["multiple of 2"]),
    ],
)
def test_wrong_experiments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], parts: list[str]
) -> None:
    path, out = experiment(tmp_path / "wrong.yaml", **changes), tmp_path / "plan.png"
    refused(capsys, ["plan", str(DEMO), str(path), "--out", str(out)], str(path), *parts)
    assert not out.exists()


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *parts: str) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error = captured.err.splitlines()
    assert len(error) == 1 and error[0].startswith("mstv: error: "), error
    for part in parts:
        assert part in error[0], error[0]


@pytest.mark.parametrize("content", [b"levels: [", b"", b"- 1\n- 2\n", b"\xff\xfe\x00", b"a: b: c", b"? [1]\n: {}\n"])
def test_files_that_are_no_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    refused(capsys, ["plan", str(path)], str(path))


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["plan", str(tmp_path / "absent.yaml")], "absent.yaml", "No such file")
    refused(capsys, ["plan", str(tmp_path)], str(tmp_path), "directory")
    refused(capsys, ["plan", str(EXPERIMENTS / "demo_tokenizer.yaml")], "demo_tokenizer.yaml", "plan is missing")
    refused(capsys, ["plan", str(DEMO), "--nfe", "1"], "--nfe must be at least 2")
    refused(capsys, ["plan", str(DEMO), "--max-steps", "0"], "--max-steps must be at least 1")
    refused(capsys, ["plan", str(DEMO), "--out", "a.txt"], "a.txt", ".png")


def test_every_shipped_diffusion_experiment_has_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    folders = ("", "one_gpu", "published")
    paths = [path for folder in folders for path in sorted((EXPERIMENTS / folder).glob("*diffusion.yaml"))]
    assert DEMO in paths and len(paths) == 3
    assert main(["plan", *map(str, paths)]) == 0
    assert len(table(capsys.readouterr().out)["plan"]) == len(paths)


def test_layers_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = experiment(tmp_path / "base.yaml")
    layers = {
        "joint": {"model": {"init_args": {"attention": "joint"}}},
        "short": {"plan": {"init_args": {"windows": [1, 4, 16, 64]}}},
        "packed": {"plan": {"class_path": "FramePack", "init_args": {"num_context_frames": [1, 2, 4]}}},
        # The frames of context are those of the layer below, whose class has them, too.
        "mirrored": {"plan": {"class_path": "FramePackMirrored", "init_args": {"num_target_frames": [1, 2, 4]}}},
    }
    for name, values in layers.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))

    def joined(*names: str) -> str:
        return "+".join(str(tmp_path / f"{name}.yaml") for name in names)

    arguments = [
        str(base),
        joined("base", "joint"),
        joined("base", "joint", "short"),
        joined("base", "packed", "mirrored"),
    ]
    assert main(["plan", *arguments]) == 0
    rows = table(capsys.readouterr().out)
    assert rows[""] == ["base", "base+joint", "base+joint+short", "base+packed+mirrored"]
    assert rows["attention"] == ["isolated", "joint", "joint", "isolated"]
    assert rows["parameters"][2] == "windows 1 4 16 64 extra_context_tokens 768"
    assert rows["parameters"][3] == "num_context_frames 1 2 4 num_target_frames 1 2 4"
    refused(capsys, ["plan", joined("base", "packed")], "base.yaml+", "num_target_frames is missing")
    refused(capsys, ["plan", joined("base", "absent")], "layer", "absent.yaml", "No such file")
    refused(capsys, ["plan", joined("joint")], "joint.yaml", "field levels is missing")


def test_a_file_whose_name_has_a_plus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(experiment(tmp_path / "a+b.yaml"))]) == 0
    assert table(capsys.readouterr().out)[""] == ["a+b"]


def test_plan_answers_without_torch() -> None:
    code = (
        "import sys; from mstv.cli.main import main\n"
        f"assert main(['plan', {str(DEMO)!r}]) == 0\n"
        "assert not {'torch', 'numba', 'lightning'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
