"""A known device carried over: factors found back, one factor where more do not help, and the commands."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from hardware.adaptation import CALL_MS, KINDS, adapt, fit_factors
from hardware.device_store import load_device, save_device
from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow
from hardware.kernels import kernels_of
from nas.cli.device import device
from search_spaces import SPACES
from search_spaces.arch import Architecture
from search_spaces.expand import expand

SPACE, SHAPE = SPACES["zen-tiny"], (3, 16, 16)


def kernel_ms(kernel):
    return 0.002 + kernel.macs / 4e6 + kernel.traffic / 3e7


def known_table() -> DeviceTable:
    rng = np.random.default_rng(0)
    kernels = {k for _ in range(60) for k in kernels_of(expand(SPACE.sample(rng), SHAPE, 10))}
    return DeviceTable("known", kernels=tuple(KernelRow(k, kernel_ms(k)) for k in sorted(kernels)))


def networks(factor, count: int, seed: int) -> tuple[NetworkRow, ...]:
    rng = np.random.default_rng(seed)
    rows = [NetworkRow(SPACE.sample(rng), SHAPE, 10, 1.0) for _ in range(count)]
    return tuple(replace(row, latency_ms=sum(factor(k) * kernel_ms(k) for k in row.kernels())) for row in rows)


def test_factors_are_found_back_and_shrunk_where_nothing_speaks():
    rng = np.random.default_rng(0)
    parts = np.column_stack([rng.gamma(2.0, 1.0, (20, len(KINDS))), CALL_MS * rng.integers(10, 90, 20)])
    parts[:, 3] = 0
    true = np.array([2.0, 4.0, 1.0, 9.0, 3.0, 50.0])
    spoken = [0, 1, 2, 4, 5]
    ms = parts @ true
    found = fit_factors(parts, ms, 1e-6)
    np.testing.assert_allclose(found[spoken], true[spoken], rtol=0.03)
    ms[3] *= 20  # a row that went wrong
    np.testing.assert_allclose(fit_factors(parts, ms, 1e-4)[spoken], true[spoken], rtol=0.15)
    *by_kind, calls = fit_factors(parts, ms, np.inf).tolist()
    assert len(set(by_kind)) == 1
    assert calls == 0


def test_a_cost_of_every_kernel_is_carried_over():
    measured = DeviceTable("new", networks=networks(lambda k: 0.5 + 0.02 / kernel_ms(k), 12, 1))
    found = adapt(measured, [known_table()])
    assert found.held_out.mape < 0.02
    assert found.call_ms == pytest.approx(0.02, rel=0.2)
    by_kernel = {row.kernel: row.latency_ms for row in found.table.kernels}
    assert min(by_kernel.values()) >= found.call_ms


def test_a_slower_device_is_the_known_one_scaled():
    found = adapt(DeviceTable("new", networks=networks(lambda _: 3.0, 10, 1)), [known_table()])
    assert found.held_out.mape < 0.05
    assert found.like == "known"
    by_kernel = {row.kernel: row.latency_ms for row in found.table.kernels}
    ratios = [by_kernel[row.kernel] / row.latency_ms for row in known_table().kernels]
    assert np.median(ratios) == pytest.approx(3.0, rel=0.05)
    assert len(found.table.networks) == 10


def test_too_few_measurements_are_refused():
    few = DeviceTable("new", networks=networks(lambda _: 3.0, 4, 1))
    with pytest.raises(InvalidTable, match="device new: 4 measured networks, expected 5 or more"):
        adapt(few, [known_table()])
    with pytest.raises(InvalidTable, match="none of empty has 200 kernels"):
        adapt(replace(few, networks=networks(lambda _: 3.0, 6, 1)), [DeviceTable("empty")])


def test_choose_then_adapt_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    save_device(known_table())
    chosen = CliRunner().invoke(device, ["choose", "--space", "zen-tiny", "--count", "8", "--resolution", "16"])
    assert chosen.exit_code == 0, chosen.output
    rows = list(csv.DictReader(io.StringIO(chosen.output)))
    assert len({row["arch"] for row in rows}) == 8
    for row in rows:
        network = NetworkRow(Architecture.from_json(row["arch"]), SHAPE, 10, 1.0)
        row["latency_ms"] = str(2 * sum(map(kernel_ms, network.kernels())))
    with (tmp_path / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    arguments = ["adapt", "--name", "phone", "--from", str(tmp_path / "results.csv"), "--like", "known"]
    done = CliRunner().invoke(device, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "left-out error" in done.output
    assert len(load_device("phone").networks) == 8


def test_choosing_by_a_device_without_kernels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    save_device(DeviceTable("thin", networks=networks(lambda _: 1.0, 3, 0)))
    ended = CliRunner().invoke(device, ["choose", "--space", "zen-tiny", "--like", "thin"])
    assert ended.exit_code == 2
    assert "thin: expected devices with 200 kernels" in ended.output
