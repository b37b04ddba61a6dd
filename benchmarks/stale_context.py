"""Error and time of joint attention whose context's keys and values are refreshed every k evaluations.

python -m benchmarks.stale_context RUN --json stale_context.json

RUN is the run directory of a diffusion training with joint attention. One step of every target level is sampled from
true context of test episodes, with the same noise for each k; k = 1 is exact.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import yaml

from mstv.cli.checkpoints import resolve_checkpoint
from mstv.cli.runtime import Runtime
from mstv.data.conditions import Conditions
from mstv.data.latent_shards import LatentStore
from mstv.data.latents import stack_latents
from mstv.data.results import CONFIG
from mstv.diffusion.module import load_diffusion
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError
from mstv.keyed_random import keyed_generator
from mstv.rollout.layout import StepLayout, gather_tokens

REFRESH = (1, 2, 5, 10, 50)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--episodes", type=int, default=4, help="first N test episodes (default: 4)")
    parser.add_argument("--starts", type=int, default=2, help="chunks of each episode (default: 2)")
    parser.add_argument("--nfe", type=int, default=50, help="DDIM evaluations (default: 50)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    arguments = parser.parse_args()
    runtime = Runtime(torch.device(arguments.device), bf16=False)
    module, sha256 = load_diffusion(resolve_checkpoint(arguments.run))
    if module.denoiser.attention != "joint":
        raise SystemExit(f"{arguments.run}: its attention is isolated, which never goes stale: give a joint run")
    runtime.place(module)
    folder = Path(yaml.safe_load((arguments.run / CONFIG).read_text())["data"]["init_args"]["folder"])
    try:
        store = LatentStore(folder)
    except UserError as error:
        raise SystemExit(str(error)) from None
    keys = store.keys("test")[: arguments.episodes]
    plan = module.plan
    squared = {k: 0.0 for k in REFRESH}
    truth = {k: 0.0 for k in REFRESH}
    seconds = {k: 0.0 for k in REFRESH}
    scale, count = 0.0, 0
    for level in range(plan.num_levels):
        index = next(index for index, step in enumerate(plan.steps) if step.group == level)
        step = plan.steps[index]
        layout = StepLayout.of(step, module.levels, runtime.device)
        for start in range(arguments.starts):
            frames = slice(start * plan.advance, start * plan.advance + plan.num_frames)
            latents = [stack_latents(store, keys, each, frames).to(runtime.device) for each in range(plan.num_levels)]
            actions = Conditions(store, module.conditions).stack(keys, frames.stop)
            if actions is not None:
                actions = actions[:, frames][:, list(step.frames)].to(runtime.device)
            noise = torch.stack(
                [
                    torch.randn(layout.num_tokens, store.channels, generator=keyed_generator(0, key, start, index))
                    for key in keys
                ]
            ).to(runtime.device)
            context, target = gather_tokens(latents, step.context), gather_tokens(latents, step.targets)
            exact = None
            for k in REFRESH:
                sample = module.step_sampler(Sampling(arguments.nfe, "ddim", refresh=k))
                begun = time.perf_counter()
                found = sample(layout, context, actions, noise)
                found.sum().item()  # waits for a GPU
                seconds[k] += time.perf_counter() - begun
                exact = found if exact is None else exact
                squared[k] += float((found - exact).square().mean())
                truth[k] += float((found - target).square().mean())
            assert exact is not None
            scale += float(exact.square().mean())
            count += 1
    result = {
        "run": arguments.run.name,
        "checkpoint_sha256": sha256,
        "machine": runtime.machine,
        "nfe": arguments.nfe,
        "samples": count * len(keys),
        "refresh": {
            k: {
                "relative_rms_error": (squared[k] / scale) ** 0.5,
                "rms_against_true_latents": (truth[k] / count) ** 0.5,
                "seconds_per_step": seconds[k] / count,
                "speed": seconds[1] / seconds[k],
            }
            for k in REFRESH
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
