"""The one transformer that tokenizer and denoiser share, and its embeddings."""
