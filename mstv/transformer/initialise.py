"""Initial weights."""

from torch import nn


def initialise(module: nn.Module) -> None:
    """Xavier-uniform matrices, zero biases and embeddings of deviation 0.02; layers that are zero stay zero.

    adaLN-Zero modulations and a denoiser's output layer are zeroed by their owners and must stay so.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            # A matrix of the meta device has a size and no values.
            if not part.weight.is_meta and part.weight.any():
                nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
