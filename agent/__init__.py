"""pigment-sync: the agent that keeps Pigment workspaces in step with an identity provider."""
