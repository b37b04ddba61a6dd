"""Per-frame multi-level tokenizer."""
