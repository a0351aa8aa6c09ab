"""A trained supernet as a folder: weights as safetensors, everything else as JSON; nothing in it is run on loading."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from nas.train.images import ImageTask
from nas.train.recipe import InvalidRecipe
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.training import SupernetEpoch
from nas.train.weights_file import (
    WeightsDamaged,
    WeightsNotFinite,
    read_weights_file,
    sha256_of,
    shapes_of,
    write_weights_file,
)
from search_spaces import load_space
from search_spaces.sharing import NoSupernet, Sharing
from search_spaces.supernet import Supernet

SCHEMA_VERSION = 1
FORMAT = "netwright supernet"
WEIGHTS, FACTS = "supernet.safetensors", "supernet.json"


class InvalidSupernet(ValueError):
    """The folder holds no supernet, is damaged, or its space is another one than when it was trained."""


@dataclass(frozen=True, slots=True)
class SupernetFacts:
    """What a supernet was trained for and how; with ``data``, all that an evaluation needs.

    Attributes:
        space: as ``search_spaces.load_space`` takes it.
        data: dataset, as ``nas.train.data.load_dataset`` takes it.
        task: classes, input shape and normalisation.
        sharing: what is shared how.
        capacity: widths relative to those of the space.
        recipe: of the training.
        seed: of the first weights and of the training.
        digest: of the supernet's space, sharing and shapes.
        curve: a report for each epoch.
        versions: of the software that wrote it.
    """

    space: str
    data: str
    task: ImageTask
    sharing: Sharing
    capacity: float
    recipe: SupernetRecipe
    seed: int
    digest: str
    curve: tuple[SupernetEpoch, ...]
    versions: dict[str, str]

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier."""
        return len(self.task.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that it was trained on."""
        return self.task.input_shape

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "recipe": self.recipe.to_dict()}


def save_supernet(  # noqa: PLR0913 - the facts of a training, all named
    folder: Path,
    supernet: Supernet,
    recipe: SupernetRecipe,
    task: ImageTask,
    *,
    space: str,
    data: str,
    seed: int,
    curve: Sequence[SupernetEpoch],
) -> SupernetFacts:
    """Write the two files; other files in the folder are left alone.

    Args:
        folder: made if it is not there.
        supernet: trained.
        recipe: of its training.
        task: what ``dataset.task`` says about the images.
        space: as ``load_space`` takes it.
        data: as ``load_dataset`` takes it.
        seed: of the training.
        curve: of the training.
    Raises: InvalidSupernet: the weights hold NaN.
    """
    facts = SupernetFacts(
        space, data, task, supernet.sharing, supernet.capacity, recipe, seed, supernet.digest, tuple(curve), _versions()
    )
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{WEIGHTS}.{os.getpid()}"
    try:
        write_weights_file(temporary, supernet.state_dict())
    except WeightsNotFinite as error:
        raise InvalidSupernet(f"supernet: {error}") from None
    content = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        **facts.to_dict(),
        "weights_sha256": sha256_of(temporary),
    }
    temporary.replace(folder / WEIGHTS)
    text = folder / f".{FACTS}.{os.getpid()}"
    text.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    text.replace(folder / FACTS)
    return facts


def load_supernet(folder: Path, *, device: torch.device | str = "cpu") -> tuple[Supernet, SupernetFacts]:
    """The supernet of a folder, in evaluation mode.

    Raises: InvalidSupernet; UnknownSpace: the user's own space is not found.
    """
    folder = Path(folder)
    content, facts = _read(folder)
    where = folder / FACTS
    try:
        supernet = Supernet(
            load_space(facts.space),
            num_classes=facts.num_classes,
            in_channels=facts.input_shape[0],
            sharing=facts.sharing,
            capacity=facts.capacity,
        )
    except NoSupernet as error:
        raise InvalidSupernet(f"{where}: {error}") from None
    if supernet.digest != facts.digest:
        raise InvalidSupernet(
            f"{where}: was trained for a space {facts.space!r} with digest {facts.digest}, which is {supernet.digest} "
            "here: other knobs, choices or sharing; train one for this space"
        )
    supernet.load_state_dict(_weights(folder / WEIGHTS, str(content.get("weights_sha256")), supernet))
    return supernet.to(device).eval(), facts


def load_facts(folder: Path) -> SupernetFacts:
    """What the folder says of its supernet, without loading it; raises InvalidSupernet."""
    return _read(Path(folder))[1]


def weights_digest(folder: Path) -> str:
    """20 hexadecimal digits of the SHA-256 of the weights, as the facts state it; raises InvalidSupernet."""
    return str(_read(Path(folder))[0].get("weights_sha256"))[:20]


def holds_supernet(folder: Path) -> bool:
    """Whether a finished supernet is there."""
    return (folder / FACTS).is_file()


def _read(folder: Path) -> tuple[dict[str, Any], SupernetFacts]:
    path = folder / FACTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSupernet(
            f"{path}: cannot be read ({error.strerror}); expected a folder of `netwright supernet train`"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidSupernet(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InvalidSupernet(f"{path}: not the facts of a supernet; expected a folder of `netwright supernet train`")
    if content.get("schema_version") != SCHEMA_VERSION:
        found = content.get("schema_version")
        raise InvalidSupernet(f"{path}: schema version {found!r}, this release reads {SCHEMA_VERSION}")
    try:
        return content, _facts(content)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidRecipe, NoSupernet) as error:
        raise InvalidSupernet(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _facts(content: dict[str, Any]) -> SupernetFacts:
    task = content["task"]
    channels, height, width = map(int, task["input_shape"])
    rows = [{**row, "members_top1": tuple(row["members_top1"])} for row in content["curve"]]
    texts = {name: content[name] for name in ("space", "data", "digest")}
    if any(not isinstance(text, str) for text in texts.values()):
        raise TypeError(f"space, data and digest are {list(texts.values())}, expected texts")
    mean, std = tuple(map(float, task["mean"])), tuple(map(float, task["std"]))
    if not task["classes"] or len(mean) != channels or len(std) != channels:
        raise ValueError("task: classes, mean and std do not fit the input shape")
    return SupernetFacts(
        **texts,
        task=ImageTask(
            str(task["name"]),
            tuple(map(str, task["classes"])),
            (channels, height, width),
            float(task["pixel_scale"]),
            mean,
            std,
        ),
        sharing=Sharing(**content["sharing"]),
        capacity=float(content["capacity"]),
        recipe=SupernetRecipe.from_dict(content["recipe"]),
        seed=int(content["seed"]),
        curve=tuple(SupernetEpoch(**row) for row in rows),
        versions=dict(content["versions"]),
    )


def _weights(path: Path, sha256: str, supernet: Supernet) -> dict[str, torch.Tensor]:
    expected = shapes_of(supernet.state_dict())
    try:
        return read_weights_file(path, sha256, expected, stated=FACTS, asked="the space")
    except WeightsDamaged as error:
        raise InvalidSupernet(str(error)) from None


def _versions() -> dict[str, str]:
    try:
        own = version("netwright")
    except PackageNotFoundError:
        own = "unknown"
    return {"netwright": own, "torch": torch.__version__}
