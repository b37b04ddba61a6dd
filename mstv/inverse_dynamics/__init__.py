"""Which action produced a frame: a small model that tells it from the frames around."""
