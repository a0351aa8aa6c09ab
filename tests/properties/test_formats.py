"""Readers of published structures: any text is read or refused in one line, and what is written reads back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SPACES
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.formats import FORMATS, format_of, read_published, write_published

MEMBERS = {name: space.sample(np.random.default_rng(0)) for name, space in SPACES.items()}
TEXTS = sorted({write_published(arch) for arch in MEMBERS.values() if write_published(arch) != arch.to_json()})
PUBLISHED_AS_TEXT = {"zen", "zen-imagenet", "zen-idw", "genet", "nas-bench-201", "autoformer-tiny", "tinynas-quant"}
few = settings(max_examples=60, deadline=None)


def read_or_refuse(text, read=read_published):
    """The architecture, checked; or None after a refusal in one line."""
    try:
        arch, in_channels = read(text)
    except InvalidArchitecture as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert len(message.splitlines()) == 1
        assert len(message) < 1_000
        return None
    assert in_channels >= 1
    for block in arch.blocks:
        check_block(block)
    assert Architecture.from_json(arch.to_json()) == arch
    return arch


@few
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    assert read_or_refuse(text) is None or format_of(text) is not None


@few
@given(st.data())
def test_a_damaged_structure_is_read_or_refused(data):
    text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    junk = data.draw(st.text("0123456789-.,(){}[]|+~:'\"eNaK \n", max_size=6))
    changed = text[:start] + junk + text[end:]
    assert read_or_refuse(changed) is None or format_of(changed) is not None


@few
@given(name=st.sampled_from(sorted(FORMATS)), text=st.text("0123456789-.,(){}[]|+~:'\"eNa ", max_size=40))
def test_every_reader_refuses_what_is_none_of_its_texts_in_one_line(name, text):
    arch = read_or_refuse(text, FORMATS[name].read)
    assert arch == read_or_refuse(text, FORMATS[name].read)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_written_of_a_member_reads_back(name):
    rng = np.random.default_rng(1)
    for _ in range(5):
        arch = SPACES[name].sample(rng)
        text = write_published(arch)
        if text == arch.to_json():
            assert name not in PUBLISHED_AS_TEXT
            assert Architecture.from_json(text) == arch
            continue
        assert format_of(text) is not None
        assert read_published(text)[0] == arch


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nesting_without_end_is_refused(depth):
    for opening in ("(", "[", "{", "[{'class':"):
        assert read_or_refuse(opening * depth) is None
