"""Per-frame metrics against scikit-image, and their accumulation by horizon."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mstv.metrics import MAX_PSNR, FramePSNR, FrameSSIM, frame_psnr, frame_ssim, pairs


def videos(batch: int = 2, time: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, time, 3, 16, 24, generator=generator)
    noise = torch.rand(batch, time, 1, 1, 1, generator=generator)
    return (target + 0.3 * noise * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def test_psnr_is_that_of_scikit_image():
    prediction, target = videos()
    values = frame_psnr(prediction, target)
    assert values.shape == (2, 5)
    for index in np.ndindex(2, 5):
        a, b = (video[index].double().numpy() for video in (prediction, target))
        assert values[index].item() == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4)


@pytest.mark.parametrize("brightness", [0, 0.65])
def test_ssim_is_that_of_scikit_image(brightness):
    prediction, target = videos()
    # Flat and bright as well, where float32 would be wrong by 1e-3.
    prediction, target = (brightness + (1 - brightness) * video for video in (prediction, target))
    target[:, :, :, :, 12:] = brightness
    values = frame_ssim(prediction, target)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for index in np.ndindex(2, 5):
        a, b = (video[index].double().numpy() for video in (prediction, target))
        expected = structural_similarity(a, b, data_range=1, channel_axis=0, **wang)
        assert values[index].item() == pytest.approx(expected, abs=1e-4)


def test_identical_frames_are_capped():
    _, target = videos()
    assert (frame_psnr(target, target) == MAX_PSNR).all()
    torch.testing.assert_close(frame_ssim(target, target), torch.ones(2, 5))


@pytest.mark.parametrize("function", [frame_psnr, frame_ssim])
def test_slices_do_not_change_values(function, monkeypatch):
    prediction, target = videos(time=7)
    whole = function(prediction, target)
    monkeypatch.setattr(pairs, "PIXELS_PER_SLICE", 3 * 16 * 24)
    torch.testing.assert_close(function(prediction, target), whole)


@pytest.mark.parametrize("function", [frame_psnr, frame_ssim])
def test_autocast_does_not_change_values(function):
    prediction, target = videos()
    with torch.autocast("cpu", torch.bfloat16):
        inside = function(prediction, target)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, function(prediction, target))


@pytest.mark.parametrize("function", [frame_psnr, frame_ssim])
@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan")])
def test_values_outside_the_unit_range_are_refused(function, bad):
    prediction, target = videos()
    prediction[1, 2, 0, 3, 3] = bad
    with pytest.raises(ValueError, match=r"prediction has values .* outside \[0, 1\]"):
        function(prediction, target)
    with pytest.raises(ValueError, match="target has values"):
        function(target, prediction)


@pytest.mark.parametrize("function", [frame_psnr, frame_ssim])
def test_unequal_shapes_are_refused(function):
    prediction, target = videos()
    with pytest.raises(ValueError, match=r"prediction is \(2, 5, .* target \(2, 4, "):
        function(prediction, target[:, :4])
    with pytest.raises(ValueError, match="the same"):
        function(prediction, target[:1])  # would broadcast


def test_ssim_refuses_frames_below_its_window():
    small = torch.zeros(1, 1, 3, 10, 16)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        frame_ssim(small, small)


def test_curve_is_mean_by_horizon_and_pooled_psnr():
    prediction, target = videos(batch=3, time=4)
    metric = FramePSNR(max_horizon=10)
    metric.update(prediction, target, torch.tensor([1, 2, 3, 10]))
    curve = metric.compute()
    values = frame_psnr(prediction, target)
    assert curve.horizon.tolist() == [1, 2, 3, 10]
    assert curve.num_frames.tolist() == [3, 3, 3, 3]
    np.testing.assert_allclose(curve.mean, values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(curve.pooled, -10 * np.log10((10 ** (-values / 10)).mean(0)), rtol=1e-5)
    assert (curve.pooled < curve.mean).all()


@pytest.mark.parametrize("metric", [FramePSNR, FrameSSIM])
def test_split_updates_equal_one_update(metric):
    prediction, target = videos(batch=3, time=6)
    horizon = torch.arange(1, 7)
    one, split = metric(), metric()
    one.update(prediction, target, horizon)
    split.update(prediction[:1, :4], target[:1, :4], horizon[:4])
    split.update(prediction[:1, 4:], target[:1, 4:], horizon[4:])
    split.update(prediction[1:], target[1:], horizon)
    for expected, got in zip(one.compute(), split.compute(), strict=True):
        if expected is not None:
            np.testing.assert_allclose(got, expected, rtol=1e-5)
    split.reset()
    split.update(prediction[:1, :1], target[:1, :1], horizon[:1])
    assert split.compute().horizon.shape == (1,)  # one entry stays an array


def test_horizons_out_of_range_are_refused():
    prediction, target = videos(time=2)
    metric = FrameSSIM(max_horizon=4)
    with pytest.raises(ValueError, match=r"0\.\.1 do not lie in 1\.\.4"):
        metric.update(prediction, target, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="raise max_horizon"):
        metric.update(prediction, target, torch.tensor([4, 5]))
    with pytest.raises(ValueError, match="max_horizon is 0"):
        FramePSNR(max_horizon=0)
