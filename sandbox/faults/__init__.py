"""Faults of outside systems, to be switched on in the sandbox."""
