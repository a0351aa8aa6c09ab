"""How to get the same run again, and how to use what it made."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from nas.report.content import Code, Part, Section, Table
from nas.report.facts import Facts
from nas.run import WINNER


def reproduce(facts: Facts) -> Section:
    """Configuration, versions, commands."""
    directory = shlex.quote(facts.directory)
    limit = f" --latency {facts.budget_ms:g}ms" if facts.budget_ms else ""
    commands = f"""\
# go on where it stopped; a finished run repeats its outcome
netwright resume {directory}

# the best network within a limit
netwright best {directory}{limit}

# the configuration below, from the start
netwright search --config run.yaml --out runs/again"""
    parts: list[Part] = [Code("Commands", commands)]
    if facts.verified:
        parts.append(Code("The network in Python", _python(facts)))
    config = yaml.safe_dump(facts.config.to_dict(), sort_keys=False, allow_unicode=True)
    parts += [Code("run.yaml, the resolved configuration", config), *_versions(facts)]
    seed = facts.config.seed
    lead = f"Everything random depends on the seed {seed}; measured latencies depend on the machine."
    return Section("reproduce", "How to reproduce", lead, tuple(parts))


def _python(facts: Facts) -> str:
    folder = Path(facts.directory) / WINNER
    return f"""\
# a torch module in evaluation mode
from nas import from_pretrained
network = from_pretrained({str(folder)!r})

# or the exported file alone, without netwright
import onnxruntime
session = onnxruntime.InferenceSession({str(folder / "model.onnx")!r})
[logits] = session.run(["logits"], {{"images": images}})  # float32, normalised as config.json says
"""


def _versions(facts: Facts) -> list[Part]:
    measurement = facts.exported
    c = measurement.conditions if measurement else facts.table.conditions if facts.table else None
    if c is None:
        return []
    found = (("Python", c.python_version), ("torch", c.torch_version), ("onnxruntime", c.onnxruntime_version))
    rows = tuple((name, version) for name, version in found if version)
    return [Table("Versions of the run", ("software", "version"), rows, words=(0, 1))]
