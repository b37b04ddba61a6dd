"""Keypoint matches: what counts, and what is said without OpenCV."""

import sys

import pytest
import torch

from mstv.metrics import FrameKeypoints, MetricUnavailable
from tests.metrics.scenes import look


def test_counts_shared_geometry():
    pytest.importorskip("cv2")
    metric = FrameKeypoints()
    true = torch.nn.functional.interpolate(torch.stack([look(0, 30)] * 4), 144)[None]
    moved = true[0, 0].roll(4, 2)
    other = torch.nn.functional.interpolate(look(1, 30)[None], 144)[0]
    shown = torch.stack([true[0, 0], moved, other, torch.full_like(moved, 0.5)])[None]
    same, shifted, unrelated, flat = metric.measure(shown, true)[0].tolist()
    assert same >= shifted > same / 2 > 10  # a homography explains a shift
    assert unrelated < same / 4
    assert flat == 0
    assert metric.measure(shown, true)[0].tolist() == [same, shifted, unrelated, flat]
    assert metric.card()["detector"].startswith("SIFT")


def test_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MetricUnavailable, match=r"pip install 'mstv\[keypoints\]'"):
        FrameKeypoints()
