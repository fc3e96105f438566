"""pigment-sync: the agent that keeps Pigment workspaces in sync with an identity provider."""
