"""FLOPs of training the transformer, by which utilisation and hours are reckoned.

Counted are the matrix products of a forward and a backward pass, a product and a sum being two FLOPs; the backward pass
costs twice the forward one. Of one sample, in a layer or block of width d:

    linear layer            6 x weights x vectors that it takes
    attention               12 x d x queries x keys (queries x keys and weights x values, 2 d each, three times)
    block                   linear layers of 4 d^2 (attention) + 2 r d^2 (MLP of ratio r) weights per token, attention,
                            and with adaLN-Zero 6 d^2 weights per distinct condition

Norms, activations, embeddings and the optimiser are left out. So is what is computed twice: forward passes repeated by
activation checkpointing, and the scores that a fused attention computes again in its backward pass, which then executes
10 where 8 are counted.
"""

from mstv.transformer.size import TransformerSize

MODULATION = 6
"""Vectors of adaLN-Zero in a block: shift, scale and gate of both branches."""


def linear_flops(weights: int, vectors: int) -> int:
    """A matrix of that many weights, applied to that many vectors."""
    return 6 * weights * vectors


def attention_flops(dim: int, queries: int, keys: int) -> int:
    """Attention of all heads of one block, without its linear layers."""
    return 12 * dim * queries * keys


def stack_flops(size: TransformerSize, tokens: int, conditions: int = 0) -> int:
    """Tokens that all see each other, through every block: `Transformer.forward`.

    Args:
        size: of the transformer.
        tokens: of one sample.
        conditions: distinct conditions of the tokens; 0 for blocks that take none.
    """
    return size.depth * _block_flops(size, tokens, tokens, conditions)


def remember_flops(size: TransformerSize, tokens: int, conditions: int) -> int:
    """Context tokens through every block but the last, of which only keys and values: `Transformer.remember`."""
    blocks = (size.depth - 1) * _block_flops(size, tokens, tokens, conditions)
    return blocks + _key_value_flops(size, tokens, conditions)


def recall_flops(size: TransformerSize, tokens: int, past: int, conditions: int) -> int:
    """Target tokens that also see `past` remembered ones: `Transformer.recall`."""
    return size.depth * _block_flops(size, tokens, past + tokens, conditions)


def joint_flops(
    size: TransformerSize, context_tokens: int, context_conditions: int, tokens: int, conditions: int
) -> int:
    """Context and targets that all see each other, of the last block only the targets: `Transformer.joint`."""
    total = context_tokens + tokens
    blocks = (size.depth - 1) * _block_flops(size, total, total, context_conditions + conditions)
    last = _key_value_flops(size, context_tokens, context_conditions) + _block_flops(size, tokens, total, conditions)
    return blocks + last


def _block_flops(size: TransformerSize, queries: int, keys: int, conditions: int) -> int:
    weights = 4 * size.dim**2 + 2 * size.dim * int(size.dim * size.mlp_ratio)
    return (
        linear_flops(weights, queries)
        + attention_flops(size.dim, queries, keys)
        + linear_flops(MODULATION * size.dim**2, conditions)
    )


def _key_value_flops(size: TransformerSize, tokens: int, conditions: int) -> int:
    return linear_flops(2 * size.dim**2, tokens) + linear_flops(MODULATION * size.dim**2, conditions)
