"""The operator's Ray cluster: what options name one, where searches and resumed runs go, what clients are told."""

import socket
import sys

import pytest
from fastapi.testclient import TestClient
from report_runs import finished_run

from nas import views
from nas.cli.main import main
from nas.config import Config
from nas.job.search_stage import _Noting
from nas.narrator import Silent
from nas.run import Run
from nas.service.app import create_app
from nas.service.cluster import Cluster, chosen_cluster, where_it_goes_on
from nas.service.job_table import Job, now
from nas.service.processes import Started
from nas.service.settings import ServiceSettings
from nas.service.supervisor import Supervisor
from nas.store import FILE_NAME, RunStore

BIG = Cluster("10.0.0.1:6379", 0.5, {"fpga": 1.0}, "device:pi")


def engine(cluster, **settings):
    """Of a search with these settings, checked as the command checks them."""
    return Config.from_dict(cluster.placed(Config.from_dict(settings).to_dict())).engine


def test_a_search_that_names_no_cluster_goes_to_the_operators():
    placed = engine(BIG)
    assert (placed.kind, placed.address, placed.device_node) == ("ray", "10.0.0.1:6379", "device:pi")
    assert (placed.worker_gpus, placed.worker_resources) == (0.5, {"fpga": 1.0})
    own = engine(BIG, engine={"worker_gpus": 2, "worker_resources": {"tpu": 1}, "workers": 3})
    assert (own.worker_gpus, own.worker_resources, own.workers) == (2, {"tpu": 1}, 3)
    none = engine(BIG, engine={"worker_gpus": 0, "worker_resources": {}})
    assert (none.kind, none.worker_gpus, none.worker_resources) == ("ray", 0, {})


def test_a_head_may_have_an_address_of_ipv6():
    for address in ("[::1]:6379", "ray://[fd00::2]:10001"):
        assert chosen_cluster(address, None, {}, None).address == address
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as head:
        assert Cluster(f"[::1]:{head.getsockname()[1]}").answers()


def test_what_a_search_says_itself_stays():
    elsewhere = engine(BIG, engine={"address": "other:1"})
    assert (elsewhere.kind, elsewhere.address, elsewhere.device_node) == ("auto", "other:1", None)
    serial = engine(BIG, engine={"kind": "serial"})
    assert (serial.kind, serial.address, serial.special) == ("serial", "10.0.0.1:6379", False)


def test_a_device_that_is_known_by_its_table_is_not_measured_on_the_node():
    assert engine(BIG, device="my-phone").device_node is None
    assert engine(BIG, device="openvino:threads=2").device_node == "device:pi"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device-node", "device:pi"], "serve: --device-node: there is no cluster; give its --address as well"),
        (["--worker-gpus", "1"], "serve: --worker-gpus: there is no cluster"),
        (["--worker-resources", "fpga=1"], "serve: --worker-resources: there is no cluster"),
        (["--host", ""], "--host and --public-name need a name"),
        (["--public-name", " "], "--host and --public-name need a name"),
        (["--requests", "nan"], "--requests nan: expected a number"),
        (["--address", "local"], "serve: --address 'local': expected auto, or HOST:PORT"),
        (["--address", "host:99999"], "serve: --address 'host:99999': expected auto"),
        (["--address", "::1:6379"], "serve: --address '::1:6379': expected auto"),
        (["--address", ""], "serve: --address '': expected auto"),
        (["--address", "auto", "--worker-gpus", "1.5"], "worker_gpus=1.5, expected a fraction of one or a whole"),
        (["--address", "auto", "--worker-gpus", "65"], "serve: worker_gpus=65.0: "),
        (["--address", "auto", "--worker-resources", "fpga"], "'fpga': expected NAME=NUMBER"),
        (["--address", "auto", "--worker-resources", "CPU=1"], "'CPU' is Ray's own"),
        (["--address", "auto", "--device-node", " "], "device_node=' ' names a node of a cluster"),
    ],
)
def test_wrong_options_are_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["netwright", "serve", "--root", str(tmp_path / "runs"), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert words in line
    assert not (tmp_path / "runs").exists()


def test_no_options_are_no_cluster():
    assert chosen_cluster(None, None, {}, None) is None


def test_a_head_that_does_not_answer_is_told_of():
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{head.getsockname()[1]}"
        assert "does not answer" in str(Cluster(place))
        head.listen()
        assert str(Cluster(place)) == f"the Ray cluster at {place}"
    assert Cluster("auto").view()["answers"] is None


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A supervisor that only notes down what it would start."""
    made, asked = Supervisor(ServiceSettings(root=tmp_path, jobs=9, cluster=Cluster("auto"))), {}

    def start(name, directory, config):
        asked[name] = config
        return Started(2**22 + len(asked), 1.0)

    monkeypatch.setattr(made._processes, "start", start)
    return made, asked


def test_searches_begin_on_the_cluster_of_the_server_that_starts_them(started, tmp_path):
    first = Supervisor(ServiceSettings(root=tmp_path, cluster=Cluster("old:1")))
    first.launch("new", Config.from_dict({}).to_dict())  # and the server ends before it comes to it
    supervisor, asked = started
    supervisor._start_next()
    assert (asked["new"]["engine"]["address"], asked["new"]["engine"]["kind"]) == ("auto", "ray")
    assert supervisor.table.get("new").message is None
    assert supervisor.table.get("new").config["engine"]["address"] is None  # what was asked for stays as it was


def test_a_run_goes_on_where_it_began_and_says_so(started, tmp_path):
    finished_run(tmp_path / "old")
    supervisor, asked = started
    supervisor.table.put(Job("old", "queued", 1, None, now(), message="its process was killed"))
    supervisor._start_next()
    assert asked["old"] is None  # resumed, with the settings of its run file
    told = "it goes on without a cluster, as it began; new searches of this server go to auto"
    assert supervisor.table.get("old").message == f"its process was killed; {told}"
    assert where_it_goes_on(None, "auto").endswith(
        "at the Ray cluster auto, as it began; new searches of this server use none"
    )
    assert where_it_goes_on(Cluster("auto"), "auto") is None


def test_clients_are_told_and_may_not_choose(tmp_path):
    settings = ServiceSettings(root=tmp_path, cluster=Cluster("auto", device_node="device:pi"))
    server = TestClient(create_app(settings), base_url="http://127.0.0.1")
    told = server.get("/api/v1/cluster").json()["cluster"]
    assert (told["address"], told["device_node"], told["worker_gpus"]) == ("auto", "device:pi", 0.0)
    refused = server.post("/api/v1/runs", json={"config": {"engine": {"address": "other:1"}}})
    assert (refused.status_code, refused.json()["error"]["field"]) == (403, "config.engine.address")
    alone = TestClient(create_app(ServiceSettings(root=tmp_path / "b")), base_url="http://127.0.0.1")
    assert alone.get("/api/v1/cluster").json() == {"cluster": None}


def test_what_becomes_of_workers_is_in_the_run_and_on_its_page(tmp_path):
    finished_run(tmp_path)
    with RunStore.open(tmp_path / FILE_NAME, writable=True) as store:
        _Noting(Silent(), store).say("engine: 1 node joined; the cluster now has room for 3 workers")
    with Run.open(tmp_path) as run:
        [heard] = views.overview(run)["engine"]
    assert heard["said"] == "1 node joined; the cluster now has room for 3 workers"
    assert heard["time"]
