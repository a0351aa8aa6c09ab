"""Scores and costs of one architecture."""

import json
from pathlib import Path
from unittest.mock import ANY

import pytest
from command_place import STRUCTURE, refused
from tinynas_structures import architecture

from nas.objective import SCORES
from search_spaces.arch import Architecture
from search_spaces.formats import write_published
from search_spaces.plainnet import write_structure

GOLDEN = Path(__file__).parents[1] / "golden"


def test_score_gives_the_documented_keys_for_every_kind_of_spec(server, place, run):
    shape = ("--resolution", "32", "--classes", "10", "--json")
    row = server.run("score", STRUCTURE, *shape, cwd=place).json()
    assert {"params", "macs", "depth", "peak_memory_bytes", "zen"} <= set(row)
    assert row["depth"] == 3
    arch = run["best"]["spec"]
    (place / "arch.json").write_text(json.dumps(arch))
    (place / "arch.txt").write_text(write_structure(Architecture.from_dict(arch)))
    rows = [
        server.run("score", spec, *shape, "--in-channels", "1", cwd=place).json()
        for spec in ("arch.json", "arch.txt", f"run:{run['best']['id']}")
    ]
    assert [row["digest"] for row in rows] == [Architecture.from_dict(arch).digest] * 3
    assert rows[0]["params"] == rows[1]["params"] == rows[2]["params"]
    from_run = server.run("score", f"run:{run['best']['id']}", "--json", cwd=place).json()
    assert from_run["input_shape"] == [1, 8, 8]
    one_class = server.run("score", STRUCTURE, "--resolution", "8", "--classes", "1", "--json", cwd=place).json()
    assert one_class["classes"] == 1


def test_every_proxy_is_shown_beside_the_costs(server, place):
    shape = ("--resolution", "16", "--json")
    closed = server.run("score", STRUCTURE, *shape, cwd=place).json()
    assert {"params_compat", "macs_compat", "rho", "zen", "zen_compat", "mad", "deepmad"} <= closed.keys()
    assert closed["zen_compat"] < closed["zen"]  # running variances that have not caught up
    assert closed["mad_multiscale"] is None  # the network has two stages
    assert "has 2 stages" in closed["not_applicable"]["mad_multiscale"]
    every = server.run("score", STRUCTURE, *shape, "--proxies", "all", cwd=place).json()
    assert every["mad"] == closed["mad"]
    assert all(isinstance(every[name], float) for name in SCORES.keys() - every["not_applicable"].keys())
    assert set(every["not_applicable"]) == {"mad_multiscale", "qe"}
    assert server.run("score", STRUCTURE, *shape, "--proxies", "all", cwd=place).json() == every | {"seconds": ANY}
    refusal = server.run("score", STRUCTURE, *shape, "--score", "mad_multiscale", cwd=place)
    assert refused(refusal, 2, "has 2 stages", "give fewer weights")


def test_a_published_network_with_bits_has_the_authors_numbers(server, place):
    golden = json.loads((GOLDEN / "tinynas_networks.json").read_text())["networks"]
    network = next(network for network in golden if network["name"] == "mixed7d0G")
    arch = architecture(network["structure"], network["bits"])
    (place / "mixed7d0G.txt").write_text(write_published(arch))
    row = server.run("score", "mixed7d0G.txt", "--resolution", "224", "--json", cwd=place).json()
    assert row["params_compat"] == network["model_size"]
    assert row["macs_compat"] == network["flops"]
    assert row["compat_rules"] == "TinyNAS"
    scores = json.loads((GOLDEN / "entropy_scores.json").read_text())["quantised"]
    expected = next(row for row in scores if row["name"] == "mixed7d0G")
    assert row["qe"] == pytest.approx(expected["qe_multi"], rel=1e-9)
    assert row["rho"] == pytest.approx(expected["rho"], rel=1e-9)
