"""Look up the keys that the configuration allows at a path, and their descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent.settings.merge import KeyPath
from agent.settings.root import Settings

__all__ = ["ConfigNode", "discriminator_value", "fields_by_key", "node_at", "union_members"]


@dataclass(frozen=True, slots=True)
class ConfigNode:
    """A place in the configuration. *loc* is pydantic's path to it, *path* that of the file."""

    loc: KeyPath
    path: KeyPath
    types: tuple[Any, ...]

    def keys(self) -> list[str]:
        """Return the keys that are allowed here."""
        return sorted({key for model in self._models() for key in fields_by_key(model)})

    def description(self, key: str) -> str:
        """Return the description of *key*; empty if it has none."""
        found = (fields_by_key(model)[key].description for model in self._models() if key in fields_by_key(model))
        return next((text for text in found if text), "")

    def _models(self) -> list[type[BaseModel]]:
        return [each for each in self.types if _is_model(each)]


def node_at(steps: KeyPath) -> ConfigNode:
    """Return the place that *steps* lead to."""
    place = ConfigNode((), (), (Settings,))
    for step in steps:
        place = _child_node(place, step)
    return place


def _child_node(place: ConfigNode, step: int | str) -> ConfigNode:
    variant = tuple(
        each for each in place.types if len(place.types) > 1 and _is_model(each) and discriminator_value(each) == step
    )
    if variant:
        # Pydantic's path has the tag of a union; the path in the file does not.
        return ConfigNode((*place.loc, step), place.path, variant)
    types = tuple(member for each in place.types for member in _child_types(each, step))
    return ConfigNode((*place.loc, step), (*place.path, step), types)


def _child_types(annotation: Any, step: int | str) -> tuple[Any, ...]:
    if _is_model(annotation):
        field = fields_by_key(annotation).get(str(step))
        return union_members(field.annotation) if field else ()
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return union_members(arguments[1])
    if get_origin(annotation) in {tuple, list, frozenset}:
        return union_members(arguments[0])
    return ()


def fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of *model* by their key in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of the union *annotation*, without their constraints."""
    if get_origin(annotation) is Annotated:
        return union_members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(member for each in get_args(annotation) for member in union_members(each))
    return (annotation,)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def discriminator_value(model: type[BaseModel]) -> str:
    """Return the `type` that distinguishes *model* from the others; empty if it has none."""
    field = model.model_fields.get("type")
    arguments = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(arguments[0]) if arguments else ""
