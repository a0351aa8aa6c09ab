"""nn-Meter's block tables: rows that a block of ours equals, the rest counted with its reason."""

import os
from pathlib import Path

import pytest

from hardware.device_table import DeviceTable, InvalidTable, PieceRow
from hardware.importers.nn_meter_blocks import ROUNDING, SHORTCUT, read_nn_meter_blocks
from search_spaces.arch import Block

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "nnmeter_luts"
HEADER = "block,latency_ms\n"


def read(tmp_path, *lines):
    (tmp_path / "phone.csv").write_text(HEADER + "\n".join(lines) + "\n")
    return read_nn_meter_blocks(tmp_path / "phone.csv", "phone")


@pytest.mark.parametrize(
    ("key", "block", "side", "width"),
    [
        ("firstconv_160_3_16_2_3", Block("conv", 16, 3, 2, act="hard_swish"), 160, 3),
        ("firstconv_160_3_16_2_3_swish", Block("conv", 16, 3, 2, act="silu"), 160, 3),
        ("conv_64_24_24_3_2_hard_swish_5_nose", Block("mbconv", 24, 5, 2, expansion=3, act="hard_swish"), 64, 24),
        ("conv_72_16_16_6_1_swish_3_se", Block("mbconv", 16, 3, 1, expansion=6, se=True, act="silu"), 72, 16),
        ("transds_8_48_48_1_6", Block("mbconv", 48, 3, 1, expansion=6, se=True, act="hard_swish"), 8, 48),
        ("nasvit_nose_transds_9_80_80_2_4", Block("mbconv", 80, 3, 2, expansion=4, act="silu"), 9, 80),
        ("ResNetBlock_112_48_32_7_1.5_2_relu", Block("resnet_bottleneck", 32, 7, 2, inner=48), 112, 48),
        ("MobileNetV2ResBlock_96_48_48_3_8_1_relu6", Block("mbconv", 48, 3, 1, expansion=8, act="relu6"), 96, 48),
        ("FinalExpandBlock_5_320_1280_1_None_1_hswish", Block("conv", 1280, 1, act="hard_swish"), 5, 320),
        ("FeatureMixBlock_5_1280_1920_1_None_1_hswish", Block("pooled_conv_bias", 1920, 1, act="hard_swish"), 5, 1280),
    ],
)
def test_keys_become_blocks(tmp_path, key, block, side, width):
    table = read(tmp_path, f"{key},1.25")
    assert table.pieces == (PieceRow(block, (width, side, side), True, 1, None, 1.25),)
    assert table.pieces[0].kernels()
    assert DeviceTable.from_json(table.to_json()) == table


def test_the_classifier(tmp_path):
    table = read(tmp_path, "LogitsBlock_1_1920_1000_0_None_0_relu,0.17")
    assert table.pieces == (PieceRow(None, (1920, 1, 1), True, 1, 1000, 0.17),)


def test_what_ours_cannot_equal_is_counted_with_its_reason(tmp_path):
    keys = ("conv_28_24_32_4_1_swish_3_se", "conv_28_12_12_3_1_swish_3_se", "transattn_20_96_hard_swish_3_ln")
    table = read(tmp_path, *(f"{key},1.0" for key in keys), "firstconv_160_3_16_2_3,0.6")
    assert table.notes["uncovered"] == {SHORTCUT: 1, ROUNDING: 1, "block transattn": 1}


def test_two_keys_for_one_block_become_their_mean(tmp_path):
    table = read(tmp_path, "transds_8_48_48_1_6,1.0", "conv_8_48_48_6_1_hard_swish_3_se,3.0")
    assert [row.latency_ms for row in table.pieces] == [2.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("firstconv_160_3_16_2_3", "line 3: firstconv_160_3_16_2_3, expected block, latency_ms"),
        ("firstconv_160_3_16_2_3,soon", "line 3: firstconv_160_3_16_2_3,soon, expected block, latency_ms"),
        ("conv_28_24_24_4,1.0", "line 3: 'conv_28_24_24_4' is no key of a conv block"),
        ("conv_28_24_24_4_1_gelu_3_se,1.0", "line 3: 'conv_28_24_24_4_1_gelu_3_se' is no key of a conv block"),
        ("firstconv_8_3_8_2_3,0.5", "line 3: firstconv_8_3_8_2_3 stands in line 2 already"),
        ("firstconv_160_3_16_2_3,-1", "phone.csv, line 3: latency_ms=-1.0, expected a positive number"),
        ("firstconv_160_3_16_2_3,nan", "phone.csv, line 3: latency_ms=nan, expected a positive number"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    with pytest.raises(InvalidTable, match=message):
        read(tmp_path, "firstconv_8_3_8_2_3,0.4", line)


@pytest.mark.skipif(not DATA.exists(), reason="needs the public block tables")
@pytest.mark.parametrize(("file", "rows"), [("pixel4_ln_v3", 800), ("xiaomi11_ln_v2", 1972)])
def test_published_tables(file, rows):
    table = read_nn_meter_blocks(DATA / f"{file}.csv.gz", "phone")
    assert len(table.pieces) == rows
    assert {row.block.kind for row in table.pieces} == {"conv", "mbconv"}
