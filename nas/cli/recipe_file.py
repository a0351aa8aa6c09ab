"""Recipes and bounds as YAML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.train.recipe import Recipe


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


def recipe_of(epochs: int | None, recipe_file: Path | None, settings: Sequence[str]) -> Recipe:
    """Of --recipe, --epochs and --set; the latter win. Raises InvalidConfig, InvalidRecipe."""
    from nas.config import with_settings
    from nas.train.recipe import Recipe

    given = read_recipe_file(recipe_file) if recipe_file else {}
    given |= {} if epochs is None else {"epochs": epochs}
    return Recipe.from_dict(with_settings(given, settings))


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
