"""What can go wrong with the embedded stack."""

from operations.mistakes import Mistake


class StackError(Mistake):
    """The stack can't start or go on; the message is what a person should read, complete."""
