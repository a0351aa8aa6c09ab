"""Energy from a user's table: the sum by hand, and clear words about what is wrong with a table."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hardware.energy import EnergyTable, InvalidEnergyTable, OpCost, read_energy_table
from nas.cli.score import score
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand

EXAMPLE = Path(__file__).parents[2] / "examples" / "energy_table.yaml"
SHAPE = (8, 4, 4)
LAYERS = expand(Architecture((Block("conv", 16, 3), Block("conv", 8, 1))), SHAPE)


def test_energy_is_the_sum_over_kernels_of_work_and_bytes():
    table = EnergyTable("mine", {"conv": OpCost(2.0, 1.0), "default": OpCost(3.0, 0.5)}, scalar_bytes=2)
    conv = 2.0 * (16 * 8 * 9 * 16) + 1.0 * 2 * (8 * 16 + 16 * 16 + 16 * (8 * 9 + 1))
    pointwise = 3.0 * (16 * 8 * 16) + 0.5 * 2 * (16 * 16 + 8 * 16 + 8 * 17)
    assert table.energy_uj(LAYERS) == pytest.approx(1e-6 * (conv + pointwise))
    assert table.energy_uj(LAYERS, batch=8) < 8 * table.energy_uj(LAYERS)  # weights are read once


def test_a_kind_without_a_row_is_named():
    with pytest.raises(InvalidEnergyTable, match="mine: no row for 'pointwise'; add one, or one for default"):
        EnergyTable("mine", {"conv": OpCost(1, 1)}).energy_uj(LAYERS)


def test_yaml_and_csv_say_the_same(tmp_path):
    rows = "op,pj_per_mac,pj_per_byte\ndefault,4.6,2.5\n"
    (tmp_path / "table.csv").write_text(rows)
    assert read_energy_table(tmp_path / "table.csv").costs == read_energy_table(EXAMPLE).costs
    (tmp_path / "table.csv").write_text(rows, encoding="utf-8-sig")
    assert read_energy_table(tmp_path / "table.csv").costs == read_energy_table(EXAMPLE).costs
    assert "Horowitz" in read_energy_table(EXAMPLE).source


WRONG = {
    "op,pj_per_mac,pj_per_byte\nconvolution,1,1\n": "row 1: op='convolution' is no kind of kernel",
    "op,pj_per_mac,pj_per_byte\ndepthwize,1,1\n": "did you mean 'depthwise'",
    "op,pj_per_mac,pj_per_byte\nconv,1,1\nconv,2,2\n": "row 2: a second row for 'conv'; keep one",
    "op,pj_per_mac,pj_per_byte\nconv,-1,1\n": "row 1: pj_per_mac='-1', expected a number of picojoules",
    "op,pj_per_mac,pj_per_byte\nconv,1,nan\n": "pj_per_byte='nan', expected a number of picojoules",
    "op,pj_per_mac,pj_per_byte\nconv,4e-12,1\n": "pj_per_mac=4e-12 pJ is beyond what chips take .* another unit",
    "op,pj_per_mac,pj_per_byte\n": "no rows, expected at least one for default",
    "op,joules\nconv,1\n": r"columns \['op', 'joules'\], expected op, pj_per_mac, pj_per_byte",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_csv_is_refused_with_its_row(text, message, tmp_path):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InvalidEnergyTable, match=message):
        read_energy_table(tmp_path / "table.csv")


def test_a_binary_csv_is_refused_in_a_line(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"\xd4\x00")
    with pytest.raises(InvalidEnergyTable, match=r"table.csv: cannot be read .*expected text, op, pj_per_mac"):
        read_energy_table(tmp_path / "table.csv")


WRONG_YAML = {
    "rows: 3": "rows=3, expected a list of rows",
    "rows: []": "no rows",
    "costs: []": "unknown key 'costs', expected name, source, scalar_bytes, rows",
    "scalar_bytes: 3\nrows: []": "scalar_bytes=3, expected 1, 2 or 4",
    "rows: [{op: conv, pj_per_mac: true, pj_per_byte: 1}]": "row 1: pj_per_mac=True",
    "rows: [{op: conv, pj_per_mac: 1}]": "row 1: has op, pj_per_mac, expected op, pj_per_mac, pj_per_byte",
    "{": "not YAML",
    "text": "holds a str",
}


@pytest.mark.parametrize(("text", "message"), WRONG_YAML.items(), ids=range(len(WRONG_YAML)))
def test_wrong_yaml_is_refused(text, message, tmp_path):
    (tmp_path / "table.yaml").write_text(text)
    with pytest.raises(InvalidEnergyTable, match=message) as refused:
        read_energy_table(tmp_path / "table.yaml")
    assert "\n" not in str(refused.value)


def test_score_adds_the_estimate_under_a_name_that_says_so():
    spec = "SuperConvK3BNRELU(3,8,1,1)SuperConvK1BNRELU(8,16,1,1)"
    args = [spec, "--resolution", "8", "--json"]
    plain = json.loads(CliRunner().invoke(score, args).output)
    known = json.loads(CliRunner().invoke(score, [*args, "--energy", str(EXAMPLE)]).output)
    assert "energy_uj_estimate" not in plain
    assert 4.6e-6 * known["macs"] < known["energy_uj_estimate"] < 40e-6 * known["macs"]
