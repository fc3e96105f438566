"""The pretend Pigment: workspaces, each with a SCIM 2.0 endpoint of its own."""
