"""How well predicted actions agree with the true ones: accuracy, F1, absolute error, correlation."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torchmetrics import Metric

Score = tuple[str, str]
"""(metric, name of the action or column; "" for all together)."""
MOMENTS = 7
"""Sums of a continuous column: 1, predicted p, true t, p^2, t^2, p t, |p - t|."""


class ActionAgreement(Metric):
    """Agreement over all frames of all processes; every score follows from sums over frames.

    Ids: `accuracy`; `f1` of each action, 2 TP / (2 TP + FP + FN); `macro_f1`, the mean over the actions that were
    taken or predicted. Columns: `f1` of each binary one, `macro_f1` over those that were 1 or predicted to be; `mae`,
    the mean absolute error in the column's unit, and Pearson's `correlation` of each of the others. A score without
    anything to go by is NaN.

    Args:
        names: of the ids, or of the columns.
        binary: which columns are binary; None for ids.
    """

    version: ClassVar[int] = 1

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    sums: Tensor

    def __init__(self, names: Sequence[str], binary: Sequence[bool] | None = None) -> None:
        super().__init__()
        if binary is not None and len(binary) != len(names):
            raise ValueError(f"{len(names)} names, but {len(binary)} columns")
        self.names = tuple(names)
        self.binary = None if binary is None else np.array(binary, bool)
        count = len(names)
        size = count**2 if binary is None else 4 * sum(binary) + MOMENTS * (count - sum(binary))
        self.add_state("sums", torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def card(self) -> dict[str, Any]:
        """What defines the scores, as a plain dict that JSON can hold."""
        return {
            "name": "action_agreement",
            "version": self.version,
            "unit": "share, in [0, 1]; correlation in [-1, 1]; mae in the column's unit",
            "better": "higher; mae: lower",
            "aggregation": "of all frames together: sums over frames, from which each score follows",
            "resize": "none",
            "source": "accuracy and F1 of the confusion matrix, mean absolute error, Pearson's correlation",
            "kind": "vector" if self.binary is not None else "discrete",
            "names": list(self.names),
            "binary": None if self.binary is None else self.binary.tolist(),
            "binary_from": 0.5,
        }

    def frame_sums(
        self, predicted: Shaped[np.ndarray, "T *columns"], true: Shaped[np.ndarray, "_ ..."]
    ) -> Float[np.ndarray, "T S"]:
        """What each frame adds to the sums; a frame with the null id -1 adds nothing.

        Args:
            predicted: ids (T,), or columns (T, A); of a binary column, from 0.5 on is 1.
            true: likewise.

        Raises:
            ValueError: shapes that differ or do not fit the names.
        """
        expected = (len(true), *(() if self.binary is None else (len(self.names),)))
        if predicted.shape != true.shape or predicted.shape != expected:
            raise ValueError(f"predicted is {predicted.shape} and true {true.shape}: both must be {expected}")
        if self.binary is None:
            count = len(self.names)
            confusion = np.zeros((len(true), count**2))
            known = np.flatnonzero(true >= 0)
            confusion[known, true[known] * count + predicted[known]] = 1
            return confusion
        told, on = predicted[:, self.binary] >= 0.5, true[:, self.binary] >= 0.5
        counts = np.stack([told & on, told & ~on, ~told & on, ~told & ~on], 2).astype(np.float64)
        p, t = (values[:, ~self.binary].astype(np.float64) for values in (predicted, true))
        moments = np.stack([np.ones_like(p), p, t, p * p, t * t, p * t, np.abs(p - t)], 2)
        return np.concatenate([counts.reshape(len(true), -1), moments.reshape(len(true), -1)], 1)

    def scores(self, sums: Float[np.ndarray, "*more S"]) -> dict[Score, Float[np.ndarray, "*more"]]:
        """The scores that sums over frames give, such as those of many episodes at once."""
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = self._of_ids(sums) if self.binary is None else self._of_columns(sums)
        return {score: np.asarray(value) for score, value in scores.items()}

    def update(self, predicted: Tensor, true: Tensor) -> None:
        """Add frames; arguments and errors as `frame_sums`."""
        added = self.frame_sums(predicted.detach().cpu().numpy(), true.detach().cpu().numpy()).sum(0)
        self.sums += torch.from_numpy(added).to(self.sums)

    def compute(self) -> dict[Score, float]:
        """Scores over all frames so far."""
        return {score: float(value) for score, value in self.scores(self.sums.cpu().numpy()).items()}

    def _of_ids(self, sums: Float[np.ndarray, "*more S"]) -> dict[Score, Any]:
        count = len(self.names)
        confusion = sums.reshape(*sums.shape[:-1], count, count)
        hits = np.diagonal(confusion, axis1=-2, axis2=-1)
        f1 = 2 * hits / (confusion.sum(-1) + confusion.sum(-2))
        scores: dict[Score, Any] = {
            ("accuracy", ""): hits.sum(-1) / sums.sum(-1),
            ("macro_f1", ""): _mean_of_known(f1),
        }
        return scores | {("f1", name): f1[..., index] for index, name in enumerate(self.names)}

    def _of_columns(self, sums: Float[np.ndarray, "*more S"]) -> dict[Score, Any]:
        assert self.binary is not None
        names = np.array(self.names)
        scores: dict[Score, Any] = {}
        num_binary = int(self.binary.sum())
        if num_binary:
            tp, fp, fn, _ = np.moveaxis(sums[..., : 4 * num_binary].reshape(*sums.shape[:-1], num_binary, 4), -1, 0)
            f1 = 2 * tp / (2 * tp + fp + fn)
            scores["macro_f1", ""] = _mean_of_known(f1)
            scores |= {("f1", str(name)): f1[..., i] for i, name in enumerate(names[self.binary])}
        moments = sums[..., 4 * num_binary :].reshape(*sums.shape[:-1], -1, MOMENTS)
        n, p, t, pp, tt, pt, error = np.moveaxis(moments, -1, 0)
        # Rounding may leave a variance a hair below 0.
        spread = np.sqrt(np.maximum(n * pp - p * p, 0) * np.maximum(n * tt - t * t, 0))
        correlation = np.where(spread > 1e-9 * np.maximum(n, 1), (n * pt - p * t) / spread, np.nan)
        for index, name in enumerate(names[~self.binary]):
            scores["mae", str(name)] = (error / n)[..., index]
            scores["correlation", str(name)] = np.clip(correlation[..., index], -1, 1)
        return scores


def _mean_of_known(values: Float[np.ndarray, "*more N"]) -> Float[np.ndarray, "*more"]:
    """Mean over the last axis of what is not NaN; NaN of nothing."""
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0).sum(-1) / known.sum(-1))
