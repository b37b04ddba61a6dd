"""Starts `mstv` in forks of a process that has imported everything: an import takes longer than a tiny training.

Reads a line of JSON for each order from stdin and answers with one: {"command", "env", "output"} starts a process, in
a session of its own, and tells its id; {"process"} tells whether it has ended, and how.
"""

import json
import os
import signal
import sys
import traceback

import mstv.cli.fit  # noqa: F401
from mstv.cli.main import main


def start(command: list[str], env: dict[str, str], output: str) -> int:
    """Fork; returns in the parent alone."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(env)
    try:
        code = main(command)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.exit(code)


def ended(process: int) -> int | None:
    """As `Popen.poll`."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    print("ready", flush=True)
    while line := sys.stdin.readline():
        order = json.loads(line)
        answer = ended(order["process"]) if "process" in order else start(**order)
        print(json.dumps(answer), flush=True)
