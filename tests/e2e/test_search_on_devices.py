"""Searches for devices that are not here and for several at once, and the best of a run on another device."""

from command_place import refused

SMALL = ("--data", "digits", "--no-train", "--evaluations", "60", "--engine", "serial")


def test_a_device_from_its_data_sheet_is_predicted_and_said_so(server, place):
    devices = ("--device", "v100", "--latency", "0.6ms", "--also", "t4:precision=fp16=0.6ms")
    ended = server.run("search", *devices, *SMALL, "--json", "--out", "sheet", cwd=place)
    assert ended.code == 0, ended.err
    latency = ended.json()["best"]["latency_ms"]
    assert 0 < latency["predicted"] <= 0.6
    assert latency["measured"] is None

    wanted = ("best", "sheet", "--device", "t4:precision=fp16", "--latency")
    row = server.run(*wanted, "0.6ms", "--json", cwd=place).json()
    assert row["latency_upper_ms"] <= 0.6
    assert row["device"] == "t4:precision=fp16"

    tight = server.run(*wanted, "1us", cwd=place)
    assert tight.code == 3
    assert "none has latency_ms of at most 0.001 on t4:precision=fp16; the smallest has" in tight.err


def test_devices_are_checked_before_anything_runs(server, place):
    for arguments, told in (
        (("--also", "v100=1ms"), "further devices need a latency budget of the first"),
        (("--latency", "1ms", "--device", "v100", "--also", "v100=1ms"), "names a device twice"),
        (("--latency", "1ms", "--also", "v100"), "expected DEVICE=LATENCY"),
        (("--latency", "1ms", "--device", "tpu9"), "unknown runtime or device 'tpu9'"),
    ):
        ended = server.run("search", *SMALL, *arguments, "--out", "unmade", cwd=place)
        refused(ended, 2, told)
        assert not (place / "unmade").exists()
