"""Importers: one small file for each foreign format, named in `data_tools.cli.IMPORTERS`."""
