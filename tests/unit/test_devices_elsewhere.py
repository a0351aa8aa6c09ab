"""Devices that are not here: plans and their results, data sheets, cards, and the commands for them."""

import csv
import json
import math

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from hardware.analytic_devices import UnknownAnalyticDevice
from hardware.conditions import Surroundings
from hardware.device import Device, InvalidDevice
from hardware.device_card import card_page, device_card
from hardware.device_store import load_device, save_device
from hardware.device_table import DeviceTable, InvalidTable, KernelRow
from hardware.kernels import kernels_of
from hardware.latency_targets import find_target
from hardware.lookup import LatencyTable
from hardware.plan import PLAN, RESULTS, merge_files, read_results, write_plan
from nas.cli.main import cli
from search_spaces import SPACES
from search_spaces.expand import expand

SPACE, SHAPE = SPACES["zen-tiny"], (3, 16, 16)


def law_ms(kernels):
    return 0.02 + sum(kernel.macs / 4e6 + kernel.traffic / 3e7 + 0.004 for kernel in kernels)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan") / "phone"
    write_plan(folder, SPACE, SHAPE, 10, pieces=60, networks=14)
    return folder


@pytest.fixture
def filled(plan, tmp_path, monkeypatch):
    """A plan whose latency column a device of the simulator has filled in."""
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    content = json.loads((plan / PLAN).read_text())["rows"]
    (tmp_path / PLAN).write_text((plan / PLAN).read_text())
    rows = _read(plan / RESULTS)
    for row in rows:
        table_row = _row(content.get(row["id"]))
        row["latency_ms"] = "0.02" if table_row is None else f"{law_ms(table_row.kernels()):.6f}"
    return _write(tmp_path / RESULTS, rows)


def _row(content):
    from hardware.rows import network_from_dict, piece_from_dict

    if content is None:
        return None
    content = {**content, "latency_ms": math.nan}
    return (piece_from_dict if content.pop("what") == "piece" else network_from_dict)(content)


def _read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "model", "latency_ms"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_plan_lists_a_model_for_every_row(plan):
    rows = _read(plan / RESULTS)
    assert len(rows) > 50
    assert {row["latency_ms"] for row in rows} == {""}
    for row in rows[:3]:
        onnx.checker.check_model(onnx.load(plan / row["model"]))
    with pytest.raises(InvalidTable, match="the folder is not empty"):
        write_plan(plan, SPACE, SHAPE, 10)


def test_results_predict_networks_that_were_not_in_the_plan(filled):
    save_device(read_results(filled, "phone"))
    target = find_target("phone")
    assert not target.here
    table = target.table(SPACE, SHAPE, 10, confidence=0.9)
    rng = np.random.default_rng(5)
    archs = [SPACE.sample(rng) for _ in range(20)]
    true_ms = np.array([law_ms(kernels_of(expand(arch, SHAPE, 10))) for arch in archs])
    predicted_ms = np.array([table.estimate(arch).mean_ms for arch in archs])
    assert np.median(np.abs(predicted_ms / true_ms - 1)) < 0.05  # the heavier half is extrapolated
    assert LatencyTable.from_json(table.to_json()).estimate(archs[0]) == table.estimate(archs[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[4].update(latency_ms="fast"), r"line 6: latency_ms='fast', expected a number"),
        (lambda rows: rows[4].update(latency_ms="-1"), r"line 6: latency_ms='-1', expected a positive number"),
        (lambda rows: rows[4].update(latency_ms="nan"), r"line 6: latency_ms='nan', expected a positive number"),
        (lambda rows: rows[4].update(id="r9999"), r"line 6: id 'r9999' is not of the plan"),
        (lambda rows: rows[4].update(id=rows[3]["id"]), r"line 6: id 'r0002' stands there twice"),
        (lambda rows: rows[9].update(latency_ms="900000"), r"results.csv, line 11: .* slower"),
        (lambda rows: [row.update(latency_ms="") for row in rows], "no latency is filled in"),
    ],
)
def test_wrong_results_are_refused_with_their_line(filled, change, message):
    rows = _read(filled)
    change(rows)
    with pytest.raises(InvalidTable, match=message):
        read_results(_write(filled, rows), "phone")


def test_results_of_a_spreadsheet_are_read_and_of_another_unit_refused(filled):
    known, rows = read_results(filled, "phone"), _read(filled)
    filled.write_text(filled.read_text(), encoding="utf-8-sig")
    assert read_results(filled, "phone") == known
    for factor, message in ((1e3, r"results.csv.*column in microsec"), (1e-3, r"results.csv: .* column in seconds")):
        scaled = [{**row, "latency_ms": repr(factor * float(row["latency_ms"]))} for row in rows]
        with pytest.raises(InvalidTable, match=message):
            read_results(_write(filled, scaled), "phone")


def test_files_that_are_no_results_are_refused_in_a_line(filled, tmp_path):
    filled.write_bytes(b"id,latency_ms\n\xd4\x00")
    with pytest.raises(InvalidTable, match=r"results.csv: cannot be read .*expected text, id, model, latency_ms"):
        read_results(filled, "phone")
    (tmp_path / PLAN).write_text('{"version": 1, "rows": []}')
    with pytest.raises(InvalidTable, match=r"plan.json: rows are a list, expected an object"):
        read_results(filled, "phone")


def test_results_without_their_plan_or_columns_are_refused(filled, tmp_path):
    (tmp_path / PLAN).unlink()
    with pytest.raises(InvalidTable, match="results are read beside the plan"):
        read_results(filled, "phone")


def test_the_device_can_be_listed_shown_exported_added_and_forgotten(filled, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run("profile", "--import", filled, "--name", "phone")
    [row] = json.loads(run("device", "ls", "--json"))["devices"]
    assert (row["name"], row["here"], row["networks"]) == ("phone", False, 14)
    card = json.loads(run("device", "show", "phone", "--json", "--html", tmp_path / "card.html"))
    assert card["rows"]["pieces"] == len(load_device("phone").pieces) > 40
    assert "<h1>phone</h1>" in (tmp_path / "card.html").read_text()
    run("device", "export", "phone", "--out", tmp_path / "phone.json")
    run("device", "export", "phone", "--out", tmp_path / "phone.csv")
    lines = _read(tmp_path / "phone.csv")
    assert len(lines) == row["networks"] + row["pieces"]
    before = load_device("phone")
    run("device", "rm", "phone")
    assert "no device yet" in run("device", "ls")
    run("device", "add", tmp_path / "phone.json")
    assert load_device("phone") == before


def test_a_card_of_a_measured_device_shows_its_errors(tmp_path):
    conditions = Surroundings().conditions(Device(), None)
    rows = tuple(
        KernelRow(kernel, 0.01, 1, 9)
        for kernel in dict.fromkeys(kernels_of(expand(SPACE.sample(np.random.default_rng(0)), SHAPE, 10)))
    )
    table = DeviceTable("me <b>", str(Device()), kernels=rows, conditions=conditions, source="measured here")
    fitted = find_target("v100").table(SPACE, SHAPE, 10, confidence=0.9)
    object.__setattr__(fitted, "measured", ((1.0, 1.1), (2.0, 1.9)))
    card = device_card(table, [fitted])
    assert card["coverage"]["kernel_kinds"]["conv"] >= 1
    page = card_page(card)
    assert "me &lt;b&gt;" in page
    assert page.count("<circle") == 2
    assert "zen-tiny at 3x16x16" in page


def test_merging_files_names_the_one_that_does_not_fit(tmp_path):
    table = DeviceTable("a", kernels=())
    (tmp_path / "a.json").write_text(table.to_json())
    (tmp_path / "b.json").write_text(DeviceTable("b").to_json())
    with pytest.raises(InvalidTable, match=r"b\.json: merge: name 'a' and 'b' differ"):
        merge_files([tmp_path / "a.json", tmp_path / "b.json"])
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(InvalidTable, match=r"c\.json: device table: cannot be read"):
        merge_files([tmp_path / "c.json"])


def test_a_data_sheet_serves_a_search_and_batches_cost_less_an_image():
    one, many = (find_target(f"v100:precision=fp16,batch={n}") for n in (1, 64))
    archs = [SPACE.sample(np.random.default_rng(i)) for i in range(5)]
    for arch in archs:
        single = one.table(SPACE, SHAPE, 10, confidence=0.9).estimate(arch)
        batch = many.table(SPACE, SHAPE, 10, confidence=0.9).estimate(arch)
        assert single.upper_ms > single.mean_ms > 0
        assert batch.mean_ms / 64 < single.mean_ms < batch.mean_ms


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("v1000", InvalidDevice, "unknown runtime or device 'v1000'; did you mean 'v100'"),
        ("v100:batch=many", InvalidDevice, "batch='many', expected a whole number"),
        ("v100:colour=red", UnknownAnalyticDevice, r"cannot read 'colour=red', expected NAME\[:batch=N,precision=P\]"),
        ("v100:precision=int4", UnknownAnalyticDevice, "precision 'int4', expected one of"),
    ],
)
def test_what_names_no_device_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        find_target(text)


def test_too_few_kernels_are_refused_with_the_way_on(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    save_device(DeviceTable("gpu", kernels=()))
    with pytest.raises(InvalidTable, match=r"device gpu: 0 kernels .*at batch 1, and no five networks"):
        find_target("gpu").table(SPACE, SHAPE, 10, confidence=0.9)
