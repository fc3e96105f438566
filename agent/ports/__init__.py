"""Protocols for what the engine needs from outside: workspaces, the state and a clock."""
