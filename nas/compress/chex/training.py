"""Channel exploration as a training that advances epoch by epoch: prune, regrow, and in the end slice.

Source: Hou et al. 2022, "CHEX: CHannel EXploration for CNN Model Compression" (CVPR 2022, arXiv 2203.15794),
algorithm 1. Deviations: see ``nas.compress.chex.allocation``, ``memory`` and docs/compression/chex.md.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from nas.compress.chex.allocation import Ranking
from nas.compress.chex.budget import Budget
from nas.compress.chex.changes import Numbers, choose, choose_first, first_numbers, later_numbers, signals
from nas.compress.chex.columns import norm_scales
from nas.compress.chex.exploration import changes_at, last_change, regrow_share
from nas.compress.chex.memory import RecentValues, bring_back_, dead_entries, forget_born_, zero_dead_
from nas.compress.chex.result import ChexResult, MaskChange
from nas.compress.chex.settings import ChexSettings
from nas.compress.graph import executed_graph
from nas.compress.groups import Coupling
from nas.compress.saved_training import load_saved, saved
from nas.compress.slicing import sliced
from nas.compress.training_cost import PASSES, images_per_epoch
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.distill import Distillation
from nas.train.fit import EpochReport, Training
from nas.train.images import Dataset
from nas.train.recipe import Recipe


class ChexTraining:
    """A training whose masks change before some of its epochs.

    Attributes:
        keep: by group, bool (units,): alive now.
        history: changes of masks so far.
        budget: of the final network.

    Args:
        model: trained in place; masks are set to it after every step.
        dataset: ``train`` is learned from and ``validation`` watched.
        recipe: of the training.
        coupling: of the model.
        settings: of the exploration.
        budget: of the same model and settings.
        seed: of batch order, augmentation and of what comes back.
        device: where to compute.
        distillation: a teacher.
    Raises: InvalidChex: too few epochs.
    """

    def __init__(  # noqa: PLR0913 - the training's facts, all named
        self,
        model: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        *,
        coupling: Coupling,
        settings: ChexSettings,
        budget: Budget,
        seed: int,
        device: torch.device | str = "cpu",
        distillation: Distillation | None = None,
    ) -> None:
        self._coupling, self._settings, self._seed, self.budget = coupling, settings, seed, budget
        self._last = last_change(settings, recipe.epochs)
        self._scales = norm_scales(executed_graph(model, coupling.input_shape))
        self._training = Training(
            model,
            dataset,
            recipe,
            seed=seed,
            device=device,
            distillation=distillation,
            after_step=lambda trained: zero_dead_(trained, self._dead),
        )
        self._recent = RecentValues.of(model, coupling)
        self._dead: dict[str, Tensor] = {}
        self.keep = {name: torch.ones(group.size, dtype=torch.bool) for name, group in coupling.groups.items()}
        self.history: list[MaskChange] = []
        self._training_macs = 0

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self._training.epoch

    @property
    def model(self) -> nn.Module:
        """The network that is trained, under its masks."""
        model: nn.Module = self._training.model
        return model

    def train_epoch(self) -> EpochReport:
        """Change the masks if it is time, then train one epoch; raises TrainingDiverged, BudgetUnreachable."""
        if changes_at(self._settings, self.epoch, self._last):
            self._change()
        report = self._training.train_epoch()
        images = images_per_epoch(self._training.dataset, self._training.recipe)
        self._training_macs += PASSES * images * self.budget.cost.macs(self.keep)
        return report

    def _change(self) -> None:
        epoch = self.epoch
        share = regrow_share(self._settings, epoch, self._last)
        before = self._dead or dead_entries(self.model, self._coupling, self.keep)
        self._recent.refresh_(self.model, before)
        masked = self.model.state_dict()
        restored = {**masked, **self._recent.values}
        if epoch == 0:
            numbers = first_numbers(self.budget.begin(), share, self.budget.limits)
            keep = choose_first(masked, self._coupling, numbers.alive)
        else:
            numbers = self._numbers(masked, restored, share)
            keep = choose(
                masked,
                restored,
                self._coupling,
                keep=self.keep,
                numbers=numbers,
                settings=self._settings,
                generator=self._generator(epoch),
            )
        self._replace_masks(keep, before)
        kept = {name: min(count, int(keep[name].sum())) for name, count in numbers.kept.items()}
        self.history.append(MaskChange(epoch, share, kept, keep, self.budget.cost.macs(keep)))

    def _numbers(self, masked: dict[str, Tensor], restored: dict[str, Tensor], share: float) -> Numbers:
        tensors = masked if self._settings.signal == "norms" else restored
        found = signals(tensors, self._coupling, self.keep, self._scales, self._settings.signal)
        ranking = Ranking(found, self.budget.limits)
        if self.epoch == self._last:
            counts = self.budget.final(ranking)
            return Numbers(counts, counts)
        if self._settings.signal == "uniform":
            return first_numbers(self.budget.equal_shares(), share, self.budget.limits)
        return later_numbers(ranking, ranking.within(self.budget.cost.macs, self.budget.macs), share)

    def _replace_masks(self, keep: dict[str, Tensor], dead_before: dict[str, Tensor]) -> None:
        """Bring back what is alive from now on and mask the rest; the weight average starts anew."""
        self.keep, self._dead = keep, dead_entries(self.model, self._coupling, keep)
        born = {name: before & ~self._dead[name] for name, before in dead_before.items()}
        bring_back_(self.model, self._recent, born)
        zero_dead_(self.model, self._dead)
        if self._settings.reset_momentum:
            forget_born_(self._training.optimiser, self.model, born)
        average = self._training.average
        if average is not None:  # weights that fitted other channels
            average.model.load_state_dict(self.model.state_dict())
            average.updates = 0

    def _generator(self, epoch: int) -> Generator:
        key = hashlib.sha256(f"regrow {self._seed}/{epoch}".encode()).digest()[:8]
        return torch.Generator().manual_seed(int.from_bytes(key, "big") >> 1)

    def result(self) -> ChexResult:
        """The sliced network, once all epochs are finished."""
        network = sliced(self._training.final, self._coupling, self.keep).eval().requires_grad_(True)
        cost = self.budget.cost
        return ChexResult(
            network=network,
            keep=self.keep,
            curve=tuple(self._training.curve),
            history=tuple(self.history),
            macs_before=cost.macs({}),
            macs_after=cost.macs(self.keep),
            params_before=cost.params({}),
            params_after=cost.params(self.keep),
            training_macs=self._training_macs,
            latency_ms=self.budget.measured_ms,
        )

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state = {
            "training": saved(self._training),
            "keep": self.keep,
            "recent": self._recent.values,
            "history": [change.to_dict() for change in self.history],
            "training_macs": self._training_macs,
            "budget_macs": self.budget.macs,
            "measured_ms": self.budget.measured_ms,
        }
        save_checkpoint(path, state, self._identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another training's."""
        state = load_checkpoint(path, self._identity())
        self.keep = state["keep"]
        load_saved(self._training, state["training"])
        self._dead = dead_entries(self.model, self._coupling, self.keep)
        device = self._training.device
        self._recent = RecentValues({name: value.to(device) for name, value in state["recent"].items()})
        self.history = [MaskChange(**change) for change in state["history"]]
        self._training_macs = state["training_macs"]
        self.budget.macs, self.budget.measured_ms = state["budget_macs"], state["measured_ms"]

    def _identity(self) -> dict[str, Any]:
        units = repr([(name, group.size) for name, group in self._coupling.groups.items()])
        return {
            **self._training.identity(),
            "method": "chex",
            "groups": hashlib.sha256(units.encode()).hexdigest()[:20],
            "settings": self._settings.to_dict(),
        }
