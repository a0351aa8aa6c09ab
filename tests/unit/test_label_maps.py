"""Label maps rise strictly, lead back, and keep their shape beyond the training labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.labels import LABEL_MAPS, Logit, NormalScores

LABELS = st.lists(st.floats(0.01, 0.99), min_size=3, max_size=40, unique=True).filter(lambda v: max(v) - min(v) > 1e-3)


@pytest.mark.parametrize("name", LABEL_MAPS)
@given(labels=LABELS)
def test_there_and_back_is_the_label(name, labels):
    values = np.array(labels)
    found = LABEL_MAPS[name]().fit(values)
    mapped = found.forward(values)
    assert np.allclose(found.back(mapped), values, atol=1e-9)
    order = np.argsort(values)
    assert (np.diff(mapped[order]) >= 0).all()


def test_normal_scores_go_on_beyond_the_labels():
    found = NormalScores().fit(np.array([1.0, 2.0, 3.0, 4.0]))
    beyond = np.array([0.0, 5.0, 7.0])
    assert np.allclose(found.back(found.forward(beyond)), beyond)
    assert found.forward(np.array([7.0])) > found.forward(np.array([5.0])) > found.forward(np.array([4.0]))


def test_logit_takes_fractions_percents_and_anything_else_by_their_range():
    for labels, bounds in (([0.2, 0.9], (0, 1)), ([20.0, 90.0], (0, 100)), ([0.0, 499.0], (-249.5, 748.5))):
        found = Logit().fit(np.array(labels))
        assert found.back(np.array([-50.0, 50.0])) == pytest.approx(bounds, abs=1e-6)


def test_deviations_follow_the_slope_of_the_map():
    found = Logit().fit(np.array([0.2, 0.9]))
    middle, edge = found.back_std(np.array([0.0, 4.0]), np.array([0.1, 0.1]))
    assert middle == pytest.approx(0.025, rel=0.01)
    assert edge < middle
