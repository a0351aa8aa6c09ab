"""Encoders: levels as features, mixtures between them, absence, paths of cells; frozen when fitted."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.encoders import ENCODERS
from predictors.reading import read, read_csv, schema_of
from predictors.saving import load, save

DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def fitted(encoder, data, **options):
    schema = schema_of(data)
    raw = read(schema, data)
    return ENCODERS[encoder](**options).fit(raw, schema), raw, schema


def features(encoder, raw):
    return pd.DataFrame(encoder.transform(raw), columns=encoder.names)


def table(n=40, seed=0):
    rng = np.random.default_rng(seed)
    kernel, expansion, width = (
        rng.choice([3, 5, 7], (n, 2)),
        rng.choice([3, 6], (n, 2)),
        rng.choice([8, 16, 64], (n, 2)),
    )
    columns = {
        f"block{i}_{name}": values[:, i]
        for i in (0, 1)
        for name, values in zip("kew", (kernel, expansion, width), strict=True)
    }
    return pd.DataFrame(columns | {"act": rng.choice(["relu", "swish"], n), "params": rng.lognormal(8, 1, n)})


def settings_of(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "ks": rng.choice([3, 5, 7], 4).tolist(),
            "e": rng.choice([3, 6], 4).tolist(),
            "d": rng.integers(1, 3, 2).tolist(),
        }
        for _ in range(n)
    ]


def cell(*ops):
    a, b, c, d, e, f = ops
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def cells(n=60, seed=0):
    rng = np.random.default_rng(seed)
    operations = ["none", "skip_connect", "conv_1x1", "conv_3x3", "max_pool"]
    return [cell(*rng.choice(operations, 6)) for _ in range(n)]


def test_one_hot_mixes_neighbours_and_tells_absence():
    encoder, raw, schema = fitted("one-hot", settings_of())
    at = schema.names.index("arch.ks[1]")
    rows = np.repeat(raw[:1], 5, axis=0)
    rows[:, at] = [3, 5, 7, 4, np.nan]
    found = features(encoder, rows)[[f"arch.ks[1]={k}" for k in (3, 5, 7)] + ["arch.ks[1] absent"]]
    assert found.to_numpy().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 1]]
    assert "arch.ks[0] absent" not in encoder.names


def test_ordinal_scales_values_and_keeps_symbols_apart():
    encoder, raw, _ = fitted("ordinal", table(), costs=False)
    found = features(encoder, raw)
    np.testing.assert_allclose(found["block0_k"], (table()["block0_k"] - 3) / 4)
    assert set(found["act=relu"]) == {0.0, 1.0}
    assert "params" not in encoder.names


def test_widths_are_logarithms_and_inverses_over_the_levels():
    encoder, raw, _ = fitted("widths", table())
    found = features(encoder, raw)
    logs, inverses = np.log2([8, 16, 64]), 1 / np.array([8, 16, 64])
    width = table()["block0_w"]
    np.testing.assert_allclose(found["log2 block0_w"], (np.log2(width) - logs.mean()) / logs.std())
    np.testing.assert_allclose(found["1 / block0_w"], (1 / width - inverses.mean()) / inverses.std())
    assert "block0_e=3" in encoder.names  # two levels say no more than one-hot does


def test_joint_has_each_design_of_a_block():
    encoder, raw, schema = fitted("joint", table())
    found = features(encoder, raw)
    place = {column.name: column.place for column in schema.columns}
    assert place["block0_k"] == place["block0_e"] == "block0"
    one = table()
    both = (one["block0_k"] == 3) & (one["block0_e"] == 6)
    np.testing.assert_array_equal(found["block0_k=3 & block0_e=6"], both)
    np.testing.assert_array_equal(found["block0_k=3 & block0_e=6 & block0_w=8"], both & (one["block0_w"] == 8))
    assert not any("block0" in name and "block1" in name for name in encoder.names)


def test_absent_blocks_have_no_design():
    encoder, raw, schema = fitted("joint", settings_of())
    found = features(encoder, raw)
    gone = np.isnan(raw[:, schema.names.index("arch.ks[1]")])
    designs = [name for name in encoder.names if name.startswith("arch.ks[1]=") and "&" in name]
    np.testing.assert_array_equal(found[designs].sum(axis=1), ~gone)


def test_costs_are_standard_logarithms_of_the_fitted_rows():
    schema = schema_of(table())
    raw = read(schema, table())
    encoder = ENCODERS["one-hot"]().fit(raw[:10], schema)
    logs = np.log(table()["params"])
    np.testing.assert_allclose(features(encoder, raw)["params"], (logs - logs[:10].mean()) / logs[:10].std(ddof=0))
    assert encoder.groups[-1] == -1
    lower = raw[:1].copy()
    lower[0, schema.names.index("params")] = -5.0
    assert np.isfinite(encoder.transform(lower)).all()


def test_groups_are_stages_where_the_table_has_them():
    encoder, _, _ = fitted("one-hot", settings_of())
    group = dict(zip(encoder.names, encoder.groups, strict=True))
    assert group["arch.ks[0]=3"] == group["arch.e[1]=6"] == group["arch.d[0]=1"] != group["arch.ks[2]=3"]
    blocks, _, _ = fitted("one-hot", table())
    group = dict(zip(blocks.names, blocks.groups, strict=True))
    assert group["block0_k=3"] == group["block0_e=3"] != group["block1_k=3"]


def test_dead_edges_and_skips_do_not_count_in_cells():
    encoder, _, schema = fitted("cells", cells())
    straight = ("none", "none", "none", "conv_3x3", "none", "none")
    dead = ("conv_1x1", "none", "none", "conv_3x3", "none", "max_pool")  # what leads nowhere
    around = ("skip_connect", "none", "none", "none", "conv_3x3", "none")
    nothing = ("none",) * 6
    raw = read(schema, [cell(*ops) for ops in (straight, dead, around, nothing)])
    found = features(encoder, raw)
    np.testing.assert_array_equal(found.loc[0], found.loc[1])
    paths = [name for name in encoder.names if name.startswith("path ")]
    assert [paths[i] for i in np.flatnonzero(found.loc[0, paths])] == ["path conv_3x3"]
    np.testing.assert_array_equal(found.loc[0, paths], found.loc[2, paths])
    assert (found.loc[3, paths] == 0).all()
    order = ["most conv_3x3", "most convolution", "live paths"]
    assert (found.loc[3, order] < found.loc[0, order]).all()


def test_paths_keep_the_order_of_operations():
    encoder, _, schema = fitted("cells", cells())
    rows = [
        cell("conv_3x3", "none", "none", "none", "max_pool", "none"),
        cell("max_pool", "none", "none", "none", "conv_3x3", "none"),
    ]
    found = features(encoder, read(schema, rows))
    assert found["path conv_3x3 > max_pool"].tolist() == [1, 0]
    assert found["path max_pool > conv_3x3"].tolist() == [0, 1]


def test_graphs_of_a_matrix_with_operations_on_vertices():
    # input -> a -> output and input -> output; then a graph of three operations in a row
    table = pd.DataFrame(
        {
            "adj": ["011001000", "0100000100000100000100000", "010001000", "0110000100000100000100000"] * 5,
            "ops": ["-1_0_-2", "-1_0_1_0_-2", "-1_1_-2", "-1_1_1_0_-2"] * 5,
        }
    )
    encoder, raw, schema = fitted("cells", table)
    assert schema.source["cells"][0]["vertices"]
    found = features(encoder, raw)
    paths = found[[name for name in encoder.names if name.startswith("path ")]]
    there = [sorted(paths.columns[row > 0]) for row in paths.head(4).to_numpy()]
    assert there == [
        ["path 0", "path straight"],
        ["path 0 > 1 > 0"],
        ["path 1"],
        ["path 1 > 0", "path 1 > 1 > 0"],
    ]


def test_numbers_alone_are_a_table_too():
    encoder, raw, _ = fitted("one-hot", np.random.default_rng(0).normal(3, 2, (20, 2)))
    np.testing.assert_allclose(encoder.transform(raw).std(axis=0), 1)
    assert encoder.groups.tolist() == [-1, -1]


@pytest.mark.parametrize("name", ENCODERS)
def test_files_keep_encoders_and_schemas(name, tmp_path):
    data = next(make() for make in (table, settings_of, cells) if ENCODERS[name].applies(schema_of(make())))
    encoder, raw, schema = fitted(name, data)
    save([encoder, schema], tmp_path / "predictor")
    again, same = load(tmp_path / "predictor")
    assert same == schema
    np.testing.assert_array_equal(again.transform(read(same, data)), encoder.transform(raw))


def test_encoders_say_where_they_apply():
    applies = {
        name: [kind.applies(schema_of(data)) for data in (table(), settings_of(), cells(), ["ab", "ba"] * 3)]
        for name, kind in ENCODERS.items()
    }
    assert applies["one-hot"][:3] == [True, True, True]
    assert applies["ordinal"][:3] == [True, True, False]
    assert applies["widths"][:3] == [True, True, False]
    assert applies["joint"][:3] == [True, True, False]
    assert applies["cells"][:3] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (name, make)
        for name, kind in ENCODERS.items()
        for make in (table, settings_of, cells)
        if kind.applies(schema_of(make()))
    ],
)
def test_features_are_finite_named_and_row_by_row(name, make):
    schema = schema_of(make())
    raw = read(schema, make())
    encoder = ENCODERS[name]().fit(raw[:15], schema)
    found = encoder.transform(raw)
    assert found.shape == (len(raw), len(encoder.names)) == (len(raw), len(encoder.groups))
    assert len(set(encoder.names)) == len(encoder.names)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(encoder.transform(raw[7:8])[0], found[7], atol=1e-12)
    assert len(encoder.transform(raw[:0])) == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([3.0, 4.0, 5.0, 6.5, 7.0]), min_size=1, max_size=20))
def test_hats_of_a_choice_sum_to_one(values):
    schema = schema_of(np.column_stack([np.tile([3, 5, 7], 10), np.tile([1, 2, 2], 10)]))
    encoder = ENCODERS["one-hot"]().fit(read(schema, np.array([[3.0, 1.0], [7.0, 2.0]])), schema)
    found = features(encoder, np.column_stack([values, np.ones(len(values))]))
    np.testing.assert_allclose(found[["x0=3", "x0=5", "x0=7"]].sum(axis=1), 1)
    np.testing.assert_allclose(found[["x0=3", "x0=5", "x0=7"]] @ [3, 5, 7], values)


def test_public_cells_of_one_accuracy_up_to_dead_edges():
    path = DATA / "nasbench201" / "nb201_cifar10.csv.gz"
    if not path.is_file():
        pytest.skip("no nasbench201 in NETWRIGHT_DATA or ../shared/data")
    cells_of = read_csv(path)
    encoder, raw, _ = fitted("cells", cells_of[["arch"]])
    found = encoder.transform(raw)
    _, which = np.unique(np.round(found, 9), axis=0, return_inverse=True)
    spread = cells_of["c10_test200_mean"].groupby(which.ravel()).agg(["std", "count"])
    assert spread["count"].max() > 100  # many cells that differ only in what is dead
    assert spread.loc[spread["count"] > 1, "std"].median() < 0.5 < cells_of["c10_test200_mean"].std()
