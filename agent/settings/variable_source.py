"""The value of one environment variable as a part of the configuration, read by pydantic-settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource
from pydantic_settings.sources.utils import parse_env_vars

from agent.settings.root import Settings

__all__ = ["SingleVariableSource"]


class SingleVariableSource(EnvSettingsSource):
    """The values of a single variable, passed in rather than looked up, so that errors can name it."""

    def __init__(self, prefix: str, name: str, value: str) -> None:
        self._variables = {name: value}
        super().__init__(
            Settings,  # type: ignore[arg-type]  # it uses the fields only, and `BaseSettings` ignores the case of keys
            env_prefix=prefix,
            env_nested_delimiter="__",
            env_parse_none_str="null",
        )

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return parse_env_vars(self._variables, False, True, self.env_parse_none_str)

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        # A token of digits alone is valid JSON, but not a number.
        if not str(value).lstrip().startswith(("[", "{")):
            raise ValueError("neither a list nor a mapping")
        return super().decode_complex_value(field_name, field, value)
