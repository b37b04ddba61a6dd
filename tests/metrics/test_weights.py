"""Public weight files: what is said when they are absent, foreign or incomplete."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from mstv.metrics import LPIPS, DINOv2, I3DFeatures, InceptionFeatures, MetricUnavailable
from mstv.metrics.weights import PublicWeights
from tests.metrics.weight_files import write_weights

PUBLIC = PublicWeights("a metric", "net-0000.pth", "its makers", sha256="0000", ignored=("classifier.",))


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_loads_own_tensors_and_ignores_the_classifier(tmp_path):
    source, module = net(), net()
    path = write_weights(tmp_path / "mine.pth", source, {"classifier.weight": torch.zeros(5)})
    file = PUBLIC.load_into(module, path)
    for ours, theirs in zip(module.parameters(), source.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
    assert file.card() == {
        "file": "mine.pth",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "published": False,
    }


def test_knows_the_published_file(tmp_path):
    path = write_weights(tmp_path / "net.pth", net())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert PublicWeights("m", "n", "s", sha256=digest[:8]).find(path).published
    assert PublicWeights("m", "n", "s").find(path).published is None


@pytest.mark.parametrize("path", [None, Path("nowhere.pth")])
def test_absent_file_says_which_and_where(path):
    with pytest.raises(MetricUnavailable, match=r"fetch net-0000.pth from its makers"):
        PUBLIC.load_into(net(), path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"0.weight": torch.zeros(3, 2)}, r"lacks 0\.bias \(3 of 4 tensors\)"),
        (net().state_dict() | {"other": torch.zeros(1)}, "holds other, which the network lacks"),
        (net().state_dict() | {"0.bias": torch.zeros(4)}, r"has 0\.bias of shape \(4,\), expected \(3,\)"),
        ([torch.zeros(1)], "holds no dict of tensors"),
    ],
)
def test_foreign_tensors_are_refused(tmp_path, tensors, message):
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(MetricUnavailable, match=message):
        PUBLIC.load_into(net(), tmp_path / "net.pth")


def test_unreadable_file_is_refused(tmp_path):
    (tmp_path / "net.pth").write_text("an error page")
    with pytest.raises(MetricUnavailable, match="is not readable"):
        PUBLIC.load_into(net(), tmp_path / "net.pth")
    with pytest.raises(MetricUnavailable, match="is no TorchScript file"):
        I3DFeatures.from_file(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (lambda: LPIPS.from_files("vgg16", None), "vgg16-397923af.pth"),
        (lambda: LPIPS.from_files("alexnet", None), "alexnet-owt-7be5be79.pth"),
        (lambda: DINOv2.from_file("vits14", None), "dinov2_vits14_pretrain.pth"),
        (lambda: DINOv2.from_file("vitb14", None), "dinov2_vitb14_pretrain.pth"),
        (lambda: InceptionFeatures.from_file(None), "pt_inception-2015-12-05-6726825d.pth"),
        (lambda: I3DFeatures.from_file(None), "i3d_torchscript.pt"),
    ],
)
def test_every_backbone_names_its_file(load, name):
    with pytest.raises(MetricUnavailable, match=f"no file is given: fetch {name} from "):
        load()
