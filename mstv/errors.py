"""How a user's mistake is told: one error type, and a parser that says one line."""

import argparse
from typing import NoReturn


class UserError(Exception):
    """Something the user can mend: the message names the file, the field and the fix, in one line.

    The command lines print it without a traceback and exit with code 2; the library simply raises it.
    """


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line with exit code 2, and that takes no abbreviated flags for the whole ones."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """End with the message and where help stands."""
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")
