"""Reads Okta: who is assigned to an application, and through which of its groups."""
