"""Every space with every zero-shot score: a finite number, the same again, or one line that says why not."""

import math

import numpy as np
import pytest
import torch

from hardware.counts import count
from nas.objective import CLOSED_FORM, SCORES, Objective
from predictors.proxies import ProxyFailed
from search_spaces import SPACES

SHAPE = (3, 32, 32)
QUICK_MACS = 3_000_000  # of a member whose forward and backward passes cost well below a second
NO_CHAIN = {"zen", "mad", "mad_multiscale", "deepmad", "qe"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def _lightest(space):
    rng = np.random.default_rng(0)
    return min((space.sample(rng) for _ in range(30)), key=lambda arch: count(arch, SHAPE, 10).macs)


MEMBERS = {name: _lightest(space) for name, space in SPACES.items()}
QUICK = [name for name, arch in MEMBERS.items() if count(arch, SHAPE, 10).macs <= QUICK_MACS]


def _score(space, score):
    """The value, or None after a refusal in one line."""
    try:
        return Objective(score, SHAPE, seed=3).scorer()(MEMBERS[space], 3)
    except ProxyFailed as error:
        reason = str(error)
    assert len(reason.splitlines()) == 1
    assert len(reason.split()) >= 6
    return None


def _check(space, score):
    value = _score(space, score)
    if value is not None:
        assert type(value) is float
        assert math.isfinite(value)
    assert _score(space, score) == value
    return value


@pytest.mark.parametrize("score", [*CLOSED_FORM, "qe"])
@pytest.mark.parametrize("space", SPACES)
def test_a_closed_form_is_finite_or_says_why_not(space, score):
    value = _check(space, score)
    if score == "qe":
        assert (value is not None) == space.startswith("tinynas-quant")
    elif space.startswith(("zen", "genet", "tinynas")) and score in ("zen", "mad"):
        assert value is not None


@pytest.mark.parametrize("score", [score for score in SCORES if score not in NO_CHAIN])
@pytest.mark.parametrize("space", [*(pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in SPACES)])
def test_a_score_with_random_weights_is_finite_or_says_why_not(space, score):
    value = _check(space, score)
    transformer = space.startswith(("autoformer", "vit"))
    refusals = {
        "naswot": transformer,
        "zen-mc": transformer,
        "zen-compat": transformer,
        "synflow_bn": True,
        "ntk": True,
    }  # one image on a 1x1 map; a singular kernel
    assert value is not None or refusals.get(score, False)


def test_enough_spaces_are_scored_in_the_fast_tests():
    assert len(QUICK) >= 8
