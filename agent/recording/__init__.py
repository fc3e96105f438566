"""Recordings of what a plan reads, with every person replaced by a made-up one."""
