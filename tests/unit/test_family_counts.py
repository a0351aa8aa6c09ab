"""The authors' own counts are chosen by the family of a network."""

import numpy as np
import pytest

from hardware.compat_counts import compat_counts
from hardware.counts import count
from hardware.family_counts import family_counts
from hardware.tinynas_counts import tinynas_counts
from search_spaces import SPACES
from search_spaces.expand import expand

SHAPE = (3, 64, 64)
RULES = {
    "zen": "Zen-NAS",
    "genet": "Zen-NAS",
    "tinynas-quant": "TinyNAS",
    "autoformer-tiny": "AutoFormer",
    "nas-bench-201": "exact",
    "nas-bench-macro": "exact",
    "mobilenetv3-ofa": "exact",
    "resnet20-channels": "exact",
}


@pytest.mark.parametrize("name", RULES)
def test_every_family_has_its_rules(name):
    arch = SPACES[name].sample(np.random.default_rng(0))
    found = family_counts(arch, SHAPE, 10)
    assert found.rules == RULES[name]
    if found.rules == "exact":
        exact = count(arch, SHAPE, 10)
        assert found[1:] == (exact.params, exact.macs)
    elif found.rules == "Zen-NAS":
        compat = compat_counts(expand(arch, SHAPE, 10))
        assert found[1:] == (compat.params, compat.flops)
        assert compat.params != count(arch, SHAPE, 10).params
    elif found.rules == "TinyNAS":
        backbone = tinynas_counts(arch, SHAPE)
        assert found[1:] == (backbone.size, backbone.flops)
