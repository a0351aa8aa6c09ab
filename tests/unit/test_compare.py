"""The comparison of two networks on the real machine, briefly; and what the command says of bad input."""

import json

import psutil
import pytest
from click.testing import CliRunner

from hardware.compare import Contestant, compare, names
from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol
from hardware.pairs import PairProtocol
from nas.cli.compare import compare as command
from nas.cli.compare import contestants
from search_spaces.arch import Architecture, Block

SHAPE = (3, 16, 16)
SMALL = LayerModel.of(Architecture((Block("conv", 8, stride=2), Block("zen_xx", 8, inner=8))), SHAPE, 4, "small")
LARGE = LayerModel.of(Architecture((Block("conv", 32), Block("zen_xx", 64, inner=64, depth=4))), SHAPE, 4, "large")
FEW = PairProtocol(6, 0.2, 5.0)
SHORT = MeasureProtocol(burst_ms=1.0)
STRUCTURE = "SuperConvK3BNRELU(3,8,1,1)"


def test_two_networks_on_one_device():
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    told = []
    one = Device()
    found = compare(
        Contestant(SMALL, one), Contestant(LARGE, one), FEW, SHORT, lambda what, share: told.append((what, share))
    )
    assert found.ratio < 0.5
    assert found.low <= found.ratio <= found.high
    assert len(found.pairs_ms) == 6
    assert [each[0] for each in found.pairs_ms] == list(found.first.bursts_ms)
    assert (found.first.model, found.second.model) == ("small", "large")
    assert found.names == ("small", "large")
    assert f"times as long (95 % interval {found.low:.3f}" in found.sentence()
    data = json.loads(found.to_json())
    assert data["first"]["bursts"][0]["disturbed"] in (True, False)
    assert {what for what, _ in told} == {"loading", "timing"}
    assert all(0 <= share <= 1 for _, share in told)
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before


def test_one_network_on_two_devices():
    found = compare(Contestant(LARGE, Device()), Contestant(LARGE, Device(threads=2)), FEW, SHORT)
    assert found.names == (f"large on {Device()}", f"large on {Device(threads=2)}")
    assert [m.conditions.device for m in (found.first, found.second)] == [str(Device()), str(Device(threads=2))]


def test_names_tell_the_two_apart():
    one = Device()
    assert names(Contestant(SMALL, one), Contestant(LARGE, one)) == ("small", "large")
    assert names(Contestant(SMALL, one), Contestant(SMALL, one)) == ("small (first)", "small (second)")


def test_the_command_prints_one_object():
    args = [STRUCTURE, "SuperConvK3BNRELU(3,64,1,1)", "--resolution", "32", "--pairs", "6", "--seconds", "1", "--json"]
    ended = CliRunner().invoke(command, [*args, "--quiet"], catch_exceptions=False)
    data = json.loads(ended.stdout)
    assert data["verdict"] in ("faster", "slower", "no clear difference")
    assert {"sentence", "names", "ratio", "low", "high", "ratio_of_minima", "pairs_ms", "first", "second"} <= set(data)


def test_what_is_compared():
    assert contestants(("a", "b"), ()) == (("a", "b"), ("onnxruntime", "onnxruntime"))
    assert contestants(("a",), ("x", "y")) == (("a", "a"), ("x", "y"))
    assert contestants(("a", "b"), ("x", "y")) == (("a", "b"), ("x", "y"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("a.onnx",), "got one model on one device, expected a second model, or a second --device"),
        (("a", "b", "c"), "got 3 models and 1 devices, expected at most two of each"),
        (("a", "--device", "torch", "--device", "torch", "--device", "torch"), "got 1 models and 3 devices"),
        (("a.onnx", "b.onnx"), "a.onnx: no such file, expected an ONNX model"),
        ((STRUCTURE, STRUCTURE, "--resolution", "32", "--device", "tork"), "device: unknown runtime 'tork'"),
        ((STRUCTURE, STRUCTURE, "--resolution", "32", "--pairs", "5"), "5 is not in the range"),
        ((STRUCTURE, STRUCTURE), "which images? give --data, or --resolution"),
    ],
)
def test_the_command_says_what_is_wrong(args, message):
    ended = CliRunner().invoke(command, args)
    assert ended.exit_code
    assert message in (ended.output + str(ended.exception))
