"""Networks block by block, what they share computed once; regressions on whole networks beside measured effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.one_shot.models import ADDITIVE, BILINEAR, MEASURED, SEPARABLE, MeasuredModel, WholeNetworkModel, compare
from nas.one_shot.structure import ElasticStructure, structure_of
from nas.train.recalibration import NoCalibrationImages, recalibrated
from nas.train.supernet import judge
from nas.train.supernet.judge import Judge
from predictors.models.bilinear_effects import BilinearEstimator
from predictors.rank import kendall
from search_spaces import SPACES
from search_spaces.arch import Architecture
from search_spaces.mobilenet import Elastic, MobileNetSpace, MobileStage
from search_spaces.space import GridSpace
from search_spaces.supernet import Supernet

SPACE = MobileNetSpace(
    "narrow",
    SPACES["mobilenetv3-tiny-images"].sample(np.random.default_rng(0)).blocks[:2],
    (MobileStage(12, 2, "relu", (False,)), MobileStage(20, 2, "hard_swish")),
    SPACES["mobilenetv3-tiny-images"].sample(np.random.default_rng(0)).blocks[-2:],
    Elastic((1, 2), (3, 5), (2, 3)),
)


def images(seed: int, channels: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, channels, 8, 8, generator=generator) for n in (12, 5))


def paths(view: ElasticStructure, count: int) -> list[Architecture]:
    """Networks that differ from the one before in the last block of the last stage alone, then in everything."""
    found = []
    for seed in range(count):
        depths, configs = view.structure.sample(1, np.random.default_rng(seed))
        depths[:, -1] = 2
        for config in range(view.structure.stages[-1].configs[-1]):
            configs[:, -1] = config
            found += view.architectures(depths, configs)
    return found


@pytest.mark.parametrize("kept", [10**9, 40_000, 0], ids=["all", "some", "none"])
def test_what_networks_share_is_run_once_and_changes_no_bit(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "KEPT_BYTES", kept)
    supernet = Supernet(SPACE, num_classes=10, in_channels=1, seed=1).eval()
    judged = Judge(supernet, images(0), images(1), "recalibrated")
    archs = paths(ElasticStructure(SPACE), 3)
    for arch in archs:
        given = {**supernet.tensors(arch), **recalibrated(supernet, arch, images(0))}
        with torch.inference_mode():
            wanted = [supernet.run(arch, x, given, norms="given") for x in images(1)]
        assert all(torch.equal(a, b) for a, b in zip(judged.logits(arch), wanted, strict=True))
    every = sum(len(arch.blocks) + 1 for arch in archs)
    assert judged.blocks_run < 0.7 * every if kept > 10**6 else judged.blocks_run <= every


@pytest.mark.parametrize(
    ("name", "norms"), [("resnet20-channels", "batch"), ("vit-tiny", "stored"), ("genet-tiny", "stored")]
)
def test_other_spaces_run_block_by_block_too(name: str, norms: judge.Norms) -> None:
    space, rng = SPACES[name], np.random.default_rng(2)
    assert isinstance(space, GridSpace)
    supernet = Supernet(space, num_classes=5, in_channels=3, seed=1).eval()
    side = 32
    x = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    judged = Judge(supernet, (), (x,), norms)
    first = space.sample(rng)
    for arch in (first, space.mutate(first, rng), space.sample(rng), first):
        with torch.inference_mode():
            wanted = supernet(x, arch, norms="batch" if norms == "batch" else "given")
        assert torch.equal(judged.logits(arch)[0], wanted)


def test_one_image_gives_no_statistics() -> None:
    supernet = Supernet(SPACE, num_classes=10, in_channels=1)
    with pytest.raises(NoCalibrationImages, match="raise calibration"):
        Judge(supernet, (torch.zeros(1, 1, 8, 8),), images(0), "recalibrated")


def truth(view: ElasticStructure) -> BilinearEstimator:
    """Effects that are sums over kernel, expansion and gate."""
    rng, structure = np.random.default_rng(5), view.structure
    alpha: list[float] = []
    for s, b in structure.blocks:
        sizes = [len(values) for values in view.config_parts(s, b).values()]
        chosen = np.unravel_index(np.arange(int(np.prod(sizes))), sizes)
        alpha += np.sum([rng.normal(0, 0.02, n)[at] for at, n in zip(chosen, sizes, strict=True)], axis=0).tolist()
    betas = structure.beta_starts[-1]
    errors = np.full(len(alpha), 0.003)
    return BilinearEstimator(
        structure, -0.5, 0.01, rng.normal(0, 0.05, betas), np.full(betas, 0.004), np.array(alpha), errors
    )


def test_regressions_find_a_sum_over_parts_and_say_how_sure_they_are() -> None:
    view = ElasticStructure(SPACE)
    true, rng = truth(view), np.random.default_rng(0)
    seen, unseen = view.structure.sample(150, rng), view.structure.sample(300, rng)
    labels, wanted = true.predict(*seen) + rng.normal(0, 0.003, 150), true.predict(*unseen)
    for kind in (ADDITIVE, BILINEAR, SEPARABLE):
        model = WholeNetworkModel(view, kind).fit(*seen, labels)
        found = model.values(*unseen)
        assert kendall(found, wanted) > 0.9
        assert 0.85 < np.mean(np.abs(found - wanted) < 2 * model.errors(*unseen)) <= 1
        effects = model.effects()
        assert (effects is not None) == (kind == BILINEAR)
        if effects is not None:
            np.testing.assert_allclose(effects.predict(*unseen), found, atol=1e-9)
        if kind == SEPARABLE:
            added = model.stage_values(*unseen)
            assert added.shape == (300, 2)
            np.testing.assert_allclose(added.sum(axis=1) - found, (added.sum(axis=1) - found)[0], atol=1e-9)
    sums = WholeNetworkModel(view, ADDITIVE).fit(*seen, labels)
    with pytest.raises(ValueError, match="expected stage-separable"):
        sums.stage_values(*unseen)


def test_only_products_within_a_stage_are_seen_by_the_separable_model() -> None:
    view = ElasticStructure(SPACE)
    rng = np.random.default_rng(1)
    depths, configs = view.structure.sample(400, rng)
    at = [i for i, (s, _) in enumerate(view.structure.blocks) if s == 1]
    configs_on = (configs[:, at[0]] % 2) * (configs[:, at[1]] % 2) * (depths[:, 1] > 1)  # gates of two blocks together
    labels = truth(view).predict(depths, configs) + 0.3 * configs_on
    taus = {one.name: one.quality.kendall for one in compare(view, (depths, configs), labels, measured=truth(view))}
    assert set(taus) == {MEASURED, ADDITIVE, BILINEAR, SEPARABLE}
    assert taus[SEPARABLE] > max(taus[ADDITIVE], taus[BILINEAR], taus[MEASURED]) + 0.05


def test_models_of_spaces_without_stages() -> None:
    space = SPACES["resnet20-channels"]
    assert isinstance(space, GridSpace)
    view, rng = structure_of(space), np.random.default_rng(0)
    depths, configs = view.structure.sample(300, rng)
    labels = configs @ rng.normal(size=configs.shape[1])
    best = compare(view, (depths, configs), labels)[0]
    assert best.quality.kendall > 0.6
    assert best.quality.networks == 300


def test_measured_effects_as_a_model() -> None:
    view = ElasticStructure(SPACE)
    model = MeasuredModel(truth(view))
    depths, configs = view.structure.sample(10, np.random.default_rng(0))
    blocks = depths.sum(axis=1)
    np.testing.assert_allclose(model.errors(depths, configs) ** 2, 0.01**2 + 2 * 0.004**2 + blocks * 0.003**2)
    assert model.effects() is not None
