"""The `mstv` command; combines the parts."""
