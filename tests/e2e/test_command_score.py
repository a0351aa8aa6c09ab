"""Scores and costs of one architecture."""

import json
from unittest.mock import ANY

from command_place import STRUCTURE, refused

from nas.objective import SCORES
from search_spaces.arch import Architecture
from search_spaces.plainnet import write_structure


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
    assert {"params_compat", "macs_compat", "rho", "zen", "mad", "deepmad"} <= closed.keys()
    assert closed["mad_multiscale"] is None  # the network has two stages
    assert "has 2 stages" in closed["not_applicable"]["mad_multiscale"]
    every = server.run("score", STRUCTURE, *shape, "--proxies", "all", cwd=place).json()
    assert every["mad"] == closed["mad"]
    assert all(isinstance(every[name], float) for name in SCORES.keys() - every["not_applicable"].keys())
    assert set(every["not_applicable"]) == {"mad_multiscale"}
    assert server.run("score", STRUCTURE, *shape, "--proxies", "all", cwd=place).json() == every | {"seconds": ANY}
    refusal = server.run("score", STRUCTURE, *shape, "--score", "mad_multiscale", cwd=place)
    assert refused(refusal, 2, "has 2 stages", "give fewer weights")
