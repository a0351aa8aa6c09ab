import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from predictors.models.ranking_loss import soft_kendall
from predictors.models.ranking_net import RankingNet
from predictors.rank import kendall
from predictors.saving import load

SMALL = {"hidden": (16,), "nets": 2, "epochs": 20}


def curved(count: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels on a strange scale; their order is that of a product and a sum."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2, (count, 8)).astype(float)
    order = 2 * rows[:, 0] * rows[:, 1] + rows[:, 2:] @ np.arange(1, 7) / 6 + rng.normal(0, 0.1, count)
    return rows, 90 + np.exp(order / 2)


def test_the_loss_is_low_where_pairs_agree():
    labels = torch.tensor([[0.0, 1.0, 2.0]]).expand(3, 3)
    scores = torch.tensor([[0.0, 9.0, 18.0], [0.0, 0.0, 0.0], [18.0, 9.0, 0.0]])
    losses = soft_kendall(scores, labels, torch.ones(3, 3), 1.0)
    torch.testing.assert_close(losses, torch.tensor([0.0, 1.0, 2.0]))


def test_it_learns_the_order_and_the_unit():
    rows, labels = curved(300)
    unseen, truth = curved(200, seed=1)
    means, deviations = RankingNet((32, 32), nets=3, epochs=60).fit(rows, labels).predict(unseen, return_std=True)
    assert kendall(means, truth) > 0.7
    assert np.sqrt(np.mean((means - truth) ** 2)) < 0.3 * truth.std()
    assert np.mean(np.abs(means - truth) < 1.645 * deviations) > 0.8


def test_the_same_seed_gives_the_same_model_and_a_file_keeps_it(tmp_path):
    rows, labels = curved()
    model, threads = RankingNet(**SMALL), torch.get_num_threads()
    before = torch.random.get_rng_state()
    model.fit(rows, labels)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(7)
    again = clone(model).fit(rows, labels)
    model.save(tmp_path / "net")
    for other in (again, load(tmp_path / "net")):
        np.testing.assert_array_equal(other.predict(rows, return_std=True), model.predict(rows, return_std=True))


@pytest.mark.parametrize("labels", [np.full(30, 2.0), np.arange(30.0)])
def test_constant_labels_or_features_give_the_mean(labels):
    rows = np.ones((30, 2)) if np.ptp(labels) else curved(30)[0]
    means, deviations = RankingNet(**SMALL).fit(rows, labels).predict(rows, return_std=True)
    np.testing.assert_allclose(means, labels.mean(), atol=1e-6)
    np.testing.assert_allclose(deviations, labels.std(), atol=1e-6)


def test_one_network_is_refused():
    with pytest.raises(ValueError, match="nets=1, expected at least 2"):
        RankingNet(nets=1).fit(*curved(20))


def test_importing_it_loads_no_torch():
    code = "import sys, predictors.models.ranking_net; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
