"""Every mistake of a user gets one line, exit code 2, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from mstv.cli.main import main
from mstv.data.write_locks import LOCK
from tests.cli.conftest import EXPERIMENTS, Pipeline
from tests.data.test_write_locks import other_process

pytestmark = pytest.mark.filterwarnings("ignore")


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *parts: str) -> None:
    capsys.readouterr()
    assert main(arguments) == 2
    # A progress bar may stand before the error.
    error = [line for line in capsys.readouterr().err.splitlines() if line.strip() and " ETA " not in line]
    assert len(error) == 1 and error[0].startswith("mstv: error: "), error
    for part in parts:
        assert part in error[0], error[0]


def other_schema(pipeline: Pipeline, folder: Path) -> None:
    shutil.copytree(pipeline.shards, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda pipeline, folder: None, "no such folder"),
        (lambda pipeline, folder: folder.mkdir(), "holds no manifest.json"),
        (other_schema, "schema_version is 99"),
        (lambda pipeline, folder: shutil.copytree(pipeline.latents, folder), "kind is latents"),
    ],
    ids=["missing", "empty", "schema", "kind"],
)
def test_bad_frame_sets(
    pipeline: Pipeline,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Pipeline, Path], None],
    message: str,
) -> None:
    folder = tmp_path / "set"
    make(pipeline, folder)
    out = tmp_path / "out"
    refused(capsys, ["encode", str(folder), str(out), "--tokenizer", str(pipeline.tokenizer)], message, str(folder))
    assert not out.exists()
    refused(capsys, pipeline.fit_tokenizer(tmp_path / "run", "--data.folder", str(folder)), message, str(folder))


def test_help_of_fit_is_free_of_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--help"])
    printed = capsys.readouterr()
    assert end.value.code == 0 and printed.err == ""
    assert "--run" in printed.out and "--lr_scheduler" not in printed.out


def test_unknown_config_keys(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    refused(capsys, pipeline.fit_tokenizer(run, "--model.nonesuch", "1"), "nonesuch")
    refused(capsys, pipeline.fit_tokenizer(run, "--optimizer", "Adam"), "--optimizer Adam")
    values = yaml.safe_load((EXPERIMENTS / "demo_tokenizer.yaml").read_text())
    values["data"]["init_args"]["batchsize"] = 3
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    refused(capsys, ["fit", "-c", str(config), "--run", str(run)], "batchsize")
    config.write_text("levels: [")
    refused(capsys, ["fit", "-c", str(config), "--run", str(run)], "config")
    refused(capsys, ["fit", "-c", str(tmp_path / "absent.yaml"), "--run", str(run)], "absent.yaml")
    assert not run.exists()


def test_sizes_that_do_not_fit(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    refused(capsys, pipeline.fit_tokenizer(run, "--levels.image_size", "[60, 64]"), "60", "not divisible by 64")
    other = ["--levels.image_size", "[128, 128]", "--wandb", "true"]
    refused(capsys, pipeline.fit_tokenizer(run, *other), "128", "64")
    assert not run.exists(), "a training that never began leaves no run, and nothing that wandb sync would upload"
    run.mkdir()
    refused(capsys, pipeline.fit_tokenizer(run, *other), "128", "64")
    assert run.exists(), "the user's own folder"
    more = ["--plan.init_args.windows", "[2, 8, 256]"]
    refused(capsys, pipeline.fit_diffusion(run, *more), "chunk", "128")
    refused(capsys, pipeline.fit_diffusion(run, "--plan.init_args.windows", "[2, 7]"), "divide")


def test_context_beyond_the_episode(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, pipeline.evaluate("--context", "500", "--end", "600"), "--context 500", "128 frames")
    refused(capsys, pipeline.evaluate("--end", "600"), "--end 600", "128 recorded frames", "at most 128")
    refused(capsys, pipeline.evaluate("--context", "10"), "42 frames of context")
    refused(capsys, pipeline.evaluate("--end", "64"), "beyond")
    refused(capsys, pipeline.evaluate("--nfe", "1"), "nfe must be at least 2")
    refused(capsys, pipeline.evaluate("--device", "cuda:77"), "cuda:77")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--guidance", "nan"], "finite and not negative"),
        (["--guidance", "inf"], "finite and not negative"),
        (["--guidance", "-2"], "finite and not negative"),
        (["--protocol", "../../evil"], "letters, digits, - and _"),
        (["--protocol", ""], "letters, digits, - and _"),
        (["--episodes", "0"], "at least 1"),
        (["--batch-size", "0"], "at least 1"),
    ],
)
def test_values_refused_before_anything_is_written(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], option: list[str], message: str
) -> None:
    folder = pipeline.diffusion / "evaluation"
    before = sorted(folder.iterdir()) if folder.is_dir() else None
    with pytest.raises(SystemExit) as end:
        main(pipeline.evaluate(*option, command="rollout"))
    error = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(error) == 1 and f"argument {option[0]}: must" in error[0] and message in error[0]
    assert before == (sorted(folder.iterdir()) if folder.is_dir() else None)


def test_settings_without_a_meaning(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    levels = pipeline.evaluate("--nfe", "2", "2", "2", "2", "--protocol", "four")
    refused(capsys, levels, "--nfe 2 2 2 2", "levels 0 to 2", "3 of them")
    refused(capsys, pipeline.evaluate("--refresh", "2", "--protocol", "four"), "--refresh 2", "isolated attention")
    refused(capsys, pipeline.evaluate("--device", "gpu", "--protocol", "four"), "cpu, cuda, cuda:0 or mps")
    assert not (pipeline.diffusion / "evaluation" / "four").exists()


def test_runs_that_do_not_tell_their_data(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = pipeline.diffusion / "checkpoints" / "last.ckpt"
    refused(capsys, ["rollout", str(checkpoint)], f"give the run directory {pipeline.diffusion}", "--checkpoint")
    run = tmp_path / "run"
    shutil.copytree(pipeline.diffusion / "checkpoints", run / "checkpoints")
    command = ["rollout", str(run), "--context", "64", "--end", "70", "--nfe", "2", "--episodes", "1"]
    for content, part in (("data: [", "is not YAML at line"), ("data: {}", "data.init_args.folder"), ("", "fields")):
        (run / "config.yaml").write_text(content)
        refused(capsys, command, "config.yaml", part, "--latents")
    latents = tmp_path / "elsewhere" / "latents"
    shutil.copytree(pipeline.latents, latents)
    refused(capsys, [*command, "--latents", str(latents)], "was made from", "give --frames")
    assert main([*command, "--latents", str(latents), "--frames", str(pipeline.shards)]) == 0
    record = json.loads((pipeline.diffusion / "run.json").read_text())
    record["starts"][-1]["data"]["tokenizer"]["sha256"] = 64 * "0"
    (run / "run.json").write_text(json.dumps(record))
    refused(capsys, [*command, "--latents", str(latents)], str(latents), "another tokenizer", "run.json")


def test_a_run_has_one_training(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with other_process(run, 0) as other:
        refused(capsys, pipeline.fit_tokenizer(run), f"{run}: process {other.pid}", "writes there", "--run")
        assert [path.name for path in run.iterdir()] == [LOCK]
    assert main(pipeline.fit_tokenizer(run)) == 0
    assert not (run / LOCK).exists() and (run / "checkpoints" / "last.ckpt").is_file()


def test_checkpoints_of_something_else(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(pipeline.tokenizer, run)
    wider = ["--model.init_args.encoder.dim", "64", "--trainer.max_steps", "6"]
    refused(capsys, pipeline.fit_tokenizer(run, *wider), "last.ckpt", "encoder", "another architecture")
    out = str(tmp_path / "out")
    refused(capsys, ["encode", str(pipeline.shards), out, "--tokenizer", str(pipeline.diffusion)], "kind is diffusion")
    refused(capsys, ["encode", str(pipeline.shards), out, "--tokenizer", out], "no such checkpoint")
    refused(capsys, ["rollout", str(pipeline.tokenizer)], "kind is tokenizer")
    refused(capsys, ["rollout", str(tmp_path / "absent")], "no such run")
    refused(capsys, ["compare", str(pipeline.tokenizer)], "evaluat")
    assert not Path(out).exists()


def test_unwritable_outputs(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    refused(capsys, pipeline.fit_tokenizer(blocker / "run"), str(blocker))
    encode = ["encode", str(pipeline.shards), str(blocker / "out"), "--tokenizer", str(pipeline.tokenizer)]
    refused(capsys, encode, str(blocker))
    refused(capsys, ["plan", str(EXPERIMENTS / "demo_diffusion.yaml"), "--out", str(blocker / "a.png")], str(blocker))
    assert blocker.read_text() == ""


def test_a_truncated_tar(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(pipeline.shards, folder)
    tar = sorted(folder.glob("train-*.tar"))[0]
    tar.write_bytes(tar.read_bytes()[:5000])
    out = tmp_path / "out"
    refused(capsys, ["encode", str(folder), str(out), "--tokenizer", str(pipeline.tokenizer)], tar.name)
    assert not (out / "manifest.json").exists() and not list(out.glob(f"*{tar.name}*"))
    # Training meets it too, whatever the process that reads.
    refused(capsys, pipeline.fit_tokenizer(tmp_path / "run", "--data.folder", str(folder)), tar.name)


def test_foreign_checkpoints_for_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "source.pt", tmp_path / "out.ckpt"
    command = ["convert", "tokenizer", str(source), str(out), "--image-size", "32", "--patch-size", "4"]
    refused(capsys, command, "no such checkpoint")
    torch.save({"mstv": {"kind": "tokenizer"}, "state_dict": {}}, source)
    refused(capsys, command, "is an mstv checkpoint already")
    torch.save({"weights": 1}, source)
    refused(capsys, command, "field model")
    torch.save({"model": {"a": torch.zeros(1)}}, source)
    refused(capsys, command, "not the published architecture")
    assert not out.exists()
