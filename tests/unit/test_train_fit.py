import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.train.checkpoint import InvalidCheckpoint, load_checkpoint, save_checkpoint
from nas.train.data import Dataset, Split, load_dataset
from nas.train.distill import Distillation, InvalidDistillation
from nas.train.entrant import build_network
from nas.train.evaluate import Evaluation, Normaliser, evaluate, evaluate_test, to_tensors
from nas.train.fit import Training, TrainingDiverged, fit
from nas.train.optimiser import has_attention
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture, Block
from search_spaces.autoformer import Sizes, transformer

ARCH = Architecture((Block("conv", 6), Block("zen_bl", 8, 3, 2, 1, inner=4, se=True)))
RECIPE = Recipe(epochs=4, batch_size=16, learning_rate=0.05)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def shapes(n=96, channels=1, seed=0):
    """Bars: class 0 lies, class 1 stands, class 2 is both."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, channels, 8, 8)).astype(np.uint8)
    labels = np.arange(n) % 3
    for i, label in enumerate(labels):
        at = rng.integers(1, 7)
        if label != 1:
            images[i, :, at, :] = 250
        if label != 0:
            images[i, :, :, at] = 250
    split = Split(images, labels.astype(np.int64))
    parts = [Split(split.images[a:b], split.labels[a:b]) for a, b in ((0, 60), (60, 78), (78, 96))]
    return Dataset("bars", *parts, ("lying", "standing", "cross"))


def network(dataset, seed=3):
    return build_network(ARCH, dataset, seed=seed)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_training_learns_and_reports_every_epoch():
    data = shapes()
    seen = []
    model = network(data)
    report = fit(model, data, dataclasses.replace(RECIPE, epochs=20), seed=0, on_epoch=seen.append)
    assert [r.epoch for r in report.curve] == list(range(1, 21))
    assert tuple(seen) == report.curve
    assert report.curve[-1].train_loss < report.curve[0].train_loss
    assert report.top1 > 0.6  # guessing gives 0.33
    assert not model.training
    result = evaluate(model, *to_tensors(data.validation), normalise=Normaliser(data))
    assert result.top1 == report.top1  # the averaged weights are those that were validated


@pytest.mark.parametrize("change", [{}, {"ema_decay": 0.0}, {"momentum": 0.0}, {"augment": "flip_crop_cutout"}])
def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(change):
    data, recipe = shapes(), dataclasses.replace(RECIPE, epochs=2, **change)
    outcomes = []
    for seed in (5, 5, 6):
        model = network(data)
        curve = fit(model, data, recipe, seed=seed).curve
        outcomes.append((curve, weights(model)))
    assert outcomes[0][0] == outcomes[1][0]
    assert same(outcomes[0][1], outcomes[1][1])
    assert not same(outcomes[0][1], outcomes[2][1])


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_training_stopped_after_any_epoch_resumes_bit_for_bit(tmp_path, stop_after):
    data = shapes()
    whole = network(data)
    expected = fit(whole, data, RECIPE, seed=1)

    def stop(report):
        if report.epoch == stop_after:
            raise Stopped

    with pytest.raises(Stopped):
        fit(network(data), data, RECIPE, seed=1, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    resumed, later = network(data), []
    torch.manual_seed(12345)
    report = fit(resumed, data, RECIPE, seed=1, checkpoint=tmp_path / "c.pt", on_epoch=later.append)
    assert [r.epoch for r in later] == list(range(stop_after + 1, 5))
    assert report.curve == expected.curve
    assert same(weights(resumed), weights(whole))


def test_all_weights_come_from_the_checkpoint(tmp_path):
    data = shapes()
    whole, other = Training(network(data), data, RECIPE, seed=1), Training(network(data), data, RECIPE, seed=1)
    whole.train_epoch()
    whole.save(tmp_path / "c.pt")
    for tensor in other.model.state_dict().values():
        tensor.zero_()
    other.load(tmp_path / "c.pt")
    first, second = whole.train_epoch(), other.train_epoch()
    assert first == second
    assert same(weights(whole.final), weights(other.final))


def test_dropout_of_a_users_own_model_resumes_too_and_leaves_the_global_generator_alone(tmp_path):
    data = shapes()

    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3))

    whole, resumed = model(), model()
    torch.manual_seed(7)
    fit(whole, data, RECIPE, seed=1)
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(7)).item()
    training = Training(resumed, data, RECIPE, seed=1)
    training.train_epoch()
    training.save(tmp_path / "c.pt")
    resumed = model()
    fit(resumed, data, RECIPE, seed=1, checkpoint=tmp_path / "c.pt")
    assert same(weights(resumed), weights(whole))


KILLED = """
import json, sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_train_fit import RECIPE, network, shapes, weights
from nas.train.fit import fit
torch.set_num_threads(1)
data = shapes()
model = network(data)
report = fit(model, data, RECIPE, seed=1, checkpoint=Path({path!r}), on_epoch=lambda r: print(r.epoch, flush=True))
"""


def test_a_killed_process_leaves_a_checkpoint_that_resumes_bit_for_bit(tmp_path):
    path = tmp_path / "c.pt"
    script = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout.readline().strip() == "1"
        process.send_signal(signal.SIGKILL)
    data = shapes()
    whole, resumed = network(data), network(data)
    expected = fit(whole, data, RECIPE, seed=1)
    assert fit(resumed, data, RECIPE, seed=1, checkpoint=path).curve == expected.curve
    assert same(weights(resumed), weights(whole))


def test_fit_never_reads_the_test_images():
    data = shapes()
    poisoned = dataclasses.replace(data, test=Split(np.empty((0, 1, 8, 8), np.uint8), np.empty(0, np.int64)))
    models = [network(data), network(data)]
    curves = [fit(m, d, RECIPE, seed=0).curve for m, d in zip(models, (data, poisoned), strict=True)]
    assert curves[0] == curves[1]
    assert same(*map(weights, models))


def test_the_test_set_is_evaluated_on_request():
    data = shapes()
    model = network(data)
    fit(model, data, RECIPE, seed=0)
    images, labels = to_tensors(data.test)
    normalised = (images.float() / 255 - data.mean[0]) / data.std[0]
    expected = (model(normalised).argmax(1) == labels).float().mean().item()
    result = evaluate_test(model, data)
    assert result.n == 18
    assert result.top1 == pytest.approx(expected)


def test_the_standard_error_of_a_perfect_score_is_not_zero():
    assert Evaluation(1.0, 0.0, 100).standard_error > 0.005
    assert Evaluation(0.5, 0.0, 10000).standard_error == pytest.approx(0.005, rel=1e-3)


def test_evaluation_leaves_model_and_mode_alone():
    data = shapes()
    model = network(data).train()
    before = weights(model)
    evaluate(model, *to_tensors(data.test), normalise=Normaliser(data))
    assert model.training
    assert same(weights(model), before)


@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_divergence_is_one_clear_line(rate):
    data = shapes()
    with pytest.raises(TrainingDiverged, match=r"^epoch \d+: the \w+ loss is .*lower learning_rate") as caught:
        fit(network(data), data, dataclasses.replace(RECIPE, learning_rate=rate, warmup_epochs=0), seed=0)
    assert "\n" not in str(caught.value)


def test_norms_and_biases_do_not_decay():
    data = shapes()
    training = Training(network(data), data, RECIPE, seed=0)
    decayed, plain = training.optimiser.param_groups
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in plain["params"])
    assert (decayed["weight_decay"], plain["weight_decay"]) == (RECIPE.weight_decay, 0.0)
    assert len(decayed["params"]) + len(plain["params"]) == len(list(training.model.parameters()))


def test_a_wide_classifier_takes_smaller_steps():
    arch = Architecture((Block("conv", 6), Block("conv", 512, 1)))
    training = Training(build_network(arch, shapes(), seed=0), shapes(), RECIPE, seed=0)
    training.train_epoch()
    linear = next(m for m in training.model.modules() if isinstance(m, nn.Linear))
    rates = {p: group["lr"] for group in training.optimiser.param_groups for p in group["params"]}
    widest = max(rates.values())
    assert rates[linear.weight] == rates[linear.bias] == widest * 128 / 512
    assert sum(rate == widest for rate in rates.values()) == len(rates) - 2


def test_a_wide_head_on_a_small_network_learns():
    """With the full learning rate for its 1,024 features the loss jumped to 4.3 in the first epoch."""
    arch = Architecture((Block("conv", 16), Block("zen_xx", 24, 7, 2, inner=24), Block("conv", 1024, 1)))
    data = load_dataset("digits")
    report = fit(build_network(arch, data, seed=0), data, Recipe(epochs=4), seed=0)
    assert report.curve[0].train_loss < 2.6
    assert report.top1 > 0.8


def test_a_batch_larger_than_the_data_is_one_step():
    data = shapes()
    report = fit(network(data), data, dataclasses.replace(RECIPE, batch_size=5000, epochs=1), seed=0)
    assert len(report.curve) == 1


def test_grey_images_stored_with_their_channel_last_train_safely():
    data = shapes()
    last = [np.moveaxis(np.moveaxis(s.images, 1, 3).copy(), 3, 1) for s in (data.train, data.validation, data.test)]
    parts = [Split(x, s.labels) for x, s in zip(last, (data.train, data.validation, data.test), strict=True)]
    odd = Dataset(data.name, *parts, data.classes)
    assert odd.train.images.strides != data.train.images.strides
    models = [network(data), network(data)]
    curves = [fit(m, d, RECIPE, seed=0).curve for m, d in zip(models, (data, odd), strict=True)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2}, "seed is 1, this training has 2"),
        ({"recipe": dataclasses.replace(RECIPE, epochs=9)}, "recipe is"),
        ({"dataset": shapes(seed=4)}, "dataset is"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, words):
    data = shapes()
    path = tmp_path / "c.pt"
    fit(network(data), data, RECIPE, seed=1, checkpoint=path)
    facts = {"dataset": data, "recipe": RECIPE, "seed": 1} | change
    with pytest.raises(InvalidCheckpoint, match=words):
        fit(network(data), facts["dataset"], facts["recipe"], seed=facts["seed"], checkpoint=path)


def wider(dataset):
    arch = Architecture((*ARCH.blocks[:-1], dataclasses.replace(ARCH.blocks[-1], channels=10)))
    return build_network(arch, dataset, seed=3)


@pytest.mark.parametrize(
    ("other", "name"), [(lambda data: network(data, seed=4), "initial_weights"), (wider, "architecture")]
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, other, name):
    data, path = shapes(), tmp_path / "c.pt"
    fit(network(data), data, RECIPE, seed=1, checkpoint=path)
    with pytest.raises(InvalidCheckpoint, match=rf"c\.pt: {name} is .+, this training has .+; delete it or"):
        fit(other(data), data, RECIPE, seed=1, checkpoint=path)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match=r"c\.pt: cannot be read.*delete it"):
        load_checkpoint(path, {})


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


def test_a_checkpoint_never_runs_code(tmp_path, capsys):
    torch.save({"version": 1, "identity": {}, "state": Evil()}, tmp_path / "c.pt")
    with pytest.raises(InvalidCheckpoint):
        load_checkpoint(tmp_path / "c.pt", {})
    assert "code was run" not in capsys.readouterr().out


def test_a_failed_write_keeps_the_old_checkpoint_and_leaves_no_scrap(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"a": 1}, {})
    with pytest.raises((TypeError, AttributeError, RuntimeError)):
        save_checkpoint(path, {"a": (i for i in ())}, {})
    assert load_checkpoint(path, {}) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_mixed_precision_on_cuda_learns(tmp_path):
    data = shapes()
    report = fit(network(data), data, dataclasses.replace(RECIPE, epochs=20), seed=0, device="cuda")
    assert report.top1 > 0.6


def transformer_of(data, seed=3):
    arch = transformer(Sizes((2,), 3, 4), 2, 8, [(2, 2.0)])
    return build_network(arch, data, seed=seed)


@pytest.mark.parametrize(
    ("optimiser", "attention", "expected"),
    [
        ("auto", False, torch.optim.SGD),
        ("auto", True, torch.optim.AdamW),
        ("sgd", True, torch.optim.SGD),
        ("adamw", False, torch.optim.AdamW),
    ],
)
def test_attention_chooses_the_optimiser(optimiser, attention, expected):
    data = shapes()
    model = transformer_of(data) if attention else network(data)
    recipe = dataclasses.replace(RECIPE, optimiser=optimiser)
    training = Training(model, data, recipe, seed=0)
    report = training.train_epoch()
    assert type(training.optimiser) is expected
    share = 0.01 if expected is torch.optim.AdamW else 1.0
    decayed = max(group["weight_decay"] for group in training.optimiser.param_groups)
    assert decayed == pytest.approx(RECIPE.weight_decay / share)
    assert report.learning_rate == pytest.approx(RECIPE.learning_rate * share)


def test_a_users_transformer_is_one():
    assert has_attention(nn.Sequential(nn.Conv2d(1, 4, 3), nn.MultiheadAttention(4, 2)))
    assert not has_attention(nn.Sequential(nn.Conv2d(1, 4, 3)))


def test_position_tables_do_not_decay():
    data = shapes()
    training = Training(transformer_of(data), data, RECIPE, seed=0)
    decays = {p: group["weight_decay"] for group in training.optimiser.param_groups for p in group["params"]}
    names = dict(training.model.named_parameters())
    assert {name for name, p in names.items() if p.ndim > 1 and decays[p] == 0} == {"blocks.0.s0.positions.weight"}


def test_a_transformers_training_resumes_bit_for_bit(tmp_path):
    data, path = shapes(), tmp_path / "checkpoint.pt"
    whole, part = transformer_of(data), transformer_of(data)
    fit(whole, data, RECIPE, seed=1)
    training = Training(part, data, RECIPE, seed=1)
    training.train_epoch()
    training.save(path)
    again = transformer_of(data)
    fit(again, data, RECIPE, seed=1, checkpoint=path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_distillation_pulls_towards_the_teacher_and_belongs_to_the_checkpoint(tmp_path):
    data = shapes()
    wanted = torch.tensor([4.0, 0.0, 0.0])
    teacher = Distillation(lambda images: wanted.expand(len(images), -1), weight=1.0, name="always the first class")
    recipe = dataclasses.replace(RECIPE, epochs=2)
    plain, taught = network(data), network(data)
    fit(plain, data, recipe, seed=0)
    fit(taught, data, recipe, seed=0, distillation=teacher, checkpoint=tmp_path / "c.pt")
    images = torch.from_numpy(data.validation.images[:32]).float() / 255
    with torch.no_grad():
        assert taught(images).softmax(1)[:, 0].mean() > plain(images).softmax(1)[:, 0].mean() + 0.05
    with pytest.raises(InvalidCheckpoint, match="distillation"):
        fit(network(data), data, recipe, seed=0, checkpoint=tmp_path / "c.pt")
    with pytest.raises(InvalidDistillation, match="expected 0 to 1"):
        Distillation(lambda images: images, weight=2.0)
