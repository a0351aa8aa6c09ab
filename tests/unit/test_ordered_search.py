"""The asked sequence is a function of the seed: never of how many workers there are or which one is fast."""

import heapq

import numpy as np
import pytest

from hardware.counts import count
from nas.algorithms.evolution import ENOUGH, Evolution, Members, depth_niche
from nas.algorithms.local import LocalSearch
from nas.algorithms.nsga2 import NSGA2
from nas.algorithms.optuna_sampler import NoKnobs, OptunaSearch
from nas.algorithms.random import RandomSearch
from nas.algorithms.regularized import RegularizedEvolution
from nas.records import Candidate, Failure, Success
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block
from search_spaces.space import GridSpace, Knob

SPACE = SPACES["zen-tiny"]
GENET = SPACES["genet-tiny"]


def outcome(candidate):
    """A toy result that depends on the design alone: some scores, some rejections, some crashes."""
    costs = count(candidate.arch, (1, 8, 8), 10)
    metrics = {"params": costs.params, "convs": costs.convs}
    digit = int(candidate.arch.digest[0], 16)
    known = Candidate(candidate.id, candidate.arch, candidate.parent, metrics)
    if digit == 0:
        return Failure(known, "crash", "died")
    if costs.params > 200_000:
        return Failure(known, "rejected", "params", costs.params / 200_000 - 1)
    return Success(known, {**metrics, "score": float(np.log(costs.params) + digit / 16)})


def simulate(search, workers, n, seed):
    """Ask for n candidates with so many workers of random speed; returns what was asked, in order."""
    rng = np.random.default_rng(seed)
    asked, running, now = [], [], 0.0
    while len(asked) < n or running:
        more = search.ask(min(workers - len(running), n - len(asked), int(rng.integers(1, 9))))
        for candidate in more:
            heapq.heappush(running, (now + rng.exponential(), candidate.id, candidate))
        asked += more
        if not more:
            now, _, done = heapq.heappop(running)
            search.tell(outcome(done))
    return [(candidate.id, candidate.arch, candidate.parent) for candidate in asked]


SEARCHES = {
    "evolution": lambda **more: Evolution(SPACE, seed=3, population=24, initial=8, **more),
    "niches": lambda **more: Evolution(SPACE, seed=3, population=64, niches="depth", **more),
    "regularized": lambda **more: RegularizedEvolution(SPACE, seed=3, population=24, sample=6, **more),
    "local": lambda **more: LocalSearch(SPACE, seed=3, patience=15, **more),
    "nsga2": lambda **more: NSGA2(SPACE, seed=3, population=24, objectives=("score", "params"), **more),
    "random": lambda **more: RandomSearch(SPACE, seed=3, **more),
}


OPTUNA = {
    "tpe": lambda **more: OptunaSearch(GENET, seed=3, **more),
    "optuna-nsga2": lambda **more: OptunaSearch(GENET, seed=3, sampler="nsga2", objectives=("score", "params"), **more),
}


@pytest.mark.parametrize("make", OPTUNA.values(), ids=OPTUNA)
def test_the_sequence_of_optuna_does_not_depend_on_the_workers(make):
    reference = simulate(make(lookahead=5), 1, 40, seed=0)
    for workers in (2, 8):
        assert simulate(make(lookahead=5), workers, 40, seed=1) == reference


@pytest.mark.parametrize("make", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("lookahead", [1, 5, 64])
def test_the_sequence_does_not_depend_on_the_workers(make, lookahead):
    reference = simulate(make(lookahead=lookahead), 1, 250, seed=0)
    assert len({arch for _, arch, _ in reference}) > 200
    for workers in (2, 8, 50):
        for seed in (1, 2):
            assert simulate(make(lookahead=lookahead), workers, 250, seed) == reference


def test_optuna_learns_what_is_good_and_what_is_allowed():
    def width(candidate):
        costs = count(candidate.arch, (1, 8, 8), 10)
        metrics = {"params": costs.params, "score": -abs(np.log(costs.macs / 2e6))}
        known = Candidate(candidate.id, candidate.arch, None, metrics)
        over = costs.params / 500_000 - 1
        return Failure(known, "rejected", "params", over) if over > 0 else Success(known, metrics)

    def last_half(search):
        results = []
        for _ in range(120):
            [candidate] = search.ask(1)
            results.append(width(candidate))
            search.tell(results[-1])
        late = results[60:]
        feasible = [result for result in late if isinstance(result, Success)]
        return len(feasible) / len(late), np.mean([result.metrics["score"] for result in feasible])

    share, score = last_half(OptunaSearch(GENET, seed=0, lookahead=1))
    random_share, random_score = last_half(RandomSearch(GENET, seed=0, lookahead=1))
    assert share > 1.2 * random_share
    assert score > random_score


def test_optuna_needs_a_table_of_knobs():
    with pytest.raises(NoKnobs, match="zen-tiny: has no table of knobs"):
        OptunaSearch(SPACE, seed=0)


def test_ids_count_from_nought_and_the_seed_matters():
    first = simulate(SEARCHES["evolution"](), 4, 60, seed=0)
    assert [index for index, _, _ in first] == list(range(60))
    other = Evolution(SPACE, seed=4, population=24, initial=8)
    assert [arch for _, arch, _ in simulate(other, 4, 60, seed=0)] != [arch for _, arch, _ in first]


@pytest.mark.parametrize("lookahead", [1, 7, 40])
def test_no_more_than_lookahead_are_under_way(lookahead):
    search = SEARCHES["evolution"](lookahead=lookahead)
    under_way = search.ask(1_000)
    assert len(under_way) == lookahead
    assert search.ask(1) == []
    for candidate in under_way[1:]:  # the oldest one holds all others up
        search.tell(outcome(candidate))
    assert search.ask(1) == []
    search.tell(outcome(under_way[0]))
    assert len(search.ask(1_000)) == lookahead


def test_a_result_counts_from_lookahead_candidates_later_on():
    """Changing the score of candidate k changes nothing before candidate k + lookahead, and something after."""

    def run(changed):
        search = SEARCHES["evolution"](lookahead=10)
        asked = []
        for _ in range(120):
            (candidate,) = search.ask(1)
            asked.append(candidate.arch)
            result = outcome(candidate)
            if candidate.id in changed:
                result = Success(candidate, {"score": 1e9, "convs": 1})
            search.tell(result)
        return asked

    plain, changed = run(()), run(range(50, 60))
    first = next(i for i, (a, b) in enumerate(zip(plain, changed, strict=True)) if a != b)
    assert first >= 60


def test_asking_for_nothing_gives_nothing():
    assert SEARCHES["evolution"]().ask(0) == []


@pytest.mark.parametrize("wrong", [{"lookahead": 0}, {"population": 0}])
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="expected at least 1"):
        Evolution(SPACE, seed=0, **wrong)


def best_of(search, n=400):
    """Best score of n candidates on a toy objective with a narrow optimum."""
    best = -np.inf
    for _ in range(n):
        (candidate,) = search.ask(1)
        widths = [block.channels for block in candidate.arch.blocks[:4]]
        score = -sum(abs(np.log2(width / wanted)) for width, wanted in zip(widths, (16, 64, 48, 32), strict=True))
        best = max(best, score)
        search.tell(Success(candidate, {"score": score, "convs": 1}))
    return best


def test_evolution_beats_random_search():
    wins = 0
    for seed in range(5):
        evolved = best_of(Evolution(SPACE, seed=seed, population=20, lookahead=4))
        wins += evolved > best_of(RandomSearch(SPACE, seed=seed))
    assert wins >= 4


def test_niches_keep_every_depth():
    """With one population the deepest crowd the others out; with niches every range of depths keeps its best."""

    def niches_kept(niches):
        search = Evolution(SPACE, seed=0, population=64, niches=niches, lookahead=1)
        for _ in range(600):
            (candidate,) = search.ask(1)
            convs = count(candidate.arch, (1, 8, 8), 10).convs
            if convs > 40:
                search.tell(Failure(candidate, "rejected", "deep", convs / 40 - 1))
            else:
                search.tell(Success(candidate, {"score": convs + 1e-6 * candidate.id, "convs": convs}))
        members = [m for niche in search._inside.values() for m in niche.candidates.values()]
        return {depth_niche(count(member.arch, (1, 8, 8), 10).convs) for member in members}

    assert niches_kept("none") <= {depth_niche(40), depth_niche(40) - 1}
    assert niches_kept("depth") >= {depth_niche(convs) for convs in range(12, 41)}


def test_niches_are_single_depths_first_and_then_wider_without_a_gap():
    niches = [depth_niche(convs) for convs in range(1, 200)]
    assert niches[:8] == list(range(1, 9))
    assert niches == sorted(niches)
    assert set(niches) == set(range(1, max(niches) + 1))


def test_it_walks_in_from_outside():
    """The seed network violates the limit; nothing is feasible at first, later most are."""
    search = Evolution(SPACES["zen"], seed=1, population=32, lookahead=1)
    limit = count(SPACES["zen"].seed, (3, 32, 32), 10).params * 0.5
    inside = []
    for _ in range(600):
        (candidate,) = search.ask(1)
        params = count(candidate.arch, (3, 32, 32), 10).params
        inside.append(params <= limit)
        if params <= limit:
            search.tell(Success(candidate, {"score": float(params), "convs": 1}))
        else:
            search.tell(Failure(candidate, "rejected", "params", params / limit - 1))
    assert not any(inside[:5])
    assert sum(inside) > ENOUGH
    assert sum(inside[300:]) > sum(inside[:300])


def test_a_score_below_zero_and_ties_are_kept_in_order():
    members = Members(2)
    for index, cost in enumerate((5.0, 5.0, 5.0, -1.0)):
        members.insert(cost, Candidate(index, Architecture((Block("conv", 8),))))
    assert members.keys == [(-1.0, 3), (5.0, 0)]
    assert set(members.candidates) == {3, 0}


class Four(GridSpace):
    name = "four"
    knobs = (Knob("width", (8, 16, 24, 32)),)

    def decode(self, values):
        return Architecture((Block("conv", int(values["width"])),))

    def values_of(self, arch):
        return {"width": arch.blocks[0].channels}


@pytest.mark.parametrize("make", [Evolution, RandomSearch])
def test_a_tiny_space_gives_its_members_and_then_repeats_them(make):
    search = make(Four(), seed=0, lookahead=3)
    seen = []
    for _ in range(60):
        (candidate,) = search.ask(1)
        seen.append(candidate.arch)
        search.tell(Success(candidate, {"score": 1.0, "convs": 1}))
    assert len(set(seen)) == 4
    assert len(set(seen[:8])) == 4


class Seeded(Four):
    seed = 7  # a user's own attribute, not a starting architecture


def test_an_attribute_called_seed_that_is_no_architecture_is_left_alone():
    search = Evolution(Seeded(), seed=0, initial=3)
    assert all(isinstance(candidate.arch, Architecture) for candidate in search.ask(5))


def test_a_population_of_one_climbs():
    search = Evolution(SPACE, seed=0, population=1, lookahead=1)
    best = -np.inf
    for _ in range(100):
        (candidate,) = search.ask(1)
        if candidate.parent is not None and search._inside:
            assert candidate.parent in search._inside[0].candidates
        score = float(sum(block.channels for block in candidate.arch.blocks))
        best = max(best, score)
        search.tell(Success(candidate, {"score": score, "convs": 1}))
    assert best > 1_000


def test_a_mutant_that_was_seen_is_mutated_further_and_keeps_its_parent():
    search, mutated = SEARCHES["evolution"](lookahead=1), []

    class Chain:
        """The only mutant of each design is the next, eight channels wider."""

        def mutate(self, arch, rng):
            mutated.append(arch)
            return wider(arch)

    def wider(arch):
        return Architecture((Block("conv", arch.blocks[0].channels + 8), *arch.blocks[1:]))

    search.space, search.start, search.initial = Chain(), SPACE.seed, 1
    first = search.ask(1)[0]
    search.tell(outcome(first))
    second = search.ask(1)[0]
    search._propose = lambda index, rng: (second.arch, first.id)  # again
    mutated.clear()
    search.tell(outcome(second))
    third = search.ask(1)[0]
    assert mutated == [second.arch]
    assert (third.arch, third.parent) == (wider(second.arch), first.id)


def test_few_tries_find_new_mutants_of_one_seed():
    tries = []

    class Counting:
        seed = SPACE.seed

        def mutate(self, arch, rng):
            tries.append(arch)
            return SPACE.mutate(arch, rng)

    asked = Evolution(Counting(), seed=1, lookahead=20_000).ask(20_000)
    assert len({candidate.arch for candidate in asked}) == 20_000
    assert {candidate.parent for candidate in asked[1:]} == {0}
    assert len(tries) < 1.7 * 20_000  # 2.4 where the seed is mutated anew
