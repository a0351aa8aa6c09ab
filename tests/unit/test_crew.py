"""Nodes and what workers need; settings that cannot be; models that travel; the simulated cluster."""

import numpy as np
import pytest

from hardware.measure import LayerModel, OnnxFile
from hardware.models import model_to_dict
from nas.algorithms.evolution import Evolution
from nas.config import Config, InvalidConfig
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.objective import Objective
from nas.records import Budget, Candidate, Constraint, Failure
from nas.runners.batching import batch_size
from nas.runners.cluster import Node, NodeUnknown, WorkerNeeds, find_node
from nas.runners.evaluate import evaluate
from nas.runners.measuring_worker import pack, unpack
from nas.runners.scoring_worker import ScoringWorker, packed_batch, result_of, unpacked_outcomes
from nas.runners.serial import SerialRunner
from nas.runners.simulated import Overheads, SimulatedRunner
from nas.store import FILE_NAME, RunStore
from search_spaces import SPACES

SHAPE = (1, 8, 8)
GATES = Gates(SHAPE, 10, (Constraint("params", 60_000.0),))
OBJECTIVE = Objective("zen", SHAPE, seed=4)
HEAD = Node("aa11bb22", "north", "10.0.0.1", 1, {"CPU": 4.0})
PI = Node("aa11cc33", "pi", "10.0.0.2", 1, {"CPU": 8.0, "GPU": 1.0, "device:pi": 1.0, "fpga": 3.0})
TWIN = Node("dd44ee55", "north", "10.0.0.3", 1, {"CPU": 0.0})
NODES = (HEAD, PI, TWIN)


@pytest.mark.parametrize(
    ("text", "node"),
    [("aa11cc", PI), ("10.0.0.1", HEAD), ("device:pi", PI), ("pi", PI), ("fpga", PI), ("DD44EE55", TWIN)],
)
def test_a_node_is_found_by_id_host_address_or_resource(text, node):
    assert find_node(NODES, text) is node


@pytest.mark.parametrize(("text", "said"), [("north", "2 nodes have that name"), ("aa11", "not in the cluster")])
def test_an_unknown_or_ambiguous_node_is_refused_in_one_line(text, said):
    with pytest.raises(NodeUnknown, match=said) as error:
        find_node(NODES, text)
    assert "aa11bb22" in str(error.value)
    assert "\n" not in str(error.value)


def test_places_are_what_the_scarcest_resource_allows():
    assert [WorkerNeeds().places(node) for node in NODES] == [4, 8, 0]
    assert WorkerNeeds(gpus=0.25).places(PI) == 4
    assert WorkerNeeds(gpus=0.1).places(PI) == 8
    assert WorkerNeeds(resources={"fpga": 1.5}).places(PI) == 2
    assert WorkerNeeds(gpus=0.25).places(HEAD) == 0


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"worker_gpus": 1.5}, "a fraction of one or a whole number"),
        ({"worker_gpus": 1, "kind": "serial"}, "kind is serial"),
        ({"worker_resources": {"GPU": 1}}, "give worker_gpus"),
        ({"worker_resources": {"fpga": 0}}, "greater than 0"),
        ({"device_node": "pi"}, "give its address as well"),
    ],
)
def test_impossible_engines_are_refused(engine, said):
    with pytest.raises(InvalidConfig, match=said):
        Config.from_dict({"engine": engine})


def test_models_travel_with_their_files(tmp_path):
    file, weights = tmp_path / "model.onnx", tmp_path / "w.safetensors"
    file.write_bytes(b"12")
    weights.write_bytes(b"34")
    arch = SPACES["zen-tiny"].seed
    plain = LayerModel.of(arch, SHAPE, 10, "plain")
    given = LayerModel("given", plain.layers, SHAPE, 0, weights)
    models = (OnnxFile(file), plain, given)
    there = [unpack(pack(model), tmp_path / str(i)) for i, model in enumerate(models)]
    assert there[0].name == "model.onnx"
    assert (there[0].path.read_bytes(), there[2].weights.read_bytes()) == (b"12", b"34")
    assert there[0].path.parent == tmp_path / "0"
    assert [model.name for model in there] == ["model.onnx", "plain", "given"]
    assert model_to_dict(there[1]) == model_to_dict(plain)


def test_workers_that_gate_give_what_the_driver_would():
    space, gates = SPACES["zen-tiny"], Gates(SHAPE, 10, (Constraint("params", 1e6),))
    candidates = [Candidate(i, space.sample(np.random.default_rng(i)), 3) for i in range(40)]
    worker = ScoringWorker(OBJECTIVE.to_dict(), gates=gates.to_dict())
    outcomes, _ = unpacked_outcomes(worker.score(packed_batch(candidates)))
    got = [result_of(candidate, outcome) for candidate, outcome in zip(candidates, outcomes, strict=True)]
    expected = []
    for candidate in candidates:
        checked = gates.check(candidate)
        expected += [checked] if isinstance(checked, Failure) else evaluate(OBJECTIVE.scorer(), [checked], 4)
    assert got == expected
    assert {type(result).__name__ for result in got} == {"Success", "Failure"}


def test_batches_grow_with_the_workers():
    assert batch_size(0.05, 2) == 6  # not 5, by rounding
    assert batch_size(0.05, 1000) == 40
    assert batch_size(1e-6, 2) == 256
    assert batch_size(3.0, 2) == 1


def run(folder, runner, n, lookahead=4096):
    search = Evolution(SPACES["zen-tiny"], seed=4, population=32, niches="depth", lookahead=lookahead)
    with RunStore.create(folder / FILE_NAME, {}) as store:
        SearchLoop(search, runner, store, None if getattr(runner, "gating", False) else GATES, Budget(n)).run()
        return list(store.results())


def simulated(workers, work_seconds=0.05, overheads=None):
    scorer = OBJECTIVE.scorer()

    def work(candidate):
        checked = GATES.check(candidate)
        return checked if isinstance(checked, Failure) else evaluate(scorer, [checked], OBJECTIVE.seed)[0]

    return SimulatedRunner(work, workers=workers, work_seconds=work_seconds, overheads=overheads or Overheads())


def test_a_thousand_simulated_workers_give_the_serial_run_file(tmp_path):
    one = run(tmp_path / "serial", SerialRunner(OBJECTIVE), 300, lookahead=64)
    many = run(tmp_path / "many", simulated(1000, lambda candidate: 0.01 + candidate.id % 7), 300, lookahead=64)
    assert many == one


def test_few_simulated_workers_are_the_limit_and_many_wait_for_the_driver(tmp_path):
    few, many = simulated(2), simulated(3000, overheads=Overheads(submit=0.05))
    run(tmp_path / "few", few, 200)
    run(tmp_path / "many", many, 200)
    assert few.timeline.worked == pytest.approx(200 * 0.05)
    assert few.timeline.now >= 200 * 0.05 / 2
    assert few.timeline.driver < few.timeline.idle
    assert many.timeline.driver > many.timeline.idle
    assert many.timeline.answers[-1][1] == 200


def candidates(*ids):
    return [Candidate(i, SPACES["zen-tiny"].sample(np.random.default_rng(i))) for i in ids]


def test_while_more_are_on_their_way_idle_workers_share_a_few_candidates():
    runner = simulated(2)
    runner.submit(candidates(*range(4)))
    assert runner.wait_any(1e-4) == []
    assert [len(batch) for _, _, _, batch in runner._running] == [2, 2]


def test_in_a_large_cluster_a_few_candidates_go_together_as_each_batch_costs_the_driver():
    runner = simulated(1000)
    runner.submit(candidates(*range(25)))
    assert runner.wait_any(1e-4) == []
    assert runner._sent == 2  # ten each, the rest with the next


def test_while_more_are_on_their_way_a_busy_worker_gets_full_batches_only():
    runner = simulated(1)
    runner.submit(candidates(0))
    assert runner.wait_any(1e-4) == []
    runner.submit(candidates(1))
    assert runner.wait_any(1e-4) == []
    assert runner._sent == 1
    assert [result.candidate.id for result in runner.wait_any()] == [0]
    assert runner._sent == 2
