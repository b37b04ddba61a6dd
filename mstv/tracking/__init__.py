"""Dashboards, W&B or trackio: what of a training and of its evaluations is logged there, and a report."""
