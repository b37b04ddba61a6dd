"""Sharpness, colours and freezing against plain formulas."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from mstv.metrics import (
    FrameColour,
    FrameFrozen,
    FrameSharpness,
    TokenDrift,
    frame_change,
    frame_colour,
    frame_psnr,
    frame_sharpness,
    frozen,
)
from tests.metrics.scenes import blurred, swings, walk


def video(batch: int = 2, time: int = 4) -> torch.Tensor:
    return torch.rand(batch, time, 3, 12, 16, generator=torch.Generator().manual_seed(0))


def test_sharpness_is_the_variance_of_scipys_laplacian():
    values = frame_sharpness(video())
    grey = np.einsum("c,chw->hw", [0.299, 0.587, 0.114], video()[1, 2].double().numpy())
    assert values[1, 2].item() == pytest.approx(scipy.ndimage.laplace(grey)[1:-1, 1:-1].var(), rel=1e-4)


def test_sharpness_drift_is_a_log_ratio():
    true = video() * 0.5
    metric = FrameSharpness()
    torch.testing.assert_close(metric.measure(2 * true, true), torch.full((2, 4), 2.0), atol=0.01, rtol=0)
    assert (metric.measure(blurred(true, 1), true) < -1).all()
    flat = torch.full_like(true, 0.5)
    assert metric.measure(flat, flat).abs().max() == 0  # finite where both are flat
    assert metric.measure(flat, true).isfinite().all()


def test_colours_are_means_and_deviations():
    values = frame_colour(video())
    frame = video()[0, 3].double().numpy().reshape(3, -1)
    np.testing.assert_allclose(values[0, 3], [frame.mean(1), frame.std(1)], atol=1e-6)
    shifted = FrameColour().measure(0.5 + 0.5 * video() * 0, 0.2 + 0.5 * video() * 0)
    torch.testing.assert_close(shifted, torch.full((2, 4), 0.3))


def test_colour_drift_is_blind_to_places():
    mirrored = video().flip(-1)
    assert FrameColour().measure(mirrored, video()).max() < 1e-6
    assert frame_psnr(mirrored, video()).max() < 15


def test_change_is_that_from_the_frame_before():
    change = frame_change(video())
    steps = np.abs(np.diff(video().double().numpy(), axis=1)).mean((2, 3, 4))
    np.testing.assert_allclose(change[:, 1:], steps, rtol=1e-5)
    assert torch.equal(change[:, 0], change[:, 1])
    assert frame_change(video(time=1)).tolist() == [[0], [0]]


def test_freezing_is_found_and_standing_still_is_none():
    true, _ = walk(swings(20))
    stopped = true.clone()
    stopped[15:] = true[15]
    noisy = (stopped + 0.002 * torch.randn(stopped.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    found = frozen(torch.stack([true, stopped, noisy]), true.expand(3, -1, -1, -1, -1))
    assert not found[0].any()
    assert not found[1, :22].any() and found[1, 23:].all()  # eight steps after the stop
    assert torch.equal(found[1], found[2])
    assert not frozen(stopped[None], stopped[None]).any()
    metric = FrameFrozen()
    metric.update(stopped[None], true[None], torch.arange(1, 42))
    assert metric.compute().mean.tolist() == found[1].float().tolist()


def test_token_drift_is_of_means_and_deviations_by_channel():
    true = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    metric = TokenDrift(max_horizon=3)
    shuffled = true.flatten(2, 3)[:, :, torch.randperm(20)].unflatten(2, (4, 5))
    assert metric.measure(shuffled, true).max() < 1e-6
    torch.testing.assert_close(metric.measure(true - 0.5, true), torch.full((2, 3), 0.5))
    frame = true[1, 2].double().numpy().reshape(-1, 6)
    doubled = np.sqrt((frame.mean(0) ** 2 + frame.std(0) ** 2).mean())  # as far as the truth is from zero
    assert metric.measure(2 * true, true)[1, 2].item() == pytest.approx(doubled, rel=1e-5)
    metric.update(2 * true, true, torch.arange(1, 4))
    assert metric.compute().num_frames.tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="give the same"):
        metric.measure(true, true[:1])
