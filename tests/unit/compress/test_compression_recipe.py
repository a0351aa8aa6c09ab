"""Recipes of a compression: read, checked in one line, written back."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.compress.pipeline import Compression, InvalidCompression
from nas.compress.pipeline.recipe import DEFAULT

ROOT = Path(__file__).parents[3]


def test_the_example_is_a_recipe() -> None:
    recipe = Compression.from_file(ROOT / "examples" / "compress.yaml")
    assert recipe.channels is not None
    assert recipe.channels.macs == 0.5
    assert recipe.prune is None
    assert Compression.from_dict(recipe.to_dict()) == recipe
    assert Compression.from_dict(DEFAULT).quantise is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"chanels": {}}, "recipe.chanels: unknown setting, expected one of seed, train, distil, channels"),
        ({"channels": {"macs": 2}}, r"recipe.channels.macs: input should be less than 1 \(got 2\)"),
        ({"channels": {"method": "magic"}}, "recipe.channels.method: input should be 'chex' or 'uniform'"),
        ({"channels": {"settings": {"explor": 1}}}, "channels.settings.explor: unknown setting, expected one of macs"),
        ({"channels": {"settings": {"explore": 7}}}, "explore=7.*expected 0 to 1"),
        ({"channels": {"method": "uniform", "settings": {"x": 1}}}, "uniform takes none, got x"),
        ({"fine_tune": {"epochs": 0}}, "recipe.fine_tune: recipe.epochs=0, expected at least 1"),
        ({"fine_tune": 3}, "recipe.fine_tune: .*dict"),
        ({"quantise": {"weight_bits": 9}}, "weight_bits is 9, expected 2..8"),
        ({"quantise": {"images": "many"}}, "recipe.quantise.images: input should be a valid integer"),
        ({"prune": {"method": "gap", "settings": {"partitions": 0}}}, "partitions=0, expected at least 1"),
        ({"channels": {"mcas": 0.5}}, "recipe.channels.mcas: unknown setting, expected one of method, macs, settings"),
        ({"channels": {"settings": {"macs": 0.5}}}, "settings.macs: write it as channels.macs"),
        ({"quantise": {"settings": {"weight_bits": 4}}}, "write it as quantise.weight_bits"),
        ({"seed": -1}, "recipe.seed: input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(data: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidCompression, match=message) as error:
        Compression.from_dict(data)
    assert "\n" not in str(error.value)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(InvalidCompression, match=r"cannot be read .No such file"):
        Compression.from_file(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("channels: [")
    with pytest.raises(InvalidCompression, match="not YAML"):
        Compression.from_file(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InvalidCompression, match="expected sections such as channels"):
        Compression.from_file(tmp_path / "list.yaml")
