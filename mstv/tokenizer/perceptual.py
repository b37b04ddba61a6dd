"""The perceptual term of the tokenizer's loss: LPIPS on VGG features."""

from jaxtyping import Float
from torch import Tensor, nn

from mstv.errors import UserError


class PerceptualLoss(nn.Module):
    """Mean LPIPS (VGG) between images in [0, 1], not clamped, so that the gradient reaches values outside.

    Args:
        lpips: the network, called with (a, b, normalize=True) and answering (B, 1, 1, 1); None loads the public one.

    Raises:
        UserError: the extra or the public weights are absent.
    """

    def __init__(self, lpips: nn.Module | None = None) -> None:
        super().__init__()
        self.lpips = (_public_lpips() if lpips is None else lpips).eval().requires_grad_(False)

    def forward(self, a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
        """Mean distance over the batch."""
        return self.lpips(a, b, normalize=True).mean()


def _public_lpips() -> nn.Module:
    try:
        from lpips import LPIPS

        return LPIPS(net="vgg", verbose=False)
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"model.lpips_weight: LPIPS needs the package lpips, torchvision and public VGG weights ({error}): "
            "pip install 'mstv[lpips]' where there is a network, or set lpips_weight to 0"
        ) from None
