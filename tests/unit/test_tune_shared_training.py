"""Two processes that share every batch hold the gradients, statistics and figures of one."""

import multiprocessing
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from nas.train.distributed.fit import check_shares, fit_together
from nas.train.distributed.norms import SharedBatchNorm, synchronise_norms
from nas.train.distributed.shared_training import SharedTraining
from nas.train.fit import Training, fit
from nas.train.recipe import InvalidRecipe, Recipe
from nas.train.subset import without_test

RECIPE = {"epochs": 1, "batch_size": 64, "learning_rate": 0.05, "ema_decay": 0.9}


def network(norms):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3, stride=2, bias=not norms), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()]
    if norms:
        layers.insert(1, nn.BatchNorm2d(6))
        layers.insert(4, nn.BatchNorm2d(8))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def state(training):
    gradients = {f"gradient {name}": p.grad.clone() for name, p in training.model.named_parameters()}
    values = {name: value.clone().float() for name, value in training.final.state_dict().items()}
    return {**gradients, **values}


def steps(kind):
    """The state after one step and the figures of an epoch, of networks without and with norms."""
    found = {}
    for norms in (False, True):
        training = kind(network(norms), without_test("digits", 192), Recipe(**RECIPE), seed=3)
        loss = training._step(torch.arange(64), torch.Generator().manual_seed(1))
        found[norms] = {"loss": loss, **state(training)}
        report = training.train_epoch()
        found[norms]["epoch"] = torch.tensor([report.train_loss, report.validation_loss, report.validation_top1])
    return found


def member(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(steps(SharedTraining), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What each of two processes found, without norms (False) and with them (True)."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks, which spare the imports
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        members = [multiprocessing.get_context("fork").Process(target=member, args=(i, folder)) for i in range(2)]
        for process in members:
            process.start()
    for process in members:
        process.join(timeout=120)
    assert [process.exitcode for process in members] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    return steps(Training)


@pytest.mark.parametrize("norms", [False, True])
def test_gradients_weights_and_statistics_are_those_of_one_process(shared, alone, norms):
    for name, expected in alone[norms].items():
        if name != "epoch":
            np.testing.assert_allclose(shared[0][norms][name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any("gradient" in name and value.abs().max() > 1e-3 for name, value in alone[norms].items())


@pytest.mark.parametrize("norms", [False, True])
def test_both_processes_are_equal_to_the_bit(shared, norms):
    for name, value in shared[0][norms].items():
        assert torch.equal(value, shared[1][norms][name]), name


def test_an_epoch_has_the_losses_of_one_process(shared, alone):
    np.testing.assert_allclose(shared[0][False]["epoch"], alone[False]["epoch"], rtol=1e-4)


def test_norms_stay_the_same_modules_with_the_same_weights():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3)))
    images = torch.randn(8, 1, 4, 4)
    before, modules = {k: v.clone() for k, v in model.state_dict().items()}, list(model.modules())
    expected = model.eval()(images)
    synchronise_norms(model, torch.device("cpu"))
    assert list(model.modules()) == modules
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sum(isinstance(module, SharedBatchNorm) for module in model.modules()) == 2
    assert torch.equal(model(images), expected)


@pytest.mark.parametrize(("size", "workers"), [(64, 3), (4, 4), (65, 2)])
def test_a_batch_that_workers_cannot_share_is_refused(size, workers):
    with pytest.raises(InvalidRecipe, match=f"batch_size={size} for {workers} workers, expected a multiple"):
        check_shares(size, workers)


def test_one_worker_is_the_usual_training():
    recipe, dataset = Recipe(**RECIPE), without_test("digits", 192)
    first = fit(network(True), dataset, recipe, seed=0)
    assert fit_together(network(True), dataset, recipe, seed=0, workers=1) == first
