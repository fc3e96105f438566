"""The configuration: one YAML file and the environment, checked before anything runs. The one place for pydantic."""
