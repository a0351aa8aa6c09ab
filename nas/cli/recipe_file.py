"""Recipes and bounds as YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_recipe_file(path: Path) -> dict[str, Any]:
    """Settings of a recipe: those under ``recipe:``, as `tune` and configurations of searches have it, or all.

    Raises: InvalidConfig, InvalidRecipe.
    """
    from nas.train.recipe import Recipe

    data = read_settings(path, "learning_rate: 0.1")
    found = data.get("recipe", data)
    if not isinstance(found, Mapping):
        from nas.config import InvalidConfig

        raise InvalidConfig(
            f"{path}: recipe: holds {type(found).__name__}, expected settings such as learning_rate: 0.1"
        )
    Recipe.from_dict(found)
    return dict(found)


def read_settings(path: Path, example: str) -> dict[str, Any]:
    """A mapping from a YAML file; raises InvalidConfig."""
    import yaml

    from nas.config import InvalidConfig, read_yaml

    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidConfig(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(data, dict):
        raise InvalidConfig(f"{path}: holds {type(data).__name__}, expected settings such as `{example}`")
    return data
