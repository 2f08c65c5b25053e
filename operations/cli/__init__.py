"""The commands of `starter.py`: parse, call `operations`, print. No decision is made here."""
