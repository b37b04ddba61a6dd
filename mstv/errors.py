"""The one error type that a user's mistake raises."""


class UserError(Exception):
    """Something the user can mend: the message names the file, the field and the fix, in one line.

    The command lines print it without a traceback and exit with code 2; the library simply raises it.
    """
