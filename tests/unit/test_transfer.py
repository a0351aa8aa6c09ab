"""Ten networks and known devices: better than ten networks alone, honest about it, not fooled by a corrupt row."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from hardware.transfer import KnownDevices, TransferFailed, transfer
from hardware.transfer_choice import choose, play

NETWORKS, DEVICES, FEATURES = 500, 9, 20


def world(seed: int) -> tuple[KnownDevices, np.ndarray]:
    """Devices whose latency is one of three costs, mixed; each has a taste of its own. The last is the new one."""
    rng = np.random.default_rng(seed)
    encoding = rng.integers(0, 2, (NETWORKS, FEATURES)).astype(float)
    costs = rng.gamma(2.0, 1.0, (FEATURES, 3))
    mix = rng.dirichlet(np.ones(3), DEVICES) * rng.uniform(0.2, 20, (DEVICES, 1))
    logs = np.log(2 + encoding @ costs @ mix.T) + 0.01 * rng.normal(size=(NETWORKS, DEVICES))
    return KnownDevices(logs[:, :-1], encoding), logs[:, -1]


def ranks(known, new, support, ms=None):
    model = transfer(known, support, np.exp(new[support]) if ms is None else ms)
    return spearmanr(model.predict().mean_ms, new).statistic, model


def test_known_devices_make_ten_networks_worth_many():
    for seed in range(3):
        known, new = world(seed)
        support = np.random.default_rng(seed).permutation(NETWORKS)[:10]
        alone = KnownDevices(np.zeros((NETWORKS, 0)), known.encoding)
        with_known, model = ranks(known, new, support)
        assert with_known > 0.95
        assert with_known > ranks(alone, new, support)[0] + 0.1
        assert np.mean(np.abs(model.predict().mean_ms / np.exp(new) - 1)) < 0.06


def test_chosen_networks_leave_less_uncertainty_than_random_ones():
    known, _ = world(0)
    chosen = choose(known, 10)
    assert len(set(chosen.tolist())) == 10

    def left(support):
        return float(np.mean(transfer(known, support, np.ones(10)).predict().log_std))

    draws = [np.random.default_rng(seed).permutation(NETWORKS)[:10] for seed in range(10)]
    assert left(chosen) < min(map(left, draws))
    np.testing.assert_array_equal(choose(known, 3), chosen[:3])
    assert set(choose(known, 5, np.arange(20, 40)).tolist()) <= set(range(20, 40))


@pytest.mark.slow
def test_intervals_learned_by_playing_cover_what_they_state():
    inside = []
    for seed in range(3):
        known, new = world(seed)
        played = play(known, 10, seed=seed)
        support = choose(known, 10, settings=played.settings)
        model = transfer(known, support, np.exp(new[support]), played=played)
        inside.append(float(np.mean(np.exp(new) <= model.upper_ms(0.9))))
    assert 0.84 < np.mean(inside) < 0.98
    assert np.all(model.upper_ms(0.99) > model.upper_ms(0.9))


def test_a_corrupt_row_costs_little():
    known, new = world(1)
    support = choose(known, 10)
    ms = np.exp(new[support])
    ms[4] /= 30
    assert ranks(known, new, support, ms)[0] > 0.9


def test_devices_of_one_maker_never_vouch_for_each_other():
    known, _ = world(0)
    makers = ("a", "a", "b", "b", "b", "c", "d", "e")
    named = KnownDevices(known.log_ms, known.encoding, makers)
    np.testing.assert_array_equal(named.without(3).log_ms, known.log_ms[:, [0, 1, 5, 6, 7]])
    assert named.without(3).makers == ("a", "a", "c", "d", "e")


def test_devices_of_one_maker_have_nobody_to_play_with():
    known, new = world(0)
    played = play(KnownDevices(known.log_ms, known.encoding, ("a",) * (DEVICES - 1)), 10)
    support = choose(known, 10)
    assert np.all(transfer(known, support, np.exp(new[support]), played=played).upper_ms(0.9) > 0)


def test_one_known_device_is_enough():
    known, new = world(2)
    one = KnownDevices(known.log_ms[:, :1], known.encoding)
    assert not len(play(one, 10).widths)
    score, model = ranks(one, new, choose(one, 10))
    assert score > 0.7
    assert np.all(np.isfinite(model.upper_ms(0.95)))


@pytest.mark.parametrize(
    ("support", "ms", "message"),
    [
        ([1, 2], [1.0, 2.0], "2 networks and 2 latencies, expected as many of both, 3 or more"),
        ([1, 2, 3], [1.0, 2.0], "3 networks and 2 latencies"),
        ([1, 2, 3], [1.0, -2.0, 3.0], "latency 2 is -2 ms, expected a positive number"),
        ([1, 2, 3], [1.0, 2.0, np.nan], "latency 3 is nan ms"),
        ([1, 2, 2], [1.0, 2.0, 2.0], "a network stands twice"),
    ],
)
def test_unusable_measurements_are_refused(support, ms, message):
    known, _ = world(0)
    with pytest.raises(TransferFailed, match=message):
        transfer(known, support, np.array(ms))


def test_unusable_knowledge_is_refused():
    logs = np.zeros((5, 2))
    logs[3, 1] = np.inf
    with pytest.raises(TransferFailed, match="network 4 on device 2 has no finite latency"):
        KnownDevices(logs, np.zeros((5, 3)))
    with pytest.raises(TransferFailed, match="5 networks with latencies, 4 encoded"):
        KnownDevices(np.zeros((5, 2)), np.zeros((4, 3)))
