"""The engine's side of a recording: runs in any Python >= 3.7 that has numpy, imports nothing else of this project.

An engine such as Minecraft wants an interpreter and packages of its own, so a recorder talks to it through pipes.
This package is what runs over there; `data_tools.engine_process` starts it. Its imports are relative, since it is
found there under another name.
"""
