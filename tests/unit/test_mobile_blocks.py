"""Block tables of phones: their rows are our blocks, a published network sums to the rows of its keys."""

import json
import os
from pathlib import Path

import pytest
import yaml

from hardware.additive import additive_ms
from hardware.device_table import DeviceTable, InvalidTable, PieceRow
from hardware.importers.mobile_blocks import read_mobile_blocks
from search_spaces.arch import Architecture, Block

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "ofa_proxyless_lut"
KEY = "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:5-stride:2-idskip:0"
YAML = f"""Conv-input:224x224x3-output:112x112x32:
  count: 982
  mean: 4.08
  var: 0.25
{KEY}:
  count: 164
  mean: 6.24
  var: 0.07
Logits-input:7x7x1280-output:1000:
  count: 982
  mean: 0.309
  var: 0.05
"""
CSV = """res,op,mean_ms,std_ms,count
160,AvgPool2D-input:5x5x1152-output:1x1x1152,0.008,0.0006,491
160,Conv_2-input:1x1x1152-output:1x1x1536,0.74,0.09,100
176,Conv_2-input:1x1x1152-output:1x1x1536,0.76,0.09,300
160,Logits-input:1x1x1536-output:1000,0.65,0.07,499
160,expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1,0.87,0.01,100
160,expanded_conv-input:10x10x136-output:10x10x136-expand:412-kernel:3-stride:1-idskip:1-se:1-hs:1,0.87,0.01,100
160,expanded_conv-input:10x10x96-output:10x10x96-expand:288-kernel:3-stride:1-idskip:0-se:0-hs:0,0.5,0.01,100
"""


def write(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_keys_become_blocks(tmp_path):
    table = read_mobile_blocks(write(tmp_path, "pixel.yaml", YAML), "pixel1")
    assert table.pieces == (
        PieceRow(Block("conv", 32, 3, 2, act="relu6"), (3, 224, 224), True, 1, None, 4.08),
        PieceRow(Block("mbconv", 24, 5, 2, expansion=3, act="relu6"), (16, 112, 112), True, 1, None, 6.24),
        PieceRow(None, (1280, 7, 7), True, 1, 1000, 0.309),
    )
    assert DeviceTable.from_json(table.to_json()) == table


def test_hidden_widths_gates_and_pooled_convolutions(tmp_path):
    table = read_mobile_blocks(write(tmp_path, "note.csv", CSV), "note10")
    found = {row.block: row for row in table.pieces}
    gated = Block("mbconv", 136, 3, 1, expansion=3, se=True, act="hard_swish")
    pooled = Block("pooled_conv", 1536, 1, act="hard_swish")
    assert set(found) == {None, gated, pooled}
    assert found[pooled].latency_ms == pytest.approx(0.008 + (0.74 * 100 + 0.76 * 300) / 400)
    assert table.notes["uncovered"] == {
        "hidden width that is no whole multiple of the input's": 1,
        "inverted residual without its addition": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YAML.replace("mean: 6.24", "mean: -6.24"), r"pixel.yaml, line 5: .* has -6.24 ms, expected a positive number"),
        (YAML.replace("mean: 6.24", "mean: fast"), r"pixel.yaml, line 7: ' fast', expected a number"),
        (YAML.replace("output:56x56", "output:57x57"), r"line 5: .* has output 56x56x24 by its stride"),
        (YAML.replace("input:112x112x16", "input:112"), r"line 5: .* expected operation-input:HxWxC"),
        (YAML.replace("mean: 6.24", "mean: 6.24e9"), r"pixel.yaml, line 5: 6.24e\+09 ms .* slower than any device"),
    ],
)
def test_bad_rows_are_named(tmp_path, text, message):
    with pytest.raises(InvalidTable, match=message):
        read_mobile_blocks(write(tmp_path, "pixel.yaml", text), "pixel1")


def published(file: str, widths: dict[int, int]) -> tuple[Architecture, list[str]]:
    """The network of a ProxylessNAS configuration, some widths replaced, and the table's own keys of its rows."""
    config = json.loads((DATA / file).read_text())
    stem, mix = config["first_conv"]["out_channels"], config["feature_mix_layer"]["out_channels"]
    blocks, side, width = [Block("conv", stem, 3, 2, act="relu6")], 112, stem
    keys = [f"Conv-input:224x224x3-output:112x112x{stem}"]
    for unit in config["blocks"]:
        conv = unit["mobile_inverted_conv"]
        if conv["name"] == "ZeroLayer":
            continue
        out, k, stride, expand = (conv[name] for name in ("out_channels", "kernel_size", "stride", "expand_ratio"))
        out = widths.get(out, out)
        blocks.append(Block("mbconv", out, k, stride, expansion=expand, act="relu6"))
        sizes = f"input:{side}x{side}x{width}-output:{side // stride}x{side // stride}x{out}"
        skip = int(unit["shortcut"] is not None)
        keys.append(f"expanded_conv-{sizes}-expand:{expand}-kernel:{k}-stride:{stride}-idskip:{skip}")
        side, width = side // stride, out
    keys += [f"Conv_1-input:7x7x{width}-output:7x7x{mix}", f"Logits-input:7x7x{mix}-output:1000"]
    return Architecture((*blocks, Block("conv", mix, 1, act="relu6"))), keys


@pytest.mark.skipif(not DATA.exists(), reason="set NETWRIGHT_DATA to the folder with ofa_proxyless_lut")
def test_a_published_network_sums_to_the_rows_of_its_own_keys():
    file = DATA / "proxyless_pixel1_lut.yaml"
    table, rows = read_mobile_blocks(file, "pixel1"), yaml.safe_load(file.read_text())
    arch, keys = published("proxyless_mobile.config.json", {32: 24})  # widened from 24 after the search
    found = additive_ms(table, arch, (3, 224, 224), 1000)
    assert found.uncovered == ()
    assert found.latency_ms == pytest.approx(sum(rows[key]["mean"] for key in keys), rel=1e-12)
    assert found.latency_ms == pytest.approx(82.52, abs=0.01)  # published: 78 ms measured whole
    other = additive_ms(table, published("proxyless_cpu.config.json", {})[0], (3, 224, 224), 1000)
    assert "blocks[0] conv on 3x224x224" in other.uncovered


@pytest.mark.skipif(not DATA.exists(), reason="set NETWRIGHT_DATA to the folder with ofa_proxyless_lut")
def test_every_block_of_once_for_all_on_a_phone_is_one_of_ours():
    table = read_mobile_blocks(DATA / "ofa_note10_lut.csv.gz", "note10")
    assert table.notes["uncovered"] == {}
    assert len(table.pieces) > 400
