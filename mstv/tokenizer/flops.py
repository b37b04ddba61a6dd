"""FLOPs of training the tokenizer on one frame."""

from mstv.levels import Levels
from mstv.transformer.flops import linear_flops, stack_flops
from mstv.transformer.size import TransformerSize

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 3x3 convolutions of LPIPS's network; each group sees a quarter of the pixels of the last."""


def frame_flops(
    levels: Levels, latent_channels: int, encoder: TransformerSize, decoder: TransformerSize, lpips: bool = False
) -> int:
    """Matrix-product FLOPs of forward and backward; formula in `mstv.transformer.flops`.

    The encoder adds a layer from P = 3 ph pw pixels and one to the C latent channels per token, the decoder the
    reverse; its only condition is the kept level.

    Args:
        levels: the token pyramid.
        latent_channels: C.
        encoder: size of the encoder.
        decoder: size of the decoder.
        lpips: whether LPIPS is part of the loss.
    """
    tokens = sum(levels.tokens_per_level)
    pixels = 3 * levels.patch_size[0] * levels.patch_size[1]
    total = stack_flops(encoder, tokens) + stack_flops(decoder, tokens, conditions=1)
    total += linear_flops((pixels + latent_channels) * (encoder.dim + decoder.dim), tokens)
    return total + (lpips_flops(*levels.image_size) if lpips else 0)


def lpips_flops(height: int, width: int) -> int:
    """The convolutions of LPIPS: forward for both images, backward to the pixels of one; no weight is trained."""
    weighted, channels = 0, 3
    for group, outputs in enumerate(VGG16):
        for output in outputs:
            weighted += 9 * channels * output * (height >> group) * (width >> group)
            channels = output
    return 3 * 2 * weighted
