"""What a training takes: parameters, tokens, FLOPs, and memory of each GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from mstv.cli.training_setup import Batch, TrainingSetup
from mstv.diffusion.module import DiffusionModule
from mstv.memory.gpu_norms import keep_like_a_gpu
from mstv.memory.training_step import StepMemory, give_sizes, without_values
from mstv.rollout.families import family_name
from mstv.trained_module import TrainedModule

MOMENTS = {"muon": 1, "adamw": 2}
"""Numbers that an optimiser keeps of each parameter."""
CONTEXT_BYTES, NCCL_BYTES = 1 << 30, 1 << 29
"""What CUDA and its libraries take, and what communication between GPUs does."""
FRAGMENTATION = 0.05
"""Share of the rest that the allocator cannot use."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU.

    Attributes:
        weights: of the parameters.
        optimiser: its states.
        averages: averaged weights.
        exchanged: copies of gradients that DDP exchanges.
        step: activations and gradients, the most alive at once.
        libraries: CUDA, and communication.
    """

    weights: int
    optimiser: int
    averages: int
    exchanged: int
    step: int
    libraries: int

    @property
    def tensors(self) -> int:
        """All of them but the libraries."""
        return self.weights + self.optimiser + self.averages + self.exchanged + self.step

    @property
    def total(self) -> int:
        """All of them, and what the allocator cannot use."""
        return round(self.tensors * (1 + FRAGMENTATION)) + self.libraries


@dataclass(frozen=True)
class TrainingEstimate:
    """Exact but for `Memory`'s last parts: the real loss is run on tensors without values.

    Args:
        setup: the training.
    """

    setup: TrainingSetup

    @cached_property
    def module(self) -> TrainedModule:
        """Without values, but for its sizes."""
        return self.setup.module()

    @property
    def description(self) -> str:
        """The model in words."""
        if not isinstance(self.module, DiffusionModule):
            return "tokenizer"
        plan, attention = family_name(self.module.family), self.module.denoiser.attention
        return f"diffusion transformer, {plan} plan, {attention} attention"

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Trained parameters by the algorithm that trains them, `muon` or `adamw`."""
        optimiser, _ = self.module.optimiser.build(self.module)
        counts = dict.fromkeys(MOMENTS, 0)
        for group in optimiser.param_groups:
            counts[group.get("algorithm", "adamw")] += sum(parameter.numel() for parameter in group["params"])
        return counts

    @cached_property
    def samples(self) -> int:
        """Of a step of the optimiser, on all GPUs."""
        return self.setup.batch_size * self.setup.accumulated * self.setup.num_gpus

    @cached_property
    def tokens(self) -> float:
        """Tokens of a step of the optimiser on all GPUs, mean over the plan's steps as they are drawn."""
        return self._mean(self.module.num_tokens)

    @cached_property
    def flops(self) -> float:
        """FLOPs of matrix products, likewise, see `mstv.transformer.flops`."""
        return self._mean(self.module.training_flops)

    def _mean(self, of_batch: Callable[[Batch], int]) -> float:
        with torch.device("meta"):
            steps = self.setup.steps(self.module).items()
            one = sum(share * of_batch(self.setup.batch(self.module, step, 1)) for step, share in steps)
        return one * self.samples

    @cached_property
    def memory(self) -> Memory:
        """Of one GPU."""
        setup = self.setup
        size = setup.precision.weights.itemsize
        weights = sum(self.parameters.values()) * size
        moments = sum(MOMENTS[name] * count * size for name, count in self.parameters.items())
        averages = weights if setup.averages else 0
        exchanged = weights if setup.strategy == "ddp" else 0
        libraries = CONTEXT_BYTES + (NCCL_BYTES if setup.num_gpus > 1 else 0)
        return Memory(weights, moments, averages, exchanged, self._step_memory, libraries)

    @cached_property
    def _step_memory(self) -> int:
        setup = self.setup
        steps = setup.heaviest_steps(self.module)
        for step in steps:
            setup.lay_out(self.module, step)
        peaks, module = [], setup.module()
        with without_values():
            for part in (module, *getattr(module, "_perceptual", [])):
                give_sizes(part, setup.precision.weights)
            keep_like_a_gpu(module)
            for step in steps:
                batch = setup.batch(module, step, setup.batch_size)
                peaks.append(StepMemory.of(module, batch, setup.precision, setup.accumulated > 1).peak)
        return max(peaks)

    def alternatives(self, limit: int) -> dict[str, int]:
        """Options of `mstv fit` for a training of the same global batch that takes at most `limit` bytes of a GPU.

        Returns:
            options, and the bytes that it takes then.
        """
        setup = self.setup
        smaller = self._smaller_batch(limit)
        if setup.checkpoints_activations:
            return smaller
        checkpointing = TrainingEstimate(setup.changed(checkpoints_activations=True))
        option = "--model.activation_checkpointing true"
        if checkpointing.memory.total <= limit:
            return {option: checkpointing.memory.total, **smaller}
        return smaller or {f"{option} {more}": total for more, total in checkpointing._smaller_batch(limit).items()}

    def _smaller_batch(self, limit: int) -> dict[str, int]:
        """Likewise, with the largest smaller batch of which more are accumulated; empty if none fits."""
        setup = self.setup
        samples = setup.batch_size * setup.accumulated
        one = TrainingEstimate(setup.changed(batch_size=1, accumulated=samples)).memory.total
        each = (self.memory.total - one) / max(setup.batch_size - 1, 1)
        for size in range(setup.batch_size - 1, 0, -1):
            if samples % size or one + each * (size - 1) > limit:
                continue
            changed = setup.changed(batch_size=size, accumulated=samples // size)
            # It is about linear in the batch: the first that is looked at is the one, or the next.
            total = TrainingEstimate(changed).memory.total
            if total <= limit:
                return {f"--data.batch_size {size} --trainer.accumulate_grad_batches {samples // size}": total}
        return {}
