"""Designs in few bytes: any of any space, with any dictionary, and small in a run file."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import architectures

from nas.records import Candidate, Success
from nas.store import FILE_NAME, RunStore
from nas.store.packing import Packer, dictionary_of
from search_spaces import SPACES

METRICS = {
    "score": 1 / 3, "latency_ms": 0.1, "latency_upper_ms": 0.2, "params": 3e6, "macs": 3e8, "depth": 50, "convs": 60,
    "peak_memory_bytes": 3e6,
}  # fmt: skip


def samples(name, count):
    rng = np.random.default_rng(0)
    return [SPACES[name].sample(rng) for _ in range(count)]


@settings(max_examples=50, deadline=None)
@given(arch=architectures(), first=architectures())
def test_a_design_is_unpacked_as_it_was(arch, first):
    for dictionary in ("", dictionary_of([first]), dictionary_of([first, arch])):
        packer = Packer(dictionary)
        assert packer.unpack(packer.pack(arch.to_json())) == arch.to_json()


@pytest.mark.parametrize("name", SPACES)
def test_designs_of_every_space_are_small(name):
    archs = samples(name, 120)
    packer = Packer(dictionary_of(archs[:20]))
    packed = [packer.pack(arch.to_json()) for arch in archs]
    assert [packer.unpack(each) for each in packed] == [arch.to_json() for arch in archs]
    assert np.mean([len(each) for each in packed[20:]]) < 100


def test_a_dictionary_fits_the_window_and_holds_no_text_twice():
    archs = samples("mobilenetv3-ofa", 50)
    text = dictionary_of([*archs[:1], *archs])
    assert text.startswith(archs[0].to_json())
    assert text.count(archs[0].to_json()) == 1
    assert len(archs[0].to_json()) <= len(text) < 4096
    assert dictionary_of([]) == ""


@pytest.mark.parametrize("name", ["zen-tiny", "autoformer-base"])
def test_a_run_file_grows_by_less_than_300_bytes_a_candidate(tmp_path, name):
    archs = samples(name, 1500)
    with RunStore.create(tmp_path / FILE_NAME, {}) as store:
        for i, arch in enumerate(archs):
            store.append([Success(Candidate(i, arch, i // 2, METRICS), METRICS)])
            if i % 64 == 0:
                store.commit()
    assert (tmp_path / FILE_NAME).stat().st_size / len(archs) < 300 / 1.5
