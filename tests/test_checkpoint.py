"""Checkpoints that say what they are."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mstv import checkpoint
from mstv.errors import UserError


def test_round_trip_and_identity_of_weights(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    checkpoint.write_weights(tmp_path / "a.ckpt", "tokenizer", {"dim": 2}, model.state_dict())
    first = checkpoint.read_checkpoint(tmp_path / "a.ckpt", "tokenizer")
    assert first.config == {"dim": 2}
    described = checkpoint.describe("tokenizer", {"dim": 2})
    torch.save({checkpoint.FIELD: described, "state_dict": model.state_dict(), "optimizer": 1}, tmp_path / "b.ckpt")
    assert checkpoint.read_checkpoint(tmp_path / "b.ckpt", "tokenizer").sha256 == first.sha256
    model.weight.data[0, 0] += 1e-3
    assert checkpoint.weights_sha256(model.state_dict()) != first.sha256


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "garbage.ckpt").write_bytes(b"not a checkpoint")
    torch.save([1, 2], folder / "list.ckpt")
    torch.save({"model": {}}, folder / "foreign.ckpt")
    torch.save({"a": nn.Linear(1, 1)}, folder / "pickled.ckpt")
    torch.save({checkpoint.FIELD: {"schema_version": 99, "kind": "tokenizer", "config": {}}}, folder / "version.ckpt")
    checkpoint.write_weights(folder / "kind.ckpt", "diffusion", {}, {})
    checkpoint.write_weights(folder / "cut.ckpt", "tokenizer", {}, {"w": torch.randn(1000)})
    (folder / "cut.ckpt").write_bytes((folder / "cut.ckpt").read_bytes()[:-2000])
    return {
        "absent": (folder / "absent.ckpt", "no such checkpoint"),
        "garbage": (folder / "garbage.ckpt", "not a torch checkpoint"),
        "list": (folder / "list.ckpt", "holds a list"),
        "foreign": (folder / "foreign.ckpt", "mstv convert"),
        "pickled": (folder / "pickled.ckpt", "not a torch checkpoint"),
        "version": (folder / "version.ckpt", "schema_version is 99"),
        "kind": (folder / "kind.ckpt", "kind is diffusion"),
        "cut": (folder / "cut.ckpt", "not a torch checkpoint"),
    }


@pytest.mark.parametrize("name", ["absent", "garbage", "list", "foreign", "pickled", "version", "kind", "cut"])
def test_bad_files_are_named(tmp_path: Path, name: str) -> None:
    path, message = bad_files(tmp_path)[name]
    with pytest.raises(UserError, match=message) as error:
        checkpoint.read_checkpoint(path, "tokenizer")
    assert str(path) in str(error.value)


def test_other_architectures_are_named(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(UserError, match=r"field bias is \(4,\), this model expects \(3,\)"):
        checkpoint.load_weights(model, nn.Linear(2, 4).state_dict(), tmp_path)
    with pytest.raises(UserError, match="field bias is absent"):
        checkpoint.load_weights(model, {"weight": model.weight.data}, tmp_path)
    loaded = {checkpoint.FIELD: checkpoint.describe("tokenizer", {"dim": 2})}
    with pytest.raises(UserError, match="field dim is 2, this model has 3"):
        checkpoint.check_same_model(loaded, "tokenizer", {"dim": 3}, tmp_path)


def test_the_article_fits_the_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected inverse_dynamics: give an inverse_dynamics checkpoint$"):
        checkpoint.read_checkpoint(bad_files(tmp_path)["kind"][0], "inverse_dynamics")
