"""Speaks SCIM 2.0 to a Pigment workspace: lists its members, finds one, and writes to them with proof."""
