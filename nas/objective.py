"""What a candidate scores: a name that workers turn into a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from predictors.proxies.module_proxies import MODULE_PROXIES
from predictors.rank_ensemble import InvalidEnsemble, RankEnsemble, read_ensemble
from search_spaces.arch import Architecture
from search_spaces.layers import Shape
from search_spaces.named import NamedFailed, call_named
from search_spaces.plugins import Offer, PluginBroken, Table

if TYPE_CHECKING:
    from predictors.proxies.zen_monte_carlo import ZenSampling

Scorer = Callable[[Architecture, int], float]


class UnknownScore(ValueError):
    """No score of that name, or what makes it failed."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Names a score and binds it to a task; plain data, so that it travels to workers.

    Attributes:
        score: key of ``SCORES``, or ``package.module:function`` with the signature of a ``Scorer`` factory:
            ``function(objective) -> (arch, seed) -> float``, higher is better; or ``ensemble:FILE``, a rank ensemble;
            or ``predictor``, the accuracy that is expected after the labels below.
        input_shape: (channels, height, width) of one image.
        seed: of the scores that draw random numbers; combined with the candidate's id.
        ensemble: what the file of a rank ensemble says, see ``bound``; None for other scores.
        labels: of a predictor: the trained networks and their accuracies, from which every worker fits the same one;
            see ``nas.accuracy_model``. A few kilobytes; so no worker needs a file, and a space may be the user's own.
    """

    score: str = "zen"
    input_shape: Shape = (3, 32, 32)
    seed: int = 0
    ensemble: Mapping[str, Any] | None = None
    labels: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Objective:
        """Read what ``to_dict`` wrote."""
        return cls(data["score"], tuple(data["input_shape"]), data["seed"], data.get("ensemble"), data.get("labels"))

    @property
    def trusted(self) -> bool:
        """Whether only code of this project runs, which does not end the process that runs it."""
        if not self.is_ensemble:
            return self.score in SCORES.own or self.score == PREDICTOR
        return all(member.score in SCORES.own for member in self._rank_ensemble().members)

    @property
    def is_ensemble(self) -> bool:
        """Whether the score is a rank ensemble."""
        return self.score == ENSEMBLE or self.score.startswith(f"{ENSEMBLE}:")

    def bound(self) -> Objective:
        """The same with its ensemble read from the file, so that workers need no file; raises UnknownScore."""
        if not self.is_ensemble or self.ensemble is not None:
            return self
        return replace(self, ensemble=self._rank_ensemble().to_dict())

    def scorer(self) -> Scorer:
        """The function that workers call; raises UnknownScore."""
        if self.score in SCORES:
            return SCORES[self.score].make(self)
        if self.is_ensemble:
            return self._ensemble_scorer()
        if self.score == PREDICTOR:
            return self._predicted()
        if ":" not in self.score:
            raise UnknownScore(
                f"score {self.score!r}: unknown, expected one of {', '.join(SCORES)}, "
                f"{ENSEMBLE}:FILE or package.module:function"
            )
        try:
            scorer: Scorer = call_named(self.score, self)
        except NamedFailed as error:
            raise UnknownScore(f"score {self.score!r}: {error}") from None
        if not callable(scorer):
            raise UnknownScore(
                f"score {self.score!r}: is a factory, called once with the task, and must return the function "
                f"(arch, seed) -> float; it returned a {type(scorer).__name__}; see examples/my_score.py"
            )
        return scorer

    def _rank_ensemble(self) -> RankEnsemble:
        try:
            if self.ensemble is not None:
                found = RankEnsemble.from_dict(self.ensemble)
            elif file := self.score.partition(":")[2]:
                found = read_ensemble(file)
            else:
                raise InvalidEnsemble("which file? Give ensemble:FILE, made with `netwright proxies trust`")
        except InvalidEnsemble as error:
            raise UnknownScore(f"score {self.score!r}: {error}") from None
        if found.input_shape != tuple(self.input_shape):
            made, asked = ("x".join(map(str, shape)) for shape in (found.input_shape, self.input_shape))
            raise UnknownScore(
                f"score {self.score!r}: made for images of {made}, not {asked}; "
                "make one for these with `netwright proxies trust`"
            )
        return found

    def _predicted(self) -> Scorer:
        if self.labels is None:
            raise UnknownScore(
                f"score {PREDICTOR!r}: needs trained networks, which only `netwright search --score {PREDICTOR}` makes"
            )
        from nas.accuracy_model import AccuracyModel

        model, kappa = AccuracyModel.from_dict(self.labels, self.input_shape), float(self.labels["kappa"])

        def score(arch: Architecture, seed: int) -> float:
            mean, deviation = model.predict([arch])
            return float(mean[0] - kappa * deviation[0])

        return score

    def _ensemble_scorer(self) -> Scorer:
        ensemble = self._rank_ensemble()
        if nested := [member.score for member in ensemble.members if member.score.startswith(ENSEMBLE)]:
            raise UnknownScore(f"score {self.score!r}: has the member {nested[0]!r}, expected no ensemble in another")
        scorers = [replace(self, score=member.score, ensemble=None).scorer() for member in ensemble.members]
        return lambda arch, seed: ensemble.combine([scorer(arch, seed) for scorer in scorers])


@dataclass(frozen=True, slots=True)
class KnownScore:
    """A row of the table of scores.

    Attributes:
        make: binds it to a task.
        needs: "closed form" (counts layers), "forward" (passes through a network with random weights) or "backward".
        cost: of one network of the size that suits small images, in words.
        source: authors, year, arXiv id.
        better: which direction the published score has; what ``make`` gives is higher for better.
    """

    make: Callable[[Objective], Scorer]
    needs: Literal["closed form", "forward", "backward"]
    cost: str
    source: str
    better: Literal["higher", "lower"] = "higher"


def _zen(objective: Objective) -> Scorer:
    """In closed form; by random forward passes where a network has none, as for the cells of NAS-Bench-201."""
    from predictors.proxies.failure import ProxyFailed
    from predictors.proxies.zen import zen_score

    def score(arch: Architecture, seed: int) -> float:
        try:
            return zen_score(arch, objective.input_shape)
        except ProxyFailed:
            return _zen_monte_carlo(objective)(arch, seed)

    return score


def _zen_monte_carlo(objective: Objective) -> Scorer:
    from predictors.proxies.zen_monte_carlo import DEFAULT

    return _sampled_zen(objective, DEFAULT)


def _zen_compat(objective: Objective) -> Scorer:
    from predictors.proxies.zen_monte_carlo import COMPAT

    return _sampled_zen(objective, COMPAT)


def _sampled_zen(objective: Objective, sampling: ZenSampling) -> Scorer:
    import torch

    from predictors.proxies.zen_monte_carlo import zen_score_monte_carlo

    def score(arch: Architecture, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return zen_score_monte_carlo(arch, objective.input_shape, sampling, generator=generator).mean

    return score


def _mad(objective: Objective) -> Scorer:
    from predictors.proxies.entropy import mad_score

    return lambda arch, seed: mad_score(arch, objective.input_shape)


def _mad_multiscale(objective: Objective) -> Scorer:
    from predictors.proxies.entropy import MULTI_SCALE, mad_score

    return lambda arch, seed: mad_score(arch, objective.input_shape, weights=MULTI_SCALE)


def _qe(objective: Objective) -> Scorer:
    from predictors.proxies.quantization_entropy import bits_of, quantization_entropy

    return lambda arch, seed: quantization_entropy(arch, objective.input_shape, bits_of(arch))


def _deepmad(objective: Objective) -> Scorer:
    from predictors.proxies.deepmad import deepmad_score

    return lambda arch, seed: deepmad_score(arch, objective.input_shape)


def _module_proxy(name: str) -> Callable[[Objective], Scorer]:
    """Of a network with fresh weights on random images; turned so that higher is better."""

    def make(objective: Objective) -> Scorer:
        from predictors.proxies.module_proxies.of_architecture import score_architecture

        sign = MODULE_PROXIES[name].sign
        return lambda arch, seed: sign * score_architecture(name, arch, objective.input_shape, seed=seed)

    return make


def _module_row(name: str) -> KnownScore:
    proxy = MODULE_PROXIES[name]
    needs: Literal["forward", "backward"] = "backward" if proxy.gradients else "forward"
    passes = ("a forward pass", "a backward pass", "two backward passes")[proxy.gradients]
    cost = f"{passes}, {proxy.batch} image" + "s" * (proxy.batch > 1)
    return KnownScore(_module_proxy(name), needs, cost, proxy.source, proxy.better)


_ZEN_NAS = "Lin et al. 2021, arXiv 2102.01063"
_MAE_DET = "Sun et al. 2022, arXiv 2111.13336"
_OURS: dict[str, KnownScore] = {
    "zen": KnownScore(_zen, "closed form", "about 0.1 ms", f"{_ZEN_NAS}, in closed form"),
    "zen-mc": KnownScore(_zen_monte_carlo, "forward", "about 50 ms", _ZEN_NAS),
    "zen-compat": KnownScore(_zen_compat, "forward", "about 50 ms", f"{_ZEN_NAS}, as the authors' code computes it"),
    "mad": KnownScore(_mad, "closed form", "about 0.1 ms", f"{_MAE_DET}, at the last map"),
    "mad_multiscale": KnownScore(_mad_multiscale, "closed form", "about 0.1 ms", f"{_MAE_DET}, at the last three"),
    "deepmad": KnownScore(_deepmad, "closed form", "about 0.1 ms", "Shen et al. 2023, arXiv 2303.02165"),
    "qe": KnownScore(_qe, "closed form", "about 0.1 ms", "Sun et al. 2022, NeurIPS; networks with bits only"),
    **{name: _module_row(name) for name in MODULE_PROXIES},
}


def _plugged(offer: Offer) -> KnownScore:
    """A score of an installed package: a row, or a factory like that of ``package.module:function``."""
    found = offer.point.load()
    if isinstance(found, KnownScore):
        return found
    if not callable(found):
        raise PluginBroken(
            f"is a {type(found).__name__}, expected a factory: function(objective) -> (arch, seed) -> float"
        )
    return KnownScore(partial(_from_package, offer, found), "forward", "not stated", f"{offer.package} {offer.version}")


def _from_package(offer: Offer, factory: Callable[[Objective], Scorer], objective: Objective) -> Scorer:
    try:
        return factory(objective)
    except Exception as error:  # noqa: BLE001 - a package's code may raise anything
        raise UnknownScore(f"plugin: {offer} cannot be used: {type(error).__name__}: {error}") from None


SCORES: Table[KnownScore] = Table(_OURS, "netwright.scores", _plugged)
"""Each score by name, ours and those of installed packages. With ``deepmad``, keep rho below a bound beside it."""
CLOSED_FORM = tuple(
    name for name, row in _OURS.items() if row.needs == "closed form" and name != "qe"
)  # of float networks; no torch, below 1 ms
ENSEMBLE = "ensemble"
PREDICTOR = "predictor"
BINAS = "binas"  # no function of a design alone: the whole search is another one, see nas.job.binas_stage


def candidate_seed(seed: int, index: int) -> int:
    """A 63-bit seed that is a function of (run seed, candidate id) only (SplitMix64 finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1
