"""Public weight files: who offers them, how they are checked and what a metric card says of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mstv.metrics.unavailable import MetricUnavailable


@dataclass(frozen=True)
class WeightFile:
    """A file that was loaded: what a metric card says of a backbone."""

    name: str
    sha256: str
    published: bool | None
    """Whether it is the published file; None where no published hash is known."""

    def card(self) -> dict[str, str | bool | None]:
        """The fields as a plain dict."""
        return {"file": self.name, "sha256": self.sha256, "published": self.published}


@dataclass(frozen=True)
class PublicWeights:
    """A public file of weights, which the user fetches.

    Args:
        used_by: the metric that needs it, for messages.
        name: the file's public name.
        source: where it is offered.
        sha256: the published hash of the file, or its beginning; None if none is published.
        ignored: beginnings of the names of tensors that the file holds and the metric does not need.
    """

    used_by: str
    name: str
    source: str
    sha256: str | None = None
    ignored: tuple[str, ...] = ()

    def find(self, path: Path | None) -> WeightFile:
        """Hash the file at `path`.

        Raises:
            MetricUnavailable: no path is given, or there is no such file.
        """
        if path is None or not path.is_file():
            where = "no file is given" if path is None else f"{path}: no such file"
            raise MetricUnavailable(f"{self.used_by}: {where}: fetch {self.name} from {self.source}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return WeightFile(path.name, digest, None if self.sha256 is None else digest.startswith(self.sha256))

    def load_into(self, module: nn.Module, path: Path | None) -> WeightFile:
        """Load the file's tensors into `module`, every one of its own; freezes it in evaluation mode.

        Raises:
            MetricUnavailable: as `find`; or the file is not readable, or its tensors have other names or shapes.
        """
        found = self.find(path)
        assert path is not None  # find refuses it
        tensors = self._read(path)
        own = module.state_dict()
        kept = {name: value for name, value in tensors.items() if not name.startswith(self.ignored)}
        if missing := [name for name in own if name not in kept]:
            self._refuse(path, f"lacks {missing[0]} ({len(missing)} of {len(own)} tensors)")
        if unknown := [name for name in kept if name not in own]:
            self._refuse(path, f"holds {unknown[0]}, which the network lacks")
        for name, value in kept.items():
            if value.shape != own[name].shape:
                self._refuse(path, f"has {name} of shape {tuple(value.shape)}, expected {tuple(own[name].shape)}")
        module.load_state_dict(kept)
        module.eval().requires_grad_(False)
        return found

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what torch raises for a foreign file is not documented
            return self._refuse(path, f"is not readable ({type(error).__name__})")
        if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
            return self._refuse(path, "holds no dict of tensors")
        return content

    def _refuse(self, path: Path, what: str) -> dict[str, Tensor]:
        raise MetricUnavailable(f"{path}: {what}: {self.used_by} reads {self.name} of {self.source}")
