"""DiSparse: whose a weight is, scores, unanimous masks of exact density, and where tasks agree."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from disparse_example import CLASSES, head, patterns, sample_network
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.disparse import DisparseSettings
from nas.compress.disparse.initial import first_masks
from nas.compress.disparse.masks import masks_at_density, masks_at_ratio, unanimous
from nas.compress.disparse.overlap import LayerOverlap, Overlap, overlap_of
from nas.compress.disparse.scores import task_scores
from nas.compress.disparse.tasks import JOINT, Ownership, find_ownership
from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.compress.masks import Masks
from nas.train.images import InvalidDataset
from nas.train.multitask.labels import CATEGORY, GROUP, ROTATION, classification, with_group, with_rotation
from nas.train.multitask.tasks import MultitaskData


@pytest.fixture(scope="module")
def data() -> MultitaskData:
    return with_rotation(patterns())


@pytest.fixture(scope="module")
def ownership(data: MultitaskData) -> Ownership:
    return find_ownership(sample_network(), data)


def _scores(network: nn.Module, data: MultitaskData, ownership: Ownership, mode: str = "static"):
    settings = DisparseSettings(mode=mode, batches=4)
    return task_scores(network, data, ownership, settings, seed=0)


# whose a weight is


def test_weights_belong_to_the_tasks_whose_losses_reach_them(data: MultitaskData) -> None:
    found = find_ownership(sample_network(), data)
    assert found.shared == ("trunk.0.weight", "trunk.3.weight")
    assert found.private(CATEGORY) == ("heads.category.0.weight", "heads.category.4.weight")
    assert found.private(ROTATION) == ("heads.rotation.0.weight", "heads.rotation.4.weight")
    assert set(found.of(CATEGORY)) == {*found.shared, *found.private(CATEGORY)}


class _Tangled(nn.Module):
    """Registered in another order than executed; functional weights, a tied one, one unused, one detached."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 4)
        self.unused = nn.Linear(3, 3)
        self.kernel = nn.Parameter(torch.randn(1, 1, 3, 3))
        self.matrix = nn.Parameter(torch.randn(64, 4))
        self.norm = nn.LayerNorm([8, 8])
        self.table = nn.Parameter(torch.randn(8, 8))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.norm(F.conv2d(images, self.kernel, padding=1) + self.table).flatten(1)
        return {CATEGORY: self.last(x), ROTATION: x.detach() @ self.matrix + F.linear(x, self.last.weight).detach()}


def test_ownership_is_read_from_the_executed_graph_not_from_names(data: MultitaskData) -> None:
    found = find_ownership(_Tangled(), data)
    assert found.users == {"kernel": (CATEGORY,), "last.weight": (CATEGORY,), "matrix": (ROTATION,)}


def test_ownership_can_be_overridden(data: MultitaskData) -> None:
    users = {"trunk.3.weight": [ROTATION], "heads.category.4.weight": []}
    found = find_ownership(sample_network(), data, users=users)
    assert found.users["trunk.3.weight"] == (ROTATION,)
    assert "heads.category.4.weight" not in found.users
    with pytest.raises(CannotCompress, match=r"nothing\.weight is no weight"):
        find_ownership(sample_network(), data, users={"nothing.weight": [CATEGORY]})
    with pytest.raises(CannotCompress, match="no task 'depth'"):
        find_ownership(sample_network(), data, users={"trunk.3.weight": ["depth"]})


def test_ownership_leaves_the_network_as_it_is(data: MultitaskData) -> None:
    network = sample_network()
    before = copy.deepcopy(network.state_dict())
    find_ownership(network, data)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_without_an_output_for_a_task_is_refused(data: MultitaskData) -> None:
    with pytest.raises(ValueError, match="task 'rotation': the network returns category, group"):
        find_ownership(sample_network(GROUP), data)


def test_a_network_without_weights_is_refused(data: MultitaskData) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return dict.fromkeys((CATEGORY, ROTATION), images.flatten(1)[:, :4] * self.scale)

    with pytest.raises(CannotCompress, match="nothing can be pruned"):
        find_ownership(Scaled(), data)


# scores and masks


def test_scores_are_gradient_times_weight_of_each_loss_alone(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    size = len(data.train)
    settings = DisparseSettings(batches=1, batch_size=size)
    found = task_scores(network, data, ownership, settings, seed=0)
    network.train()
    mean, std = data.image_task.mean[0], data.image_task.std[0]
    outputs = network((data.train.images.float() / 255 - mean) / std)
    for task, output in outputs.items():
        weights = [network.get_parameter(name) for name in ownership.of(task)]
        loss = F.cross_entropy(output, data.train.targets[task][0])
        gradients = torch.autograd.grad(loss, weights, retain_graph=True)
        wanted = [(g * w.detach()).abs().double() for g, w in zip(gradients, weights, strict=True)]
        total = sum(float(w.sum()) for w in wanted)
        for name, value in zip(ownership.of(task), wanted, strict=True):
            torch.testing.assert_close(found[task][name], value / total, rtol=1e-3, atol=1e-9)
        assert math.isclose(sum(float(s.sum()) for s in found[task].values()), 1.0, rel_tol=1e-9)


def test_loss_weights_do_not_touch_the_scores(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    heavy = MultitaskData(
        data.image_task,
        (classification(CATEGORY, weight=20.0), classification(ROTATION)),
        data.train,
        data.validation,
    )
    plain, weighted = (_scores(network, each, ownership) for each in (data, heavy))
    assert all(torch.equal(plain[t][n], weighted[t][n]) for t in plain for n in plain[t])
    joint = [_scores(network, each, ownership.joint(), "snip")[JOINT]["trunk.3.weight"] for each in (data, heavy)]
    assert not torch.allclose(joint[0], joint[1])


def test_scores_do_not_change_the_network(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    before = copy.deepcopy(network.state_dict())
    _scores(network, data, find_ownership(network, data))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_shared_masks_are_the_or_and_the_density_is_exact(
    data: MultitaskData, ownership: Ownership, density: float
) -> None:
    network = sample_network()
    by_task, rho = masks_at_density(_scores(network, data, ownership), ownership, density)
    masks = unanimous(by_task, ownership)
    for name in ownership.shared:
        assert torch.equal(masks[name], by_task[CATEGORY][name] | by_task[ROTATION][name])
    for task in ownership.tasks:
        for name in ownership.private(task):
            assert torch.equal(masks[name], by_task[task][name])
        assert by_task[task].density == pytest.approx(rho, abs=1 / by_task[task].total)
    assert abs(masks.density - density) <= 0.001
    assert rho <= density + 1e-3
    network_names = {name for name, _ in network.named_parameters()}
    assert not {n for n in masks if "bias" in n or "trunk.1" in n or "trunk.4" in n}
    assert set(masks) <= network_names


def test_masks_are_one_global_top_k_for_each_task(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    scores = _scores(network, data, ownership)
    for task, masks in masks_at_ratio(scores, 0.2).items():
        kept = torch.cat([scores[task][name][mask] for name, mask in masks.items()])
        gone = torch.cat([scores[task][name][~mask] for name, mask in masks.items()])
        assert float(kept.min()) >= float(gone.max())
        assert len(kept) == int(0.2 * masks.total)


def test_masks_follow_their_task_when_tasks_change_places(data: MultitaskData) -> None:
    network = sample_network()
    turned = MultitaskData(data.image_task, data.tasks[::-1], data.train, data.validation)
    found = []
    for each in (data, turned):
        ownership = find_ownership(network, each)
        scores = _scores(network, each, ownership)
        found.append((masks_at_ratio(scores, 0.1), unanimous(masks_at_density(scores, ownership, 0.1)[0], ownership)))
    for task in (CATEGORY, ROTATION):
        assert all(torch.equal(found[0][0][task][name], mask) for name, mask in found[1][0][task].items())
    assert all(torch.equal(found[0][1][name], mask) for name, mask in found[1][1].items())


def test_a_heads_mask_does_not_depend_on_the_other_task(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    alone = MultitaskData(data.image_task, data.tasks[:1], data.train, data.validation)
    together = masks_at_ratio(_scores(network, data, find_ownership(network, data)), 0.1)[CATEGORY]
    by_itself = masks_at_ratio(_scores(network, alone, find_ownership(network, alone)), 0.1)[CATEGORY]
    assert set(together) == set(by_itself)
    assert all(torch.equal(mask, by_itself[name]) for name, mask in together.items())


class _Twice(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        output = self.network(images)
        return {"one": output, "two": output}


def test_equal_tasks_agree_on_everything_and_their_mask_is_snips(data: MultitaskData) -> None:
    labels = {"one": data.train.targets[CATEGORY], "two": data.train.targets[CATEGORY]}
    split = type(data.train)(data.train.images, labels)
    same = MultitaskData(data.image_task, (classification("one"), classification("two")), split, split)
    network = _Twice(nn.Sequential(sample_network().trunk, head(CLASSES)))
    ownership = find_ownership(network, same)
    found = [
        first_masks(network, same, owner, DisparseSettings(mode=mode, density=0.1, batches=4), seed=0)
        for mode, owner in (("static", ownership), ("snip", ownership.joint()))
    ]
    assert all(torch.equal(found[0].masks[name], mask) for name, mask in found[1].masks.items())
    assert found[0].overlap is not None
    assert {layer.iou for layer in found[0].overlap.layers} == {1.0}
    assert found[0].overlap.watershed() is None
    assert found[1].overlap is None


def test_scores_that_say_nothing_are_refused(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    nn.init.zeros_(network.heads[CATEGORY][4].weight)
    nn.init.zeros_(network.trunk[0].weight)
    nn.init.zeros_(network.trunk[3].weight)
    nn.init.zeros_(network.heads[CATEGORY][0].weight)
    with pytest.raises(CannotCompress, match="scores of 'category' sum to 0"):
        _scores(network, data, ownership)


def test_a_density_that_keeps_nothing_is_refused(data: MultitaskData, ownership: Ownership) -> None:
    network = sample_network()
    scores = _scores(network, data, ownership)
    with pytest.raises(BudgetUnreachable, match="keeps none"):
        masks_at_density(scores, ownership, 1e-5)


# agreement of tasks


def test_overlap_and_watershed() -> None:
    ownership = Ownership(("a", "b"), {name: ("a", "b") for name in ("stem", "middle", "late")})
    a = Masks({"stem": torch.tensor([1, 1, 0, 0]), "middle": torch.tensor([1, 1, 0, 0]), "late": torch.tensor([1, 0])})
    b = Masks({"stem": torch.tensor([1, 1, 0, 0]), "middle": torch.tensor([1, 0, 1, 0]), "late": torch.tensor([0, 1])})
    found = overlap_of({"a": a, "b": b}, ownership)
    assert [layer.iou for layer in found.layers] == [1.0, 1 / 3, 0.0]
    assert [layer.chance for layer in found.layers] == pytest.approx([1 / 3] * 3)
    assert found.table().splitlines()[2] == " 0.33   0.33  middle"
    assert found.watershed(0.1) == "late"
    assert found.watershed(0.25) == "middle"  # 1 of 5 from there on
    assert found.watershed(0.5) == "stem"  # 3 of 7
    assert Overlap((LayerOverlap("x", 5, 5, 0.1),)).watershed() is None


def test_coarse_groups_follow_the_classes() -> None:
    grouped = with_group(patterns(), (0, 0, 1, 1))
    assert torch.equal(grouped.train.targets[GROUP][0], grouped.train.targets[CATEGORY][0] // 2)


@pytest.mark.parametrize("name", ["class", "two words", ""])
def test_names_of_tasks_must_be_names_of_modules(data: MultitaskData, name: str) -> None:
    with pytest.raises(InvalidDataset, match="expected a Python name"):
        MultitaskData(data.image_task, (classification(name),), data.train, data.validation)
