"""The base of what a user can put right: its text is one sentence that says what to change."""


class Mistake(Exception):
    """Shown by the CLI as one sentence, without a traceback."""
