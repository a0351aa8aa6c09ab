import pytest

from hardware.device import Device, InvalidDevice
from hardware.runtimes import RUNTIMES


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("onnxruntime", Device()),
        ("torch", Device(runtime="torch")),
        ("onnxruntime:threads=2,batch=4", Device(threads=2, batch=4)),
        (" torch : name=cuda , batch=16 ", Device("cuda", "torch", batch=16)),
    ],
)
def test_parse(text, device):
    assert Device.parse(text) == device


@pytest.mark.parametrize("device", [Device(), Device(threads=3, batch=2), Device("cuda", "torch")], ids=str)
def test_text_and_json_round_trip(device):
    assert Device.parse(str(device)) == device
    assert Device.from_json(device.to_json()) == device


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorrt", f"unknown runtime 'tensorrt', expected one of {', '.join(RUNTIMES)}"),
        ("", "unknown runtime ''"),
        ("torch:threads", "cannot read 'threads'"),
        ("torch:thread=2", "cannot read 'thread=2'"),
        ("torch:threads=two", "threads='two', expected a whole number"),
        ("torch:threads=0", "threads=0, expected a whole number of at least 1"),
        ("torch:batch=-1", "batch='-1', expected a whole number"),
        ("torch:name=tpu", "name='tpu', expected one of cpu, cuda"),
        ("onnxruntime:name=cuda", "for cuda use runtime torch"),
    ],
)
def test_what_is_no_device_is_refused_in_one_line(text, message):
    with pytest.raises(InvalidDevice) as error:
        Device.parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"runtime": "torch", "cores": 2}', '{"threads": 1.5}', '{"threads": true}']
)
def test_bad_json_is_refused(text):
    with pytest.raises(InvalidDevice, match="device"):
        Device.from_json(text)
