import pytest

from hardware.device import Device, InvalidDevice
from hardware.runtimes import RUNTIMES
from hardware.table_cache import table_path

COMMAND = "cat {model} | x --a=1,b=2"


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("onnxruntime", Device()),
        ("torch", Device(runtime="torch")),
        ("onnxruntime:threads=2,batch=4", Device(threads=2, batch=4)),
        (" torch : name=cuda , batch=16 ", Device("cuda", "torch", batch=16)),
        ("openvino:precision=fp16,name=gpu", Device("gpu", "openvino", precision="fp16")),
        ("tensorrt:precision=fp16", Device("cuda", "tensorrt", precision="fp16")),
        ("command:batch=2, run=cat {model} | x --a=1,b=2 ", Device(runtime="command", batch=2, run=COMMAND)),
    ],
)
def test_parse(text, device):
    assert Device.parse(text) == device


DEVICES = [
    Device(),
    Device(threads=3, batch=2),
    Device("cuda", "torch"),
    Device("gpu", "openvino", precision="fp16"),
    Device(runtime="command", threads=2, run=COMMAND),
]


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_text_and_json_round_trip(device):
    assert Device.parse(str(device)) == device
    assert Device.from_json(device.to_json()) == device


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpu", f"unknown runtime 'tpu', expected one of {', '.join(RUNTIMES)}"),
        ("", "unknown runtime ''"),
        ("torch:threads", "cannot read 'threads'"),
        ("torch:thread=2", "cannot read 'thread=2'"),
        ("torch:threads=two", "threads='two', expected a whole number"),
        ("torch:threads=0", "threads=0, expected a whole number from 1 to 1024"),
        ("torch:threads=1025", "threads=1025, expected a whole number from 1 to 1024"),
        (f"torch:batch={'9' * 5000}", "expected a whole number from 1 to 65536"),
        ("torch:threads=1,threads=2", "threads is given twice, expected once"),
        ("torch:batch=-1", "batch='-1', expected a whole number"),
        ("torch:name=tpu", "name='tpu', expected one of cpu, cuda"),
        ("openvino:name=cuda", "openvino runs on cpu and gpu here; for cuda use runtime "),
        ("ncnn:batch=2", "ncnn runs one image a call, batch=2; expected batch=1"),
        ("tensorrt:name=cpu", "tensorrt runs on cuda here; for cpu use runtime onnxruntime"),
        ("torch:name=gpu", "torch runs on cpu and cuda here; for gpu use runtime openvino"),
        ("torch:precision=int4", "precision='int4', torch on cpu offers fp32"),
        ("openvino:precision=fp16", "precision='fp16', openvino on cpu offers fp32"),
        ("command", "run='' with runtime command; expected command:run=COMMAND {model}"),
        ("command:run=", "run='' with runtime command; expected command:run=COMMAND {model}"),
        ("command:run=./bench.sh", "run='./bench.sh' with runtime command; expected command:run=COMMAND {model}"),
        ("torch:run=./bench.sh {model}", "with runtime torch; expected command:run="),
    ],
)
def test_what_is_no_device_is_refused_in_one_line(text, message):
    with pytest.raises(InvalidDevice) as error:
        Device.parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"runtime": "torch", "cores": 2}', '{"threads": 1.5}', '{"precision": 16}', '{"threads": true}'],
)
def test_bad_json_is_refused(text):
    with pytest.raises(InvalidDevice, match="device"):
        Device.from_json(text)


def test_devices_of_older_releases_keep_their_text_json_and_table():
    device = Device("cpu", "torch", 2, 4)
    assert str(device) == "torch:name=cpu,threads=2,batch=4"
    assert device.to_dict() == {"name": "cpu", "runtime": "torch", "threads": 2, "batch": 4}
    assert table_path("zen", device, (3, 32, 32)).name == "zen-torch-cpu-t2-b4-3x32x32.json"


def test_devices_have_tables_of_their_own():
    commands = [Device(runtime="command", run=f"{program} {{model}}") for program in ("./a", "./b")]
    assert len({table_path("zen", device, (3, 32, 32)) for device in (*DEVICES, *commands)}) == len(DEVICES) + 2
