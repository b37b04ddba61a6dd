"""The video features of the Frechet video distance: a TorchScript file that the user gives."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mstv.metrics.features import Features
from mstv.metrics.unavailable import MetricUnavailable
from mstv.metrics.weights import PublicWeights, WeightFile

SIDE = 224
FILE = PublicWeights(
    "FVD (I3D)",
    "i3d_torchscript.pt",
    "StyleGAN-V's evaluation (universome/stylegan-v on GitHub, https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1)",
)


class I3DFeatures(Features):
    """Clips to the 400 logits of the I3D that was trained on Kinetics-400 (Unterthiner et al. 2018).

    Args:
        network: called as network(clips, rescale=False, resize=False, return_features=True) on clips
            (N, 3, T, 224, 224) in [-1, 1]; answers (N, 400).
        file: where it came from.
    """

    num_features = 400
    name = "i3d_kinetics400_torchscript"
    resize = "224x224, bilinear, align_corners=False, no antialias"

    def __init__(self, network: nn.Module, file: WeightFile | None = None) -> None:
        super().__init__()
        self.network = network
        self.file = file

    @classmethod
    def from_file(cls, path: Path | None) -> "I3DFeatures":
        """The network of a TorchScript file. Such a file is a program: load none that you do not trust.

        Raises:
            MetricUnavailable: the file is absent or not a TorchScript file.
        """
        found = FILE.find(path)
        try:
            network = torch.jit.load(path, map_location="cpu").eval()
        except RuntimeError as error:
            raise MetricUnavailable(
                f"{path}: is no TorchScript file ({str(error).splitlines()[0]}): FVD reads {FILE.name} of {FILE.source}"
            ) from None
        return cls(network, found)

    def forward(self, clips: Float[Tensor, "N T 3 H W"]) -> Float[Tensor, "N 400"]:
        """Features of clips in [0, 1]; T at least 9."""
        time = clips.shape[1]
        frames = F.interpolate(clips.flatten(0, 1), (SIDE, SIDE), mode="bilinear", align_corners=False)
        volume = (2 * frames - 1).unflatten(0, (-1, time)).transpose(1, 2)
        return self.network(volume, rescale=False, resize=False, return_features=True)
