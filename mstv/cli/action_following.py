"""How well the rollouts of a job follow their actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mstv.cli.checkpoints import resolve_checkpoint
from mstv.cli.rollout_job import RolloutJob
from mstv.data.results import CARD, SUMMARY, Card, Summary, note_action_following
from mstv.data.results.actions import (
    ACTION_FOLLOWING,
    read_action_sums,
    remove_action_sums,
    write_action_sums,
    write_actions,
)
from mstv.errors import UserError
from mstv.evaluation.action_following import VERSION, action_note, action_summary, episode_rows, score_actions
from mstv.evaluation.episode import Episode
from mstv.inverse_dynamics.inverse_dynamics import InverseDynamics
from mstv.inverse_dynamics.module import load_inverse_dynamics
from mstv.metrics.action_agreement import ActionAgreement


@dataclass(frozen=True)
class ActionFollowing:
    """A model that tells actions from frames, and the rollouts whose frames it is given.

    Attributes:
        sha256: of the model's weights.
        there: whether the evaluation had the scores by this model when the command began.
    """

    job: RolloutJob
    model: InverseDynamics
    sha256: str
    there: bool

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
        return ActionFollowing(job, model.to(job.runtime.device), sha256, _told(job, model, sha256))

    def lacks(self, key: str) -> bool:
        """Whether an episode's actions are not told yet."""
        return not self.there and not read_action_sums(self.job.folder, key, self._instrument)

    def score(self, episode: Episode) -> None:
        """Tell the actions of an episode, and keep what it adds to the scores."""
        actions = self.job.store.actions(episode.key)
        assert actions is not None, "the kind of actions was compared"
        sums = score_actions(self.model, episode, actions, self.job.card.seed)
        write_action_sums(self.job.folder, episode.key, self._instrument, sums)

    def finish(self) -> None:
        """Write `actions.parquet`, and the card's and the summary's part, from what all episodes add."""
        folder, note = self.job.folder, action_note(self.model, self.sha256)
        if self.there:  # a card of an earlier version has no note
            note_action_following(folder, note, self.sha256)
            return
        episodes = {key: read_action_sums(folder, key, self._instrument) for key in self.job.card.episodes}
        write_actions(folder, episode_rows(self.model, episodes))
        note_action_following(folder, note, self.sha256)
        # After these: with it, the actions are known to be there.
        found = action_summary(self.model, self.sha256, list(episodes.values()))
        Summary.read(folder / SUMMARY).model_copy(update={"actions": found}).write(folder / SUMMARY)
        remove_action_sums(folder)

    @property
    def _instrument(self) -> str:
        """Of what sums are made by: those of another model or version are not these."""
        return f"{VERSION}-{ActionAgreement.version}-{self.sha256}"


def _told(job: RolloutJob, model: InverseDynamics, sha256: str) -> bool:
    """Whether the evaluation has the scores by this model, and by this definition."""
    path = job.folder / SUMMARY
    actions = Summary.read(path).actions if path.is_file() else None
    if actions is None or actions.inverse_dynamics_sha256 != sha256:
        return False
    notes = {note.name: note for note in Card.read(job.folder / CARD).metrics}
    before = notes.get(ACTION_FOLLOWING)
    # Cards of an earlier version have no note of the first definition.
    return VERSION == 1 if before is None else not before.differences(action_note(model, sha256))
