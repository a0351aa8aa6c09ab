"""Architectures as JSON: exact round trip, stable digests, and one line for whatever is not one."""

import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import architectures

from search_spaces.arch import SCHEMA_VERSION, Architecture, Block, InvalidArchitecture

GOLDEN = Architecture(
    (
        Block("conv", 16, 3, 2),
        Block("zen_idw", 40, 5, 2, 3, inner=24, expansion=4, se=True),
        Block("genet_dw", 64, 3, 1, 2, inner=192),
        Block("conv", 128, kernel=1),
    )
)
GOLDEN_TEXT = (
    '{"blocks":[{"channels":16,"kind":"conv","stride":2},'
    '{"channels":40,"depth":3,"expansion":4,"inner":24,"kernel":5,"kind":"zen_idw","se":true,"stride":2},'
    '{"channels":64,"depth":2,"inner":192,"kind":"genet_dw"},{"channels":128,"kernel":1,"kind":"conv"}],"version":1}'
)
GOLDEN_DIGEST = "9f2813bf02016a57a81a"


def test_the_canonical_text_and_its_digest_never_change():
    """Run files name designs by digest: a release that changes one of these needs a new schema version."""
    assert GOLDEN.to_json() == GOLDEN_TEXT
    assert GOLDEN.digest == GOLDEN_DIGEST


@given(architectures(), st.randoms(use_true_random=False))
def test_a_design_survives_json_with_its_keys_in_any_order(arch, rng: random.Random):
    def shuffled(row):
        keys = list(row)
        rng.shuffle(keys)
        return {key: row[key] for key in keys}

    data = arch.to_dict()
    text = json.dumps(shuffled({**data, "blocks": [shuffled(row) for row in data["blocks"]]}), indent=1)
    back = Architecture.from_json(text)
    assert back == arch
    assert back.digest == arch.digest
    assert back.to_json() == arch.to_json()


@given(architectures(), architectures())
def test_digests_are_equal_exactly_for_equal_designs(a, b):
    assert (a.digest == b.digest) == (a == b)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["blocks", "version", "kind"]), inner),
    max_leaves=8,
)
fields = st.sampled_from(["kind", "channels", "kernel", "stride", "depth", "inner", "expansion", "se", "colour"])
rows = st.dictionaries(fields, st.one_of(st.sampled_from(["conv", "zen_xx"]), st.integers(-3, 99), values))
documents = st.one_of(
    values, st.fixed_dictionaries({"version": st.just(SCHEMA_VERSION), "blocks": st.lists(rows, max_size=3)})
)


def _read(data):
    try:
        return Architecture.from_dict(data)
    except InvalidArchitecture as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(documents)
@example({"version": True, "blocks": [{"kind": "conv", "channels": 8}]})
@example({"version": 1, "blocks": [{"kind": "conv", "channels": 8.0}]})
@example({"version": 1, "blocks": [{"kind": "conv", "channels": True}]})
@example({"version": 2, "blocks": []})
@example({"version": 1, "blocks": {}})
def test_any_document_is_an_architecture_or_one_line(data):
    arch = _read(data)
    if isinstance(arch, str):
        assert len(arch.splitlines()) == 1
        assert any(word in arch for word in ("expected", "reads", "missing"))
        return
    assert Architecture.from_json(arch.to_json()) == arch
    assert all(type(block.channels) is int and type(block.se) is bool for block in arch.blocks)


@given(st.text(max_size=40))
def test_any_text_is_refused_with_line_and_column_or_with_what_was_expected(text):
    with pytest.raises(InvalidArchitecture, match=r"line \d+ column \d+|expected"):
        Architecture.from_json(text)
