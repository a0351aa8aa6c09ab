"""What is timed on each runtime when an exported network is held against its budget."""

import numpy as np
import pytest
import torch

from hardware.device import Device
from hardware.measure import LayerModel, OnnxFile
from hardware.measuring_process import read_source
from hardware.runtimes import RUNTIMES, missing
from hardware.runtimes.contract import import_runtime
from nas.export.errors import InvalidPretrained
from nas.export.pretrained import save_pretrained
from nas.job.verification import exported_model
from nas.train.images import ImageTask
from search_spaces.arch import Architecture, Block
from search_spaces.build import build

ARCH = Architecture((Block("conv", 4), Block("zen_bl", 8, 3, 2, 1, inner=4, se=True)))
TASK = ImageTask("shapes", ("lying", "standing", "cross"), (1, 8, 8), 1 / 255, (0.3,), (0.2,))
SLOW = ("torch-compile", "aotinductor", "executorch")
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in RUNTIMES if n != "command"]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    torch.manual_seed(0)
    network = build(ARCH, num_classes=3, in_channels=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("export") / "out"
    save_pretrained(folder, network.eval(), task=TASK)
    return folder, network


@pytest.mark.parametrize("name", NAMES)
def test_the_trained_network_itself_is_timed(name, export):
    if reason := missing(name):
        pytest.skip(reason)
    if "cpu" not in RUNTIMES[name].precisions:
        pytest.skip(f"{name} needs a GPU")
    folder, network = export
    device = Device(runtime=name)
    model, subject = exported_model(folder / "model.onnx", device)
    assert isinstance(model, OnnxFile if RUNTIMES[name].reads_onnx else LayerModel)
    assert subject == ("the exported file" if RUNTIMES[name].reads_onnx else f"the exported network in {name}")
    source, _ = read_source(model, device)
    images = np.random.default_rng(0).standard_normal((1, 1, 8, 8), dtype=np.float32)
    output = import_runtime(name).load(source, device).run_once(images)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert output == pytest.approx(expected, abs=1e-4)


def test_a_bare_file_has_no_layers(export, tmp_path):
    bare = tmp_path / "net.onnx"
    bare.write_bytes((export[0] / "model.onnx").read_bytes())
    with pytest.raises(InvalidPretrained):
        exported_model(bare, Device(runtime="torch"))
