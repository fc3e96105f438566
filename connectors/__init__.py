"""The readers of identity providers. They only read, and know nothing of the agent."""
