"""Anybody's CSV and TF-NAS's tables as device tables, and the command that reads them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hardware.device_csv import write_csv
from hardware.device_store import load_device
from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow, PieceRow
from hardware.importers.generic_csv import BLANK, read_generic_csv
from hardware.importers.tfnas_blocks import read_tfnas_blocks
from hardware.kernels import Kernel
from nas.cli.device import device
from search_spaces import SPACES
from search_spaces.arch import Block
from search_spaces.formats import write_published

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "tfnas_lut"
HEAD = "in_channels,in_height,channels,kernel,stride,groups,adds,batch,latency_us\n"
KERNELS = HEAD + "64,14,64,3,1,1,1,8,120\n64,15,128,1,2,,,,30.5\n32,28,32,5,1,32,0,1,44\n"
TFNAS = """op,mid_channels,latency_ms
base,-1,1.98
MBInvertedResBlock_112_16_0_24_k3_s2_relu,1,-0.23
MBInvertedResBlock_112_16_0_24_k3_s2_relu,47,0.9
MBInvertedResBlock_112_16_0_24_k3_s2_relu,48,0.95
MBInvertedResBlock_14_80_40_80_k5_s1_swish,240,1.1
"""


def write(tmp_path: Path, text: str, name: str = "rows.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_kernels_in_microseconds(tmp_path):
    table = read_generic_csv(write(tmp_path, KERNELS), "box")
    assert [row.kernel for row in table.kernels] == [
        Kernel("conv", (64, 14, 14), (64, 14, 14), 3, 1, 1, "", True, 8),
        Kernel("pointwise", (64, 15, 15), (128, 8, 8), 1, 2),
        Kernel("depthwise", (32, 28, 28), (32, 28, 28), 5, 1, 32),
    ]
    assert [row.latency_ms for row in table.kernels] == pytest.approx([0.12, 0.0305, 0.044])


def test_networks_and_a_column_of_units(tmp_path):
    arch = SPACES["zen-tiny"].sample(np.random.default_rng(0))
    for text in (write_published(arch), arch.to_json()):
        line = text.replace('"', '""')
        path = write(tmp_path, f'arch,in_height,num_classes,latency,unit\n"{line}",16,10,0.002,s\n')
        assert read_generic_csv(path, "box").networks == (NetworkRow(arch, (3, 16, 16), 10, 2.0),)
    path = write(tmp_path, "arch,in_height,latency_ms\nSuperConv(3),16,1\n")
    with pytest.raises(InvalidTable, match=r"rows.csv, line 2: arch: "):
        read_generic_csv(path, "box")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("64,14,32,3,1,1,1,8,nan", r"rows.csv, line 5: latency 'nan', expected a positive number"),
        ("64,14,32,3,1,1,1,8,-3", r"line 5: latency '-3', expected a positive number"),
        ("64,14,32,3,1", r"rows.csv, line 5: 5 values, expected 9 as in the header"),
        ("64,14,64,3,1,1,1,8,70", r"rows.csv, line 5: the same as line 2;"),
        ("64,x,32,3,1,1,1,8,70", r"line 5: in_height='x', expected a whole number"),
        (
            "512,56,512,3,1,1,1,64,1e-5",
            r"rows.csv, line 5: 1e-08 ms .* faster than any device; is the column in seconds",
        ),
        ("64,14,32,3,1,1,2,8,70", r"rows.csv, line 5: adds=2, expected 0 or 1"),
        ("64,14,32,3,1,1,1,8,70,9", r"rows.csv, line 5: 10 values, expected 9 as in the header"),
        ("64,14,32,3,1,5,1,8,70", r"rows.csv, line 5: groups=5 do not divide"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    with pytest.raises(InvalidTable, match=message):
        read_generic_csv(write(tmp_path, KERNELS + line + "\n"), "box")


def test_lines_without_a_latency_are_counted_and_a_byte_order_mark_is_none_of_the_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(KERNELS + "64,14,32,3,1,1,1,8,\n", encoding="utf-8-sig")
    table = read_generic_csv(path, "box")
    assert len(table.kernels) == 3
    assert table.notes["uncovered"] == {BLANK: 1}


def test_an_exported_csv_is_read_back_with_all_kinds_of_rows(tmp_path):
    arch = SPACES["mobilenetv3-ofa"].sample(np.random.default_rng(0))
    network = NetworkRow(arch, (3, 32, 48), 10, 1.7, 1.6, 1.9, batch=2)
    kernels = [KernelRow(kernel, 0.01 + kernel.macs / 1e8, 3, 9) for kernel in dict.fromkeys(network.kernels())]
    assert {"linear", "global_pool", "depthwise"} <= {row.kernel.kind for row in kernels}
    table = DeviceTable(
        "box",
        kernels=(*kernels, replace(kernels[0], footprint=99)),
        pieces=(
            PieceRow(Block("mbconv", 16, 5, 1, expansion=3, se=True), (16, 14, 15), False, 4, None, 1 / 3, 2),
            PieceRow(None, (64, 7, 7), True, 1, 10, 0.02),
        ),
        networks=(network, replace(network, num_classes=None, low_ms=None, high_ms=None)),
    )
    write_csv(table, tmp_path / "box.csv")
    assert list(read_generic_csv(tmp_path / "box.csv", "other").rows()) == list(table.rows())
    lines = (tmp_path / "box.csv").read_text().splitlines()
    write(tmp_path, "\n".join(line.replace('""kind""', '""kin""') for line in lines))
    with pytest.raises(InvalidTable, match=rf"rows.csv, line {len(kernels) + 3}: arch: block: unknown field 'kin'"):
        read_generic_csv(tmp_path / "rows.csv", "other")


def test_a_latency_without_its_unit_is_refused(tmp_path):
    with pytest.raises(InvalidTable, match=r"line 2: unit='', expected one of ms, us, s"):
        read_generic_csv(write(tmp_path, "in_channels,in_height,channels,latency\n3,32,16,5\n"), "box")
    with pytest.raises(InvalidTable, match=r"rows.csv: columns a, b; expected latency_ms"):
        read_generic_csv(write(tmp_path, "a,b\n1,2\n"), "box")


def test_tfnas_keeps_what_is_a_block_of_ours_and_says_why_not(tmp_path):
    table = read_tfnas_blocks(write(tmp_path, TFNAS), "titan", batch=32)
    assert table.pieces == (
        PieceRow(Block("mbconv", 24, 3, 2, expansion=3, act="relu"), (16, 112, 112), True, 1, None, 0.95, 32),
    )
    assert table.notes["base_ms"] == 1.98
    assert sum(table.notes["uncovered"].values()) == 3
    for latency in ("nan", "4"):  # the second is one row twice
        row = TFNAS.splitlines()[-2].rpartition(",")[0]
        with pytest.raises(InvalidTable, match=r"rows.csv, line 7: (latency_ms=nan|the same as line 5;)"):
            read_tfnas_blocks(write(tmp_path, f"{TFNAS}{row},{latency}\n"), "titan")
    with pytest.raises(InvalidTable, match=r"rows.csv, line 7: 'Block_1'"):
        read_tfnas_blocks(write(tmp_path, TFNAS + "Block_1,3,4\n"), "titan")


@pytest.mark.skipif(not DATA.exists(), reason="set NETWRIGHT_DATA to the folder with tfnas_lut")
def test_the_published_tfnas_tables_are_read_whole():
    table = read_tfnas_blocks(DATA / "tfnas_latency_cpu.csv.gz", "xeon")
    assert len(table.pieces) + sum(table.notes["uncovered"].values()) == 36_480
    assert len(table.pieces) > 100


def test_the_command_stores_a_foreign_table(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, KERNELS)
    done = CliRunner().invoke(device, ["read", str(path), "--name", "box"])
    assert done.exit_code == 0, done.output
    assert load_device("box").kernels == read_generic_csv(path, "box").kernels
    bad = CliRunner().invoke(device, ["read", str(write(tmp_path, HEAD, "none.csv")), "--name", "empty"])
    assert bad.exit_code == 2
    assert "holds no row" in bad.output


def test_the_batch_is_given_where_the_file_does_not_say_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    path = str(write(tmp_path, TFNAS))
    done = CliRunner().invoke(device, ["read", path, "--name", "titan", "--format", "tfnas", "--batch", "32"])
    assert done.exit_code == 0, done.output
    assert {row.batch for row in load_device("titan").pieces} == {32}
    bad = CliRunner().invoke(device, ["read", path, "--name", "box", "--batch", "32"])
    assert bad.exit_code == 2
    assert "csv says it for each row" in bad.output
