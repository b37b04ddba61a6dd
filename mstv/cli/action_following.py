"""How well the rollouts of a job follow their actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mstv.cli.checkpoints import resolve_checkpoint
from mstv.cli.rollout_job import RolloutJob
from mstv.cli.scoring import episode_of
from mstv.data.results import CARD, SUMMARY, Card, Summary
from mstv.data.results.actions import write_actions
from mstv.errors import UserError
from mstv.evaluation.action_following import Sums, action_summary, episode_rows, score_actions
from mstv.inverse_dynamics.inverse_dynamics import InverseDynamics
from mstv.inverse_dynamics.module import load_inverse_dynamics
from mstv.progress import progress


@dataclass(frozen=True)
class ActionFollowing:
    """A model that tells actions from frames, and the rollouts whose frames it is given.

    Attributes:
        sha256: of the model's weights.
    """

    job: RolloutJob
    model: InverseDynamics
    sha256: str

    @staticmethod
    def begin(job: RolloutJob, run: Path) -> ActionFollowing:
        """Load the model, before anything is generated.

        Args:
            job: the rollout.
            run: of an inverse-dynamics training, or its checkpoint.

        Raises:
            UserError: no such model, or one for other frames or actions.
        """
        path = resolve_checkpoint(run)
        model, image_size, sha256 = load_inverse_dynamics(path)
        spec, known = job.store.actions_spec, model.actions
        if image_size != job.store.levels.image_size:
            raise UserError(
                f"--inverse-dynamics {run}: was trained on frames of {image_size}, these are "
                f"{job.store.levels.image_size}: train one on the frames that the latents were made from"
            )
        if (known.kind, known.names) != (spec.kind, spec.names):
            ours = f"{known.kind} actions {', '.join(known.names)}"
            raise UserError(
                f"--inverse-dynamics {run}: tells {ours}, the episodes have {spec.kind} {', '.join(spec.names)}: "
                "train one on the frames that the latents were made from"
            )
        return ActionFollowing(job, model.to(job.runtime.device), sha256)

    def measure(self) -> None:
        """Write `actions.parquet`, and the summary's and the card's part, unless this model's are there."""
        folder = self.job.folder
        card, summary = Card.read(folder / CARD), Summary.read(folder / SUMMARY)
        if summary.actions is not None and summary.actions.inverse_dynamics_sha256 == self.sha256:
            return
        episodes: dict[str, Sums] = {}
        with progress("episodes") as bar:
            task = bar.add_task("telling actions", total=card.num_episodes)
            for key in card.episodes:
                actions = self.job.store.actions(key)
                assert actions is not None, "the kind of actions was compared"
                episodes[key] = score_actions(self.model, episode_of(self.job, key), actions, card.seed)
                bar.advance(task)
        write_actions(folder, episode_rows(self.model, episodes))
        card.model_copy(update={"inverse_dynamics_sha256": self.sha256}).write(folder / CARD)
        # Last: with it, the actions are known to be there.
        found = action_summary(self.model, self.sha256, list(episodes.values()))
        summary.model_copy(update={"actions": found}).write(folder / SUMMARY)
