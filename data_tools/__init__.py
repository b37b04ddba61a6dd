"""Making data sets: the `mstv-data` command, its engines and its importers."""
