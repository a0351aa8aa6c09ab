"""Tables of networks: what their columns mean, rows as numbers, and one clear line for what cannot be read."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.reading import read, read_csv, schema_of
from predictors.schema import InvalidTable, UnseenChoice
from search_spaces import SPACES
from search_spaces.formats import write_published

DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))
CELLS = [
    f"|{a}~0|+|{b}~0|{a}~1|+|{c}~0|{b}~1|{a}~2|"
    for a in ("none", "conv_3x3", "skip")
    for b in ("none", "conv_3x3")
    for c in ("none", "skip")
]


def columns(schema, kind):
    return [schema.columns[at].name for at in schema.of_kind(kind)]


def table_of(path, labels):
    if not (DATA / path).is_file():
        pytest.skip(f"no {path} in NETWRIGHT_DATA or ../shared/data")
    table = read_csv(DATA / path)
    return table.drop(columns=[name for name in table if any(label in name for label in labels)])


def ofa(ks, d):
    return str({"wid": None, "ks": ks, "e": [3] * len(ks), "d": d})


PUBLIC = [
    (
        "accel_nasbench/accel_nasbench_80.csv.gz",
        ("val_", "train_time", "throughput", "latency"),
        [f"block{i}_{part}" for i in range(7) for part in ("e", "k", "l", "se")],
        ["macs", "params"],
        {"id"},
    ),
    ("cifar100_resnet20_channels/resnet20_channels_600.csv.gz", ("accuracy",), 20, [], set()),
    ("cvpr2021_track2/trained_31.csv.gz", ("accuracy",), 16, [], set()),
    ("cvpr2021_track2/weak_200.csv.gz", ("accuracy",), 16, [], set()),
    ("cvpr2022_track2_vit/vit_ranks_350.csv.gz", ("rank",), 37, [], set()),
    ("nas_bench_macro/nas_bench_macro_cifar10.csv.gz", ("acc", "std"), 8, ["params", "flops"], set()),
    (
        "nasbench201/nb201_cifar10.csv.gz",
        ("test", "train", "val", "naswot"),
        ["arch[1<-0]", "arch[2<-0]", "arch[2<-1]", "arch[3<-0]", "arch[3<-1]", "arch[3<-2]"],
        ["c10_params_mb", "c10_latency_s"],
        {"idx"},
    ),
    (
        "nb_suite_zero/nb201_cifar10_zc.csv.gz",
        ("val_accuracy", "synflow", "nwot"),
        6,
        ["flops", "params"],
        {"task", "idx"},
    ),
    (
        "nasbench101_sample/nb101_1k_cells.csv.gz",
        ("val_", "time"),
        ["n", *(f"adj[{i},{j}]" for i in range(7) for j in range(i + 1, 7)), *(f"ops[{i}]" for i in range(1, 6))],
        ["params"],
        {"hash", "ops[0]", "ops[6]"},
    ),
    (
        "ofa_mbv3_accuracy/evounsga3_acc_macs_params.csv.gz",
        ("Acc",),
        [
            *(f"Sub-network.{key}[{i}]" for key in ("ks", "e") for i in range(20)),
            *(f"Sub-network.d[{i}]" for i in range(5)),
        ],
        ["Model Parameters", "MACs"],
        {"Date", "Latency (ms)", "Sub-network.wid", "Sub-network.r[0]"},
    ),
]


@pytest.mark.parametrize(("path", "labels", "choices", "costs", "dropped"), PUBLIC, ids=[row[0] for row in PUBLIC])
def test_public_tables_are_read_with_the_columns_that_they_have(path, labels, choices, costs, dropped):
    table = table_of(path, labels)
    schema = schema_of(table)
    expected = [f"arch[{i}]" for i in range(choices)] if isinstance(choices, int) else choices
    assert columns(schema, "choice") == expected
    assert columns(schema, "cost") == costs
    assert set(schema.source["dropped"]) == dropped
    matrix = read(schema, table)
    assert matrix.shape == (len(table), len(schema.columns))
    some = table.iloc[[7, 3]].reset_index(drop=True)
    np.testing.assert_array_equal(read(schema, some), matrix[[7, 3]])


def test_once_for_all_positions_beyond_the_depth_do_not_exist():
    table = table_of("ofa_mbv3_accuracy/evoga_acc.csv.gz", ("Acc",))
    schema = schema_of(table)
    matrix = pd.DataFrame(read(schema, table), columns=schema.names)
    for stage in range(5):
        depth = matrix[f"Sub-network.d[{stage}]"]
        for block in range(4):
            for key in ("ks", "e"):
                there = matrix[f"Sub-network.{key}[{4 * stage + block}]"].notna()
                np.testing.assert_array_equal(there, depth > block)
    by_name = {column.name: column for column in schema.columns}
    assert by_name["Sub-network.ks[7]"].place == by_name["Sub-network.e[7]"].place != by_name["Sub-network.e[6]"].place
    assert by_name["Sub-network.ks[7]"].stage == by_name["Sub-network.d[1]"].stage != by_name["Sub-network.d[2]"].stage
    assert by_name["Sub-network.ks[7]"].optional
    assert not by_name["Sub-network.ks[5]"].optional


def test_numeric_proxies_stay_numbers_and_infinite_ones_are_refused():
    table = table_of("nb_suite_zero/nb201_cifar10_zc.csv.gz", ("val_accuracy", "synflow"))
    schema = schema_of(table)
    assert {"nwot", "snip", "jacov"} <= set(columns(schema, "number"))
    with pytest.raises(InvalidTable, match="column 'nwot', row 355: -inf, expected a finite number"):
        read(schema, table)


def test_macro_codes_keep_their_zeros_in_files_and_are_found_among_numbers(tmp_path):
    codes = [f"{a}{b}{c}{d}" for a in "012" for b in "012" for c in "012" for d in "012"]
    file = tmp_path / "codes.csv"
    pd.DataFrame({"arch": codes, "params": range(7, 7 + 3 * len(codes), 3)}).to_csv(file, index=False)
    table = read_csv(file)
    assert table["arch"].tolist() == codes
    schema = schema_of(table)
    as_numbers = table.assign(arch=table["arch"].astype(int))
    np.testing.assert_array_equal(read(schema, table), read(schema, as_numbers))
    again = schema_of(as_numbers)
    found = pd.DataFrame(read(again, as_numbers), columns=again.names)
    assert ["".join(str(int(v)) for v in found.loc[5, [f"arch[{i}]" for i in range(4)]])] == [codes[5]]
    assert columns(again, "cost") == ["params"]


@pytest.mark.parametrize(
    ("texts", "names", "levels"),
    [
        (["4-8-16", "8-8-4", "4-16-8"], ["arch[0]", "arch[1]", "arch[2]"], (4.0, 8.0, 16.0)),
        (["1_0_-1", "0_2_2", "1_1_0"], ["arch[0]", "arch[1]", "arch[2]"], (-1.0, 0.0, 1.0, 2.0)),
        (["(0, 2)", "(1, 2)", "(2, 0)"], ["arch[0]", "arch[1]"], (0.0, 1.0, 2.0)),
        (["[3,5]", "[5,3]", "[5,5]"], ["arch[0]", "arch[1]"], (3.0, 5.0)),
        (["a1ba", "b1aa", "aab1"], ["arch[0]", "arch[1]", "arch[2]", "arch[3]"], ("1", "a", "b")),
        (["conv-skip-conv", "skip-skip-conv"], ["arch[0]", "arch[1]", "arch[2]"], ("conv", "skip")),
    ],
)
def test_one_structure_text(texts, names, levels):
    schema = schema_of(texts)
    assert [name for name in names if name not in schema.source["dropped"]] == schema.names
    assert {column.levels for column in schema.columns} == {levels}
    matrix = read(schema, texts)
    column = schema.columns[0]
    first = column.levels[int(matrix[0, 0])] if not column.ordered else matrix[0, 0]
    assert str(first).rstrip("0").rstrip(".") in texts[0]


def test_shorter_lists_lack_their_last_positions():
    texts = ["3-5", "3-5-7", "5-5-3", "5-3", "7-3-3", "7-7"] * 3
    schema = schema_of(texts)
    assert np.isnan(read(schema, texts)[:, 2]).tolist() == [text.count("-") == 1 for text in texts]
    with pytest.raises(InvalidTable, match=r"row 0: has \[3\], which no network of the fitted table has"):
        read(schema, ["3-5-7-3"])
    with pytest.raises(InvalidTable, match="row 4: 2 positions, all other rows have 3"):
        schema_of(["3-5-7"] * 4 + ["3-5"] + ["5-5-7"] * 10)


def test_depths_in_a_column_of_their_own_decide_like_those_in_a_dictionary():
    rng = np.random.default_rng(0)
    depth = rng.integers(1, 4, (40, 2))
    kernel = rng.choice([3, 5], (40, 6))
    table = pd.DataFrame(
        {"k": ["_".join(map(str, row)) for row in kernel], "depth": ["_".join(map(str, row)) for row in depth]}
    )
    matrix = read(schema_of(table), table)
    np.testing.assert_array_equal(np.isnan(matrix[:, :6]), np.tile([0, 1, 2], 2) >= np.repeat(depth, 3, axis=1))


def test_cells_are_graphs_whatever_they_are_called():
    schema = schema_of(CELLS)
    assert schema.names == [f"arch[{t}<-{s}]" for t in (1, 2, 3) for s in range(t)]
    assert [edge[:2] for edge in schema.source["cells"][0]["edges"]] == [[s, t] for t in (1, 2, 3) for s in range(t)]
    with pytest.raises(UnseenChoice, match=r"column 'arch\[1<-0\]': pool was in no network .* none, skip"):
        read(schema, [CELLS[0].replace("none~0", "pool~0", 1)])
    with pytest.raises(InvalidTable, match=r"row 0: .* expected a cell such as"):
        read(schema, ["conv_3x3"])


def test_columns_of_a_table_by_their_values_and_names():
    rng = np.random.default_rng(1)
    n = 60
    table = pd.DataFrame(
        {
            "id": range(n),
            "uuid": [f"{i:032x}" for i in rng.integers(1 << 60, size=n)],
            "created": [f"2024-01-{i % 28 + 1:02d} 10:00" for i in range(n)],
            "task": "cifar",
            "block0_k": rng.choice([3, 5], n),
            "block0_op": pd.Categorical(rng.choice(["conv", "pool"], n)),
            "block1_k": rng.choice([5, 7], n),
            "block1_op": rng.choice(["pool", "skip"], n),
            "wide": rng.random(n) < 0.5,
            "snip": rng.normal(size=n),
            "model_size_kb": rng.integers(100, 10_000, n),
            "kernel_size": rng.choice([1, 3], n),
            "Latency (ms)": 0.0,
        }
    )
    schema = schema_of(table)
    assert set(schema.source["dropped"]) == {"id", "uuid", "created", "task", "Latency (ms)"}
    assert columns(schema, "cost") == ["model_size_kb"]
    assert columns(schema, "number") == ["snip"]
    by_name = {column.name: column for column in schema.columns}
    assert by_name["block0_k"].levels == by_name["block1_k"].levels == (3.0, 5.0, 7.0)
    assert by_name["block0_op"].levels == by_name["block1_op"].levels == ("conv", "pool", "skip")
    assert by_name["block0_k"].place == by_name["block0_op"].place == "block0"
    assert by_name["kernel_size"].kind == by_name["wide"].kind == "choice"
    assert read(schema, table)[0, schema.names.index("block1_k")] == table["block1_k"][0]
    assert columns(schema_of(table, costs=["snip"]), "cost") == ["snip"]
    with pytest.raises(InvalidTable, match="costs: 'size' is no column"):
        schema_of(table, costs=["size"])


def test_arrays_share_levels_where_one_alphabet_serves_all():
    rng = np.random.default_rng(2)
    codes = rng.integers(1, 7, (40, 5))
    assert {column.levels for column in schema_of(codes).columns} == {tuple(map(float, range(1, 7)))}
    mixed = np.column_stack([rng.choice([3, 5], 40), rng.choice([16, 24, 32], 40), rng.normal(size=40)])
    schema = schema_of(mixed)
    assert [column.levels for column in schema.columns] == [(3.0, 5.0), (16.0, 24.0, 32.0), ()]
    assert read(schema, [[3.0, 20.0, 0.5]]).tolist() == [[3.0, 20.0, 0.5]]
    with pytest.raises(
        UnseenChoice, match="column 'x1': 48 was in no network of the fitted table, known are 16, 24, 32"
    ):
        read(schema, [[3.0, 48.0, 0.5]])


@pytest.mark.parametrize("name", ["mobilenetv3-ofa", "nas-bench-201", "nas-bench-macro"])
def test_architectures_of_a_space_have_its_knobs(name):
    space = SPACES[name]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(12)]
    schema = schema_of(archs[:6], space=space)
    assert schema.names == [knob.name for knob in space.knobs if len(knob.choices) > 1]
    matrix = read(schema, archs)
    np.testing.assert_array_equal(matrix, read(schema, archs, space=space))
    for column, knob in zip(schema.columns, space.knobs, strict=False):
        assert len(column.levels) == len(knob.choices)
    if name == "mobilenetv3-ofa":
        depth = matrix[:, schema.names.index("2.depth")]
        np.testing.assert_array_equal(~np.isnan(matrix[:, schema.names.index("2.4.kernel")]), depth > 3)
        assert {column.stage for column in schema.columns} == set("12345")
    stranger = SPACES["vit-tiny"].sample(rng)
    with pytest.raises(InvalidTable, match="networks, row 0: "):
        read(schema, [stranger])


def test_spaces_without_knobs_are_read_by_their_encoding():
    space = SPACES["zen-tiny"]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(20)]
    schema = schema_of(archs[:5], space=space)
    assert {column.kind for column in schema.columns} == {"number"}
    kept = [int(name[7:-1]) for name in schema.names]
    np.testing.assert_array_equal(read(schema, archs), [space.encode(arch)[kept] for arch in archs])
    with pytest.raises(InvalidTable, match="expected a list of architectures"):
        schema_of(["3-5"], space=space)


def test_architectures_without_a_space_have_their_blocks():
    space = SPACES["nas-bench-201"]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(30)]
    schema = schema_of(archs)
    assert [name.split(".ops")[1] for name in schema.names] == [f"[{t}<-{s}]" for t in (1, 2, 3) for s in range(t)]
    texts = [arch.to_json() for arch in archs]
    np.testing.assert_array_equal(read(schema_of(texts), texts), read(schema, archs))


def test_published_structure_texts_become_fields_of_blocks():
    space = SPACES["zen"]
    rng = np.random.default_rng(0)
    arch, texts = space.sample(rng), []
    for _ in range(20):
        arch = space.mutate(arch, rng)
        texts.append(write_published(arch))
    schema = schema_of(pd.DataFrame({"structure": texts}))
    assert any(name.endswith(".channels") for name in schema.names)
    assert all(column.place and column.stage for column in schema.columns)


def test_lists_of_settings():
    rng = np.random.default_rng(3)
    rows = [{"ks": rng.choice([3, 5, 7], 4).tolist(), "d": rng.integers(1, 3, 2).tolist()} for _ in range(20)]
    schema = schema_of(rows)
    matrix = read(schema, rows)
    np.testing.assert_array_equal(matrix, read(schema_of(list(map(str, rows))), [str(row) for row in rows]))
    assert np.isnan(matrix[:, 1]).tolist() == [row["d"][0] == 1 for row in rows]
    with pytest.raises(InvalidTable, match="row 0: has w, which no network"):
        read(schema, [rows[0] | {"w": 1}])


NUMBERS = np.column_stack([np.tile([3, 5], 10), np.linspace(0, 1, 20)])
FRAME = pd.DataFrame(NUMBERS, columns=["k", "proxy"])


@pytest.mark.parametrize(
    ("fitted", "rows", "message"),
    [
        (NUMBERS, NUMBERS[:, :1], "1 columns, the fitted table has 2"),
        (NUMBERS, [[3, np.nan]], "column 'x1', row 0: nan, expected a finite number"),
        (NUMBERS, [[3, 0.5], [np.nan, 0.5]], "column 'x0', row 1: nothing there"),
        (NUMBERS, [[3, np.inf]], "column 'x1', row 0: inf, expected a finite number"),
        (NUMBERS, np.empty((0, 2)), r"array of shape \(0, 2\)"),
        (NUMBERS, [], "no rows"),
        (NUMBERS, FRAME, "got a table with named columns, the fitted ones were an array of numbers"),
        (NUMBERS, [[3, 1], [3]], "rows of different lengths"),
        (FRAME, FRAME[["k"]], "no column 'proxy'"),
        (FRAME, FRAME.assign(more=1), "column 'more' was not in the fitted table"),
        (FRAME, FRAME.assign(proxy="high"), "column 'proxy': got the text 'high', expected numbers"),
        (FRAME, FRAME.iloc[:0], "0 rows and 2 columns"),
        (FRAME, FRAME.set_axis(["k", "k"], axis=1), "2 columns are named 'k'"),
        (["3-5", "5-3"], ["3-5-7"], "row 0: has"),
        (["3-5", "5-3"], ["3-"], "row 0: '3-' has an empty position"),
        (["3-5", "5-3"], "3-5", "got one str, expected a list"),
        (["3-5", "5-3"], ["3-5", 4], "row 1: got int, expected str"),
        (["aab", "bba"], ["aabb"], "row 0: 'aabb', expected a code of 3 characters"),
        ([ofa([3, 5], [1, 2]), ofa([5, 3], [2, 1])], ["{"], "row 0: '{', expected a dictionary"),
    ],
)
def test_rows_that_do_not_fit_the_schema(fitted, rows, message):
    schema = schema_of(fitted)
    with pytest.raises(InvalidTable, match=message) as caught:
        read(schema, rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.ones((5, 2)), "no column says anything"),
        (np.ones(5), r"array of shape \(5,\)"),
        (["a b", "these words", "hardly repeat"], "no column says anything"),
        (CELLS * 2 + ["conv-conv"], "expected a cell such as"),
        (pd.DataFrame({"arch": ["3-5", None, "5-5"]}), "column 'arch', row 1: nothing there"),
        (3, "got int"),
    ],
)
def test_tables_that_cannot_be_read(table, message):
    with pytest.raises(InvalidTable, match=message):
        schema_of(table)


def test_few_rows_of_names():
    acts = ["relu", "gelu", "silu", "tanh", "mish", "relu", "gelu", "silu", "tanh"]
    table = pd.DataFrame({"act": acts, "k": [3, 5, 7] * 3})
    schema = schema_of(table)
    assert schema.columns[1].levels == ("gelu", "mish", "relu", "silu", "tanh")
    assert read(schema, table)[2].tolist() == [7, 3]


def test_what_never_changed_may_not_change_later():
    table = FRAME.assign(task="cifar", image=32)
    schema = schema_of(table)
    assert read(schema, FRAME).shape == (20, 2)
    with pytest.raises(UnseenChoice, match="'task': digits was in no network"):
        read(schema, table.assign(task="digits"))
    with pytest.raises(UnseenChoice, match="'image': 64 was in no network"):
        read(schema, table.assign(image=64))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "empty"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "2 columns are named 'a'"),
        ("a,b\n1,2\n1,2,3\n", "not a table of text"),
    ],
)
def test_files_that_are_no_table(tmp_path, text, message):
    file = tmp_path / "table.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidTable, match=message):
        read_csv(file)


def test_files_by_their_ending(tmp_path):
    (tmp_path / "a.tsv").write_text("code\tx\n007\t1.5\n010\t\n")
    table = read_csv(tmp_path / "a.tsv")
    assert table["code"].tolist() == ["007", "010"]
    assert table["x"].isna().tolist() == [False, True]
    with pytest.raises(InvalidTable, match="expected a name that ends with"):
        read_csv(tmp_path / "a.xlsx")
    (tmp_path / "b.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(InvalidTable, match="not a table of text"):
        read_csv(tmp_path / "b.csv.gz")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_are_read_one_by_one_whatever_their_order(data):
    n = data.draw(st.integers(12, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    lists = ["-".join(map(str, rng.choice([4, 8, 12], 3))) for _ in range(n)]
    codes = ["".join(rng.choice(list("abc"), 4)) for _ in range(n)]
    cells = [CELLS[i] for i in rng.integers(len(CELLS), size=n)]
    table = pd.DataFrame({"lists": lists, "codes": codes, "cells": cells, "number": rng.normal(size=n)})
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8))
    schema = schema_of(table)
    np.testing.assert_array_equal(read(schema, table.iloc[rows].reset_index(drop=True)), read(schema, table)[rows])
