"""Pretend Okta, Entra, OneLogin and Pigment over real HTTP. It imports neither the agent nor the connectors."""
