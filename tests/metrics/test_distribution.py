"""Frechet distances against numpy and scipy, their streaming, and the networks behind them."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from mstv.metrics import (
    FrameFrechet,
    I3DFeatures,
    InceptionFeatures,
    VideoFrechet,
    frechet_distance,
    frechet_distance_of_samples,
)
from mstv.metrics.features import Features
from tests.metrics.weight_files import write_weights


class Pooled(Features):
    """Mean colours of a grid of cells, of frames or of clips."""

    num_features, name, resize = 12, "pooled", "none"

    def forward(self, videos: Tensor) -> Tensor:
        if videos.ndim == 5:  # by time, so that the order shows
            videos = torch.einsum("ntchw,t->nchw", videos, torch.linspace(0, 2, videos.shape[1]))
        return torch.nn.functional.adaptive_avg_pool2d(videos, 2).flatten(1)


def plain_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of samples (N, D), with scipy's matrix root."""
    covariances = [np.cov(samples, rowvar=False) for samples in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    return float(apart + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


def of_samples(a: np.ndarray, b: np.ndarray) -> float:
    moments = [torch.from_numpy(m) for x in (a, b) for m in (x.mean(0), np.cov(x, rowvar=False))]
    return frechet_distance(*moments)


def test_distance_is_that_of_scipy_and_of_eigenvalues():
    random = np.random.default_rng(0)
    a = random.normal(size=(200, 16)) @ random.normal(size=(16, 16))
    b = 1 + random.normal(size=(300, 16)) @ random.normal(size=(16, 16))
    assert of_samples(a, b) == pytest.approx(plain_distance(a, b), rel=1e-8)
    eigenvalues = np.linalg.eigvals(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    direct = np.square(a.mean(0) - b.mean(0)).sum() + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
    assert of_samples(a, b) == pytest.approx(direct - 2 * np.sqrt(eigenvalues).sum(), rel=1e-8)


def test_distance_of_fewer_samples_than_features():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 12, 64))
    # The trace of the root from the small side: the singular values of one centred set times the other.
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + sum(np.square(x).sum() for x in centred) - 2 * cross
    assert of_samples(a, b) == pytest.approx(expected, abs=1e-8)
    assert of_samples(a, a) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("count", [12, 200])
def test_distance_of_samples_is_that_of_their_moments(count):
    a, b = np.random.default_rng(0).normal(size=(2, count, 64)) @ np.diag(np.linspace(0, 2, 64))
    expected = of_samples(a + 0.1, b)
    assert frechet_distance_of_samples(*map(torch.from_numpy, (a + 0.1, b))) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_of_samples(*map(torch.from_numpy, (a, a))) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="at least 2 samples"):
        frechet_distance_of_samples(torch.zeros(1, 4), torch.zeros(2, 4))


def test_distance_of_known_normal_distributions():
    zero, one = torch.zeros(3), torch.eye(3)
    assert frechet_distance(zero, one, zero + 2, one) == pytest.approx(12)
    assert frechet_distance(zero, one, zero, 9 * one) == pytest.approx(3 * (3 - 1) ** 2)
    assert frechet_distance(zero, 0 * one, zero, 4 * one) == pytest.approx(12)


def videos(seed: int, batch: int = 6, time: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, batch, time, 3, 8, 10, generator=generator)
    return a**2, b


def test_windows_are_streamed_to_the_plain_distance():
    metric = FrameFrechet(Pooled(), horizons=(4, 11), clip=4)
    parts = [videos(seed) for seed in (0, 1)]
    for prediction, target in parts:
        metric.update(prediction, target, torch.arange(1, 13))
    curve = metric.compute()
    assert curve.horizon.tolist() == [4, 11]
    assert curve.num_samples.tolist() == [48, 48]
    for distance, window in zip(curve.distance, (slice(0, 4), slice(7, 11)), strict=True):
        frames = [torch.cat(side)[:, window].flatten(0, 1) for side in zip(*parts, strict=True)]
        features = [Pooled()(x).double().numpy() for x in frames]
        assert distance == pytest.approx(plain_distance(*features), abs=1e-6)
        assert distance > 0.1


def test_a_clip_is_one_sample_of_fvd():
    metric = VideoFrechet(Pooled(), horizons=(4, 12), clip=4)
    prediction, target = videos(0)
    metric.update(prediction, target, torch.arange(1, 13))
    curve = metric.compute()
    assert curve.num_samples.tolist() == [6, 6]
    features = [Pooled()(video[:, 8:]).double().numpy() for video in (prediction, target)]
    assert curve.distance[1] == pytest.approx(plain_distance(*features), abs=1e-6)


def test_bad_windows_are_refused():
    prediction, target = videos(0)
    with pytest.raises(ValueError, match="at least the clip length 16"):
        FrameFrechet(Pooled(), horizons=(8,))
    metric = FrameFrechet(Pooled(), horizons=(4, 16), clip=4)
    with pytest.raises(ValueError, match=r"end at \[4, 16\] do not lie in the horizons 1\.\.12"):
        metric.update(prediction, target, torch.arange(1, 13))
    with pytest.raises(ValueError, match="do not lie in the horizons 5"):
        metric.update(prediction, target, torch.arange(5, 17))
    with pytest.raises(ValueError, match="ascend by 1"):
        metric.update(prediction, target, torch.arange(1, 25, 2))
    with pytest.raises(ValueError, match="at least 2 samples"):
        metric.compute()


def test_inception_has_the_public_names_and_normalised_features(tmp_path):
    source = InceptionFeatures()
    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    network = InceptionFeatures.from_file(write_weights(tmp_path / "inception.pth", source, classifier))
    names = set(network.state_dict())
    assert len(names) == 94 * 6
    for name in (
        "Conv2d_1a_3x3.conv",
        "Mixed_5b.branch5x5_1.bn",
        "Mixed_6e.branch7x7dbl_5.bn",
        "Mixed_7c.branch_pool.bn",
    ):
        assert f"{name}.weight" in names
    images = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    features = network(images)
    assert features.shape == (2, 2048)
    assert (features[0] - features[1]).abs().max() > 0
    card = FrameFrechet(network, horizons=(16,)).card()
    assert card["weights"]["published"] is False
    assert card["resize"].startswith("299x299")


def test_inception_is_the_published_network() -> None:
    """Reference numbers of torchvision 0.29.2's layers, its means without the padding, a maximum in the last block."""
    network = InceptionFeatures().eval()
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name in sorted(name for name in state if not name.endswith("num_batches_tracked")):
        random = torch.randn(state[name].shape, generator=generator)
        if random.ndim == 4:
            random *= (2 / random[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            random = 1 + 0.5 * random.abs()
        else:
            random = 0.1 * random + name.endswith("weight")
        state[name].copy_(random)
    for size, first, mean, square in (
        ((299, 299), (0.2416956, 0, 0.0064510), 0.0975242, 0.0277764),
        ((32, 40), (0.2303742, 0, 0.0111555), 0.0954234, 0.0266751),
    ):
        with torch.no_grad():
            features = network(torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)))
        torch.testing.assert_close(features[0, :3], torch.tensor(first), rtol=1e-4, atol=1e-6)
        assert features.mean().item() == pytest.approx(mean, rel=1e-4)
        assert features.square().mean().item() == pytest.approx(square, rel=1e-4)


class ScriptedI3D(nn.Module):
    """Called as the public file is."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        assert not rescale and not resize and return_features
        assert x.shape[1] == 3 and x.shape[3] == 224 and x.shape[4] == 224
        return torch.stack([x.mean(dim=[1, 2, 3, 4]), x[:, 0, 0].mean(dim=[1, 2])], 1).repeat(1, 200)


def test_fvd_of_a_torchscript_file(tmp_path):
    torch.jit.script(ScriptedI3D()).save(tmp_path / "i3d.pt")
    network = I3DFeatures.from_file(tmp_path / "i3d.pt")
    clips = torch.rand(3, 4, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    features = network(clips)
    assert features.shape == (3, 400)
    torch.testing.assert_close(features[:, 0], 2 * clips.mean((1, 2, 3, 4)) - 1, atol=0.01, rtol=0)
    torch.testing.assert_close(features[:, 1], 2 * clips[:, 0, 0].mean((1, 2)) - 1, atol=0.03, rtol=0)
    metric = VideoFrechet(network, horizons=(4,), clip=4)
    metric.update(clips, clips, torch.arange(1, 5))
    assert metric.compute().distance[0] == pytest.approx(0, abs=1e-6)
    assert len(metric.card()["weights"]["sha256"]) == 64
