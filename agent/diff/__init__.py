"""Decide what must change in a workspace. Decide only: nothing here does I/O, and nothing elsewhere decides."""
