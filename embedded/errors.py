"""What can go wrong with the embedded stack."""


class StackError(Exception):
    """The stack can't start or go on; the message is what a person should read, complete."""
