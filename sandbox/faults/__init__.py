"""Faults that can be switched on in the sandbox: what outside systems do on their bad days."""
