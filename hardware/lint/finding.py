"""A finding: where, why, what to do, and what it gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from search_spaces.layers import Layer

Verdict = Literal["saves time", "wider for the same time", "no sure gain"]
FREE = 0.01  # of the time: no more is no cost
Evidence = Literal["measured", "predicted"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that costs time, and its fix. Layers with the same shapes share one finding.

    Attributes:
        rule: name of the rule.
        layers: names of the layers.
        reason: why it is slow on this device.
        fix: what to change.
        before, after: the layers concerned, alone, as they are and as they would be.
        batch_after: images per call after the fix; 0 where the fix leaves the batch alone.
    """

    rule: str
    layers: tuple[str, ...]
    reason: str
    fix: str
    before: tuple[Layer, ...]
    after: tuple[Layer, ...]
    batch_after: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fix changes, in milliseconds of one place; where the batch changes, of one image.

    Attributes:
        before_ms, after_ms: of the layers concerned.
        evidence: "measured" here, interleaved, or "predicted" by a model.
        uncertain: the measured intervals overlap, or a measurement was noisy.
    """

    before_ms: float
    after_ms: float
    evidence: Evidence
    uncertain: bool = False

    @property
    def gain_ms(self) -> float:
        """Milliseconds saved in one place; negative where the fix costs."""
        return self.before_ms - self.after_ms


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding with the effect of its fix."""

    finding: Finding
    effect: Effect

    @property
    def total_gain_ms(self) -> float:
        """Of all places together."""
        return self.effect.gain_ms * max(1, len(self.finding.layers))

    @property
    def verdict(self) -> Verdict:
        """Whether the fix is known to save time, or gives more channels for the same time."""
        if self.effect.gain_ms > 0 and not self.effect.uncertain:
            return "saves time"
        same = self.effect.after_ms <= (1 + FREE) * self.effect.before_ms
        return "wider for the same time" if self.is_wider and same else "no sure gain"

    @property
    def helps(self) -> bool:
        """Whether the fix is worth its change."""
        return self.verdict != "no sure gain"

    @property
    def is_wider(self) -> bool:
        """Whether the layers have more weights after the fix."""
        before, after = (
            sum(layer.weight_count for layer in part) for part in (self.finding.before, self.finding.after)
        )
        return after > before

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, without the layers themselves."""
        finding, effect = self.finding, self.effect
        return {
            "rule": finding.rule,
            "layers": list(finding.layers),
            "reason": finding.reason,
            "fix": finding.fix,
            "before_ms": effect.before_ms,
            "after_ms": effect.after_ms,
            "evidence": effect.evidence,
            "uncertain": effect.uncertain,
            "verdict": self.verdict,
            "total_gain_ms": self.total_gain_ms,
        }

    def __str__(self) -> str:
        finding, effect = self.finding, self.effect
        where = finding.layers[0] if finding.layers else "network"
        more = f" and {len(finding.layers) - 1} more" if len(finding.layers) > 1 else ""
        change = effect.after_ms / effect.before_ms - 1
        doubt = ", uncertain" if effect.uncertain else ""
        return (
            f"{where}{more}: {finding.reason}. Fix: {finding.fix}. {effect.evidence.capitalize()}: "
            f"{effect.before_ms:.4g} ms -> {effect.after_ms:.4g} ms ({change:+.0%}{doubt})"
        )
