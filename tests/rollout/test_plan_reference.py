"""Plans equal the published ones step by step."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.framepack import FramePack, FramePackMirrored
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.plan import Plan, PlanFamily
from mstv.rollout.upscale import RolloutUpscale, Upscale

FAMILIES: dict[str, Callable[[dict], PlanFamily]] = {
    "millivid": lambda p: CoarseToFine(p["num_frames_per_level"], p["extra_budget"]),
    "baseline": lambda p: FullResolution(p["num_frames"]),
    "framepack": lambda p: FramePack(p["num_context_frames"], p["num_denoised_frames"]),
    "framepack_mirrored": lambda p: FramePackMirrored(p["num_context_frames"], p["num_denoised_frames"]),
    "upscale": lambda p: Upscale(p["base_num_frames"], p["num_levels"]),
    "rollout_upscale": lambda p: RolloutUpscale(p["base_num_frames"], p["num_levels"]),
}
"""By the name that the published implementation gives them."""


def build(entry: dict) -> Plan:
    return FAMILIES[entry["name"]](entry["parameters"]).plan(entry["base_num_tokens"])


def entries(folder: Path) -> list[dict]:
    path = folder / "rollout_plans.json"
    if not path.is_file():
        pytest.skip(f"{folder} holds no rollout_plans.json")
    return json.loads(path.read_text())


def test_plan_reference(reference: Path) -> None:
    for entry in entries(reference):
        plan = build(entry)
        where = f"{entry['name']} {entry['parameters']}"
        assert plan.num_levels == entry["num_levels"], where
        assert plan.num_frames == entry["chunk_num_frames"], where
        assert plan.first_target_frame == entry["chunk_denoising_start"], where
        assert plan.num_clipped_frames == entry["num_clipped_frames"], where
        assert list(plan.num_tokens) == entry["num_tokens"], where
        assert plan.step_probability == pytest.approx(entry["step_probability"], abs=1e-9), where
        assert len(plan.steps) == len(entry["steps"]), where
        for index, (step, expected) in enumerate(zip(plan.steps, entry["steps"], strict=True)):
            assert [list(cell) for cell in step.context] == sorted(expected["context"]), f"{where} step {index}"
            assert [list(cell) for cell in step.targets] == sorted(expected["denoised"]), f"{where} step {index}"
            assert expected["group"] in (None, step.group), f"{where} step {index}"


def test_chunks_reference(reference: Path) -> None:
    for entry in entries(reference):
        plan = build(entry)
        for case in entry["generate"]:
            if case["start"] < plan.first_target_frame:
                # The published code lists chunks that begin before the episode; that is an error here.
                with pytest.raises(UserError, match="frames of context"):
                    plan.chunks(case["start"], end=case["requested_end"], limit=case["requested_limit"])
                continue
            chunks = plan.chunks(case["start"], end=case["requested_end"], limit=case["requested_limit"])
            assert chunks.end == case["end"]
            assert chunks.limit == case["limit"]
            assert list(chunks.starts) == case["chunk_starts"]
            assert len(chunks.starts) * len(plan.steps) == case["num_steps"]
