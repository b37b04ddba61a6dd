"""Engines: sources of interactive video, each a `gymnasium.Env` with named actions and a pose."""
