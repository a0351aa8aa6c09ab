"""Whole networks with a column a device: designs are read, columns and lines named when they are wrong."""

import gzip
import os
from pathlib import Path

import pytest

from hardware.device_table import InvalidTable
from hardware.importers.network_columns import read_network_columns
from search_spaces import SPACES

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "ofa_latency"
OFA = (
    "ks,e,d,r,gpu_1,gpu_32\n"
    "7_5_5_5_7_7_5_7_5_7_3_7_5_3_7_3_5_3_5_3,6_4_4_6_6_3_4_3_3_6_3_3_3_6_3_4_6_4_3_6,2_2_2_2_3,204,12.08,15.1\n"
    "7_3_5_3_3_7_3_7_3_7_3_7_3_7_7_3_5_5_7_3,4_6_3_4_4_4_4_6_3_6_6_4_4_6_6_4_3_6_6_4,2_3_4_3_4,136,12.6,13.5\n"
)
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "nets.csv").write_text(text)
    return tmp_path / "nets.csv"


def test_settings_of_once_for_all_are_networks_of_ours(tmp_path):
    table = read_network_columns(write(tmp_path, OFA), "gpu", column="gpu_32")
    first, second = table.networks
    assert (first.input_shape, first.num_classes, first.latency_ms, first.batch) == ((3, 204, 204), 1000, 15.1, 32)
    assert second.input_shape == (3, 136, 136)
    space = SPACES["mobilenetv3-ofa"]
    for row in table.networks:
        space.validate(row.arch)
    assert space.values_of(first.arch)["5.depth"] == 3


def test_cells_are_read_by_their_text(tmp_path):
    table = read_network_columns(write(tmp_path, f"idx,arch,phone\n1,{CELL},33\n"), "phone", column="phone")
    assert table.networks[0].arch == SPACES["nas-bench-201"].of_cell(CELL)
    assert table.networks[0].batch == 1


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        (OFA, "tpu", r"nets.csv: column 'tpu', expected one of gpu_1, gpu_32"),
        (OFA.replace("13.5", "fast"), "gpu_32", r"nets.csv, line 3: gpu_32='fast', expected milliseconds"),
        (OFA.replace("12.6", "-1"), "gpu_1", r"nets.csv, line 3: latency_ms=-1.0, expected a positive number"),
        (OFA.replace("2_3_4_3_4", "2_3_4_3_9"), "gpu_1", r"nets.csv, line 3: .*9"),
        (OFA.replace(",136,", ",,"), "gpu_1", r"nets.csv, line 3: "),
        ("arch,a\n7_8_1,3\n", "a", r"nets.csv, line 2: '7_8_1': no known structure"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, column, message):
    with pytest.raises(InvalidTable, match=message):
        read_network_columns(write(tmp_path, text), "gpu", column=column)


@pytest.mark.skipif(not DATA.exists(), reason="set NETWRIGHT_DATA to the folder with ofa_latency")
def test_published_rows_are_read(tmp_path):
    lines = gzip.decompress((DATA / "ofa_latency_ms.csv.gz").read_bytes()).decode().splitlines(keepends=True)
    table = read_network_columns(write(tmp_path, "".join(lines[:60])), "titan-xp", column="titan_xp_64")
    assert len(table.networks) == 59
