"""Noise schedule, denoiser, samplers and the module that trains them."""
