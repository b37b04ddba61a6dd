"""Every metric: its card, and that two processes or a GPU get what one process on a CPU computes."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from mstv.metrics import (
    FrameColour,
    FrameDINO,
    FrameFrechet,
    FrameFrozen,
    FrameKeypoints,
    FrameLPIPS,
    FramePSNR,
    FrameSharpness,
    FrameSSIM,
    FrechetMetric,
    HorizonMetric,
    RevisitConsistency,
    TokenDrift,
    VideoFrechet,
    find_revisits,
)
from mstv.metrics.action_agreement import ActionAgreement
from tests.metrics.scenes import swings, walk
from tests.metrics.test_dino import small
from tests.metrics.test_distribution import Pooled
from tests.metrics.test_lpips import network

Metrics = dict[str, HorizonMetric | FrechetMetric]
EPISODES, FRAMES = 3, 8
NAMES = ("still", "left", "right")
REVISITED = (FramePSNR, FrameSSIM, FrameLPIPS, FrameDINO, FrameKeypoints)
"""Metrics of which revisits are scored."""


def metrics() -> Metrics:
    plain: list[type[HorizonMetric]] = [FramePSNR, FrameSSIM, FrameSharpness, FrameColour, FrameFrozen]
    found: list[HorizonMetric | FrechetMetric] = [kind(max_horizon=FRAMES + 2) for kind in plain]
    found += [FrameLPIPS(network("alexnet")), FrameDINO(small())]
    if importlib.util.find_spec("cv2"):
        found.append(FrameKeypoints())
    found += [kind(Pooled(), horizons=(4,), clip=4) for kind in (FrameFrechet, VideoFrechet)]
    return {metric.name: metric for metric in found}


def videos() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(EPISODES, FRAMES, 3, 32, 32, generator=generator)
    return (target + 0.2 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def results(episodes: list[int], last: dict[int, int]) -> dict[str, np.ndarray]:
    """What the metrics compute of these episodes, episode e having `last[e]` frames."""
    found = metrics()
    prediction, target = videos()
    for episode in episodes:
        part = (slice(episode, episode + 1), slice(last[episode]))
        for metric in found.values():
            metric.update(prediction[part], target[part], torch.arange(1, 1 + last[episode]))
    drift = TokenDrift(max_horizon=FRAMES)
    following = {"ids": ActionAgreement(NAMES), "columns": ActionAgreement(NAMES, (True, False, False))}
    for episode in episodes:
        horizon = torch.arange(1, 1 + last[episode])
        latents = torch.randn(2, 1, len(horizon), 3, 3, 4, generator=torch.Generator().manual_seed(episode))
        drift.update(latents[0], latents[1], horizon)
        actions = np.random.default_rng(episode).integers(0, 3, (2, len(horizon)))
        following["ids"].update(*torch.from_numpy(actions))
        following["columns"].update(*torch.from_numpy(np.stack([actions > 0, actions, actions**2], 2).astype(float)))
    revisits = {name: RevisitConsistency(kind) for name, kind in found.items() if isinstance(kind, REVISITED)}
    for episode in episodes:
        true, poses = walk(swings(6, 4 + 4 * episode), world=episode)
        order = np.r_[:4, 4 + np.random.default_rng(episode).permutation(len(true) - 4)]
        for metric in revisits.values():
            metric.update((0.8 * true + 0.02 * episode).clamp(0, 1), true, find_revisits(poses, context=4), order)
    answers = {}
    tables = {f"revisit_{name}": metric for name, metric in revisits.items()}
    for name, metric in {**found, "token_drift": drift, **tables}.items():
        for field, value in metric.compute()._asdict().items():
            if value is not None:
                answers[f"{name}.{field}"] = value
    for kind, metric in following.items():
        answers |= {f"actions.{kind}.{'.'.join(score)}": np.array(value) for score, value in metric.compute().items()}
    return answers


def reduce_on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    episodes, last = [[0], [1, 2]][rank], {0: FRAMES, 1: FRAMES - 2, 2: FRAMES - 2}  # unequal shares and horizons
    np.savez(f"{folder}/{rank}.npz", **results(episodes, last))
    torch.distributed.destroy_process_group()


def test_every_card_is_plain_and_says_the_same_things() -> None:
    cards = [metric.card() for metric in metrics().values()]
    cards += [RevisitConsistency(FramePSNR()).card(), TokenDrift().card(), ActionAgreement(NAMES).card()]
    for card in cards:
        assert json.loads(json.dumps(card)) == card
        assert {"name", "version", "unit", "better", "aggregation", "resize", "source"} <= set(card)
    assert len({card["name"] for card in cards}) == len(cards)
    assert next(card for card in cards if card["name"] == "fid")["clip_length"] == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same() -> None:
    prediction, target = videos()
    for name, metric in metrics().items():
        curves = []
        for device in ("cpu", "cuda"):
            metric.reset()
            moved = metric.to(device)
            moved.update(prediction.to(device), target.to(device), torch.arange(1, 1 + FRAMES))
            curves.append(moved.compute())
        np.testing.assert_allclose(curves[1][1], curves[0][1], rtol=1e-3, atol=1e-4, err_msg=name)


def test_two_processes_reduce_to_the_whole(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(reduce_on_rank, (str(tmp_path),), nprocs=2)
    expected = results([0, 1, 2], {0: FRAMES, 1: FRAMES - 2, 2: FRAMES - 2})
    assert expected["psnr.num_frames"].tolist() == [3] * (FRAMES - 2) + [1] * 2
    assert expected["fvd.num_samples"].tolist() == [EPISODES]
    revisited = [name for name in expected if name.startswith("revisit_") and name.endswith(".num_pairs")]
    assert len(revisited) == 4 + ("keypoint_matches" in metrics())
    assert all(expected[name].sum() > 20 for name in revisited)
    kinds = {name.partition(".")[0] for name in expected}
    assert {"token_drift", "actions", *(metric for metric in metrics())} <= kinds
    assert 0.1 < expected["actions.ids.accuracy."] < 0.9 and expected["token_drift.mean"].min() > 0
    if "keypoint_matches" in metrics():
        assert (
            expected["revisit_keypoint_matches.mean"][0][expected["revisit_keypoint_matches.num_pairs"] > 0].max() > 4
        )
    for rank in (0, 1):
        got = np.load(tmp_path / f"{rank}.npz")
        assert set(got) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
