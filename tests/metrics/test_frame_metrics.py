"""Per-frame metrics against plain formulas, and their accumulation by horizon."""

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from mstv.metrics import MAX_PSNR, FramePSNR, FrameSSIM, frame_psnr, frame_ssim, pairs


def videos(batch: int = 2, time: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, time, 3, 16, 24, generator=generator)
    noise = torch.rand(batch, time, 1, 1, 1, generator=generator)
    return (target + 0.3 * noise * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def test_psnr_is_the_plain_formula_and_that_of_torchmetrics():
    prediction, target = videos()
    values = frame_psnr(prediction, target)
    assert values.shape == (2, 5)
    squares = np.square(prediction.double().numpy() - target.double().numpy()).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(values, -10 * np.log10(squares), rtol=1e-5)
    single = peak_signal_noise_ratio(prediction[1, 3], target[1, 3], data_range=1.0)
    torch.testing.assert_close(values[1, 3], single)


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel over the windows that lie inside the image, in float64."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def local_mean(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, 5, mode="reflect")
        return np.einsum("hwij,ij->hw", np.lib.stride_tricks.sliding_window_view(padded, (11, 11)), window)

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a, variance_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((luminance * (2 * covariance + 0.03**2) / (variance_a + variance_b + 0.03**2)).mean())


def test_ssim_is_the_plain_formula_and_that_of_torchmetrics():
    prediction, target = videos()
    values = frame_ssim(prediction, target)
    a, b = prediction[0, 2].double().numpy(), target[0, 2].double().numpy()
    assert values[0, 2].item() == pytest.approx(
        np.mean([plain_ssim(x, y) for x, y in zip(a, b, strict=True)]), abs=1e-4
    )
    single = structural_similarity_index_measure(prediction[1:2, 4], target[1:2, 4], data_range=1.0)
    torch.testing.assert_close(values[1, 4], single)


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
    small = torch.zeros(1, 1, 3, 5, 16)
    with pytest.raises(ValueError, match="at least 6 pixels"):
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


def reduce_on_rank(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    prediction, target = videos(batch=3, time=4)
    mine = slice(0, 1) if rank == 0 else slice(1, 3)  # ranks hold unequal shares
    frames = 4 - rank  # and see unequal horizons
    metric = FramePSNR(max_horizon=6)
    metric.update(prediction[mine, :frames], target[mine, :frames], torch.arange(1, 1 + frames))
    np.savez(f"{results}/{rank}.npz", **metric.compute()._asdict())
    torch.distributed.destroy_process_group()


def test_two_processes_reduce_to_the_whole(tmp_path):
    torch.multiprocessing.spawn(reduce_on_rank, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    prediction, target = videos(batch=3, time=4)
    whole = FramePSNR(max_horizon=6)
    whole.update(prediction[:, :3], target[:, :3], torch.arange(1, 4))
    whole.update(prediction[:1, 3:], target[:1, 3:], torch.tensor([4]))
    for rank in (0, 1):
        got = np.load(tmp_path / f"{rank}.npz")
        assert got["num_frames"].tolist() == [3, 3, 3, 1]
        for name, expected in whole.compute()._asdict().items():
            np.testing.assert_allclose(got[name], expected, rtol=1e-5)
