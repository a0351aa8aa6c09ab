"""TinyNAS's rows: both forms read the same, failures are counted, nonsense is refused by its line."""

import gzip

import pytest

from hardware.device_table import DeviceTable, InvalidTable
from hardware.importers.tinynas_rows import read_tinynas_rows
from hardware.kernels import Kernel

TEXT = """{Regular,32,64,14,14,64,3,1,0} 0.0258048
{Regular,128,3,480,480,160,7,2,1} -1
{Regular,1,64,14,14,128,1,2,1} 0.0121
{Depthwise,64,32,15,15,32,5,2,0} 0.03
"""
CSV = "type,batch,cin,h,w,cout,k,stride,elmt_fused,latency\n" + TEXT.replace("{", "").replace("} ", ",")


def write(tmp_path, text: str):
    path = tmp_path / "rows.out"
    path.write_text(text)
    return path


def test_both_forms_and_the_packed_one_are_the_same_table(tmp_path):
    table = read_tinynas_rows(write(tmp_path, TEXT), "v100", "fp32")
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    assert read_tinynas_rows(packed, "v100", "fp32") == table
    assert [row.kernel for row in table.kernels] == [
        Kernel("conv", (64, 14, 14), (64, 14, 14), 3, 1, 1, batch=32),
        Kernel("pointwise", (64, 14, 14), (128, 7, 7), 1, 2, 1, adds=True, batch=1),
        Kernel("depthwise", (32, 15, 15), (32, 8, 8), 5, 2, 32, batch=64),
    ]
    assert table.kernels[0].latency_ms == 0.0258048
    assert table.notes["failed_rows"] == 1
    assert DeviceTable.from_json(table.to_json()) == table


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{Regular,32,64,14,14,64,3,1} 0.02", r"rows.out, line 5: 9 values, expected 10: type, batch"),
        ("{Regular,32,64,14,x,64,3,1,0} 0.02", r"line 5: .* holds a text where a number was expected"),
        ("{Dense,32,64,14,14,64,3,1,0} 0.02", r"line 5: .* expected Regular or Depthwise"),
        ("{Regular,32,64,14,14,64,3,1,0} 0.02", r"rows.out, line 5: the same as line 1;"),
        ("{Regular,32,64,14,14,32,3,1,0} nan", r"rows.out, line 5: latency_ms=nan, expected a positive number"),
        ("{Regular,32,64,14,14,32,3,1,0} -2", r"rows.out, line 5: latency_ms=-2.0, expected a positive number"),
        ("{Depthwise,32,64,14,14,32,3,1,0} 1", r"line 5: groups=32 .*|line 5: kind='depthwise'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(InvalidTable, match=message):
        read_tinynas_rows(write(tmp_path, TEXT + line + "\n"), "v100", "fp32")


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(InvalidTable, match=r"absent.out: cannot be read"):
        read_tinynas_rows(tmp_path / "absent.out", "v100", "fp32")
