"""What a candidate scores: a name that workers turn into a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from predictors.proxies.module_proxies import MODULE_PROXIES
from search_spaces.arch import Architecture
from search_spaces.layers import Shape
from search_spaces.named import NamedFailed, call_named

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
            ``function(objective) -> (arch, seed) -> float``, higher is better.
        input_shape: (channels, height, width) of one image.
        seed: of the scores that draw random numbers; combined with the candidate's id.
    """

    score: str = "zen"
    input_shape: Shape = (3, 32, 32)
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Objective:
        """Read what ``to_dict`` wrote."""
        return cls(data["score"], tuple(data["input_shape"]), data["seed"])

    def scorer(self) -> Scorer:
        """The function that workers call; raises UnknownScore."""
        if self.score in SCORES:
            return SCORES[self.score](self)
        if ":" not in self.score:
            raise UnknownScore(
                f"score {self.score!r}: unknown, expected one of {', '.join(SCORES)} or package.module:function"
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


def _zen(objective: Objective) -> Scorer:
    from predictors.proxies.zen import zen_score

    return lambda arch, seed: zen_score(arch, objective.input_shape)


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


SCORES: dict[str, Callable[[Objective], Scorer]] = {
    "zen": _zen,  # closed form, about 0.1 ms
    "zen-mc": _zen_monte_carlo,  # the paper's random forward passes, about 50 ms
    "zen-compat": _zen_compat,  # the same at the settings of the authors' code, whose numbers it gives
    "mad": _mad,  # MAE-DET entropy, closed form, at the last map
    "mad_multiscale": _mad_multiscale,  # at the last three, as for detection
    "deepmad": _deepmad,  # DeepMAD entropy less its depth penalty; keep rho below a bound beside it
    **{name: _module_proxy(name) for name in MODULE_PROXIES},  # a forward and often a backward pass, 10 ms to 1 s
}
CLOSED_FORM = ("zen", "mad", "mad_multiscale", "deepmad")  # no torch, well under a millisecond


def candidate_seed(seed: int, index: int) -> int:
    """A 63-bit seed that is a function of (run seed, candidate id) only (SplitMix64 finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1
