"""How much memory a training step takes, reckoned without a GPU."""
