"""Scoring of rollouts, without a command line: `mstv evaluate` and callbacks use it."""
