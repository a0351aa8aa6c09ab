import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas.train.augment import choose_augment, cutout, flip, shift
from nas.train.ema import WeightAverage
from nas.train.recipe import AUGMENTATIONS, InvalidRecipe, Recipe
from nas.train.schedule import learning_rate_at, warmup_steps
from nas.train.torch_device import InvalidTorchDevice, check_torch_device


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_recipe_survives_json():
    recipe = Recipe(epochs=3, augment="none", warmup_epochs=2)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"epochs": 0}, "recipe.epochs=0"),
        ({"batch_size": 1}, "recipe.batch_size=1"),
        ({"learning_rate": 0.0}, "more than 0"),
        ({"learning_rate": math.nan}, "recipe.learning_rate=nan"),
        ({"momentum": 1.0}, "below 1"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"ema_decay": -0.1}, "ema_decay"),
        ({"augment": "mixup"}, "flip_crop"),
        ({"optimiser": "lion"}, "recipe.optimiser='lion', expected one of auto, sgd, adamw"),
    ],
)
def test_settings_out_of_range_are_refused(setting, words):
    with pytest.raises(InvalidRecipe, match=words):
        Recipe(**setting)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"epoch": 3}, "unknown setting"),
        ({"epochs": "3"}, "type int"),
        ({"epochs": True}, "type int"),
        ({"epochs": 1.5}, "type int"),
        ({"epochs": math.inf}, "type int"),
        ({"epochs": math.nan}, "type int"),
        ({"learning_rate": True}, "type float"),
        ({"augment": 5}, "type str"),
    ],
)
def test_unknown_and_ill_typed_settings_are_refused(data, words):
    with pytest.raises(InvalidRecipe, match=words):
        Recipe.from_dict(data)


def test_whole_numbers_may_come_as_floats():
    recipe = Recipe.from_dict({"epochs": 1e1, "learning_rate": 1})
    assert (recipe.epochs, type(recipe.epochs), recipe.learning_rate) == (10, int, 1.0)


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:99999", "mps", "cpu:0"])
def test_a_device_that_does_not_exist_is_refused(name):
    with pytest.raises(InvalidTorchDevice, match=r"train_device='.*', expected cpu, cuda or cuda:N"):
        check_torch_device(name)


@pytest.mark.parametrize(("count", "name", "words"), [
    (0, "cuda", "finds no CUDA device here; use cpu"),
    (2, "cuda:2", "this machine has 2, expected cuda:0 to cuda:1"),
])  # fmt: skip
def test_a_device_that_this_machine_does_not_have_is_refused(monkeypatch, count, name, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InvalidTorchDevice, match=f"--device='{name}'.*{words}"):
        check_torch_device(name, "--device")


def test_devices_that_are_there_are_accepted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [check_torch_device(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]


def test_the_schedule_rises_linearly_and_falls_along_a_cosine():
    rates = [learning_rate_at(step, total=12, warmup=4, peak=0.8) for step in range(12)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == pytest.approx(0.8)
    assert rates[8] == pytest.approx(0.4)  # half-way down
    assert rates[11] == pytest.approx(0.4 * (1 + math.cos(math.pi * 7 / 8)))
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert learning_rate_at(0, total=3, warmup=0, peak=1.0) == 1.0


def test_the_warm_up_takes_at_most_half_of_the_training():
    assert warmup_steps(1.5, 10, 20) == 15
    assert warmup_steps(5, 10, 2) == 10
    assert warmup_steps(0, 10, 2) == 0


def test_the_average_equals_the_example_worked_by_hand():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.15)
    for value in (1.0, 2.0, 3.0):
        model.weight.data.fill_(value)
        model.running_mean.fill_(value * 10)
        model.num_batches_tracked += 1
        average.update_(model)
    # decays min(0.15, (1 + t) / (10 + t)) = 0.1, 0.15, 0.15; the weight starts at 1, the mean at 0
    weight = 0.15 * (0.15 * (0.1 * 1 + 0.9 * 1) + 0.85 * 2) + 0.85 * 3
    mean = 0.15 * (0.15 * (0.1 * 0 + 0.9 * 10) + 0.85 * 20) + 0.85 * 30
    assert average.model.weight.item() == pytest.approx(weight, rel=1e-6)
    assert average.model.running_mean.item() == pytest.approx(mean, rel=1e-6)
    assert average.model.num_batches_tracked.item() == 3
    assert not average.model.weight.requires_grad


def test_the_first_weights_are_soon_forgotten():
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.999)
    model.weight.data.fill_(5.0)
    for _ in range(30):
        average.update_(model)
    assert average.model.weight.item() == pytest.approx(5.0, abs=1e-3)


@settings(deadline=None)
@given(
    name=st.sampled_from(AUGMENTATIONS),
    count=st.integers(1, 4),
    channels=st.sampled_from((1, 3)),
    side=st.integers(4, 33),
    width=st.integers(4, 20),
    raw=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_augmented_images_keep_shape_type_range_and_are_reproducible(name, count, channels, side, width, raw, seed):
    images = torch.randint(1, 256, (count, channels, side, width), generator=generator(), dtype=torch.uint8)
    images = images if raw else images.float()
    before = images.clone()
    augment = choose_augment(name, (channels, side, width))
    changed = augment(images, generator(seed))
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert torch.equal(images, before)
    assert torch.equal(augment(images, generator(seed)), changed)
    assert set(changed.unique().tolist()) <= {0} | set(images.unique().tolist())


def test_a_shift_is_a_crop_of_the_padded_image_for_every_offset():
    images = torch.arange(1, 10, dtype=torch.float32).reshape(1, 1, 3, 3).repeat(200, 1, 1, 1)
    padded = nn.functional.pad(images[:1], (1, 1, 1, 1))
    crops = {tuple(padded[0, 0, i : i + 3, j : j + 3].flatten().tolist()) for i in range(3) for j in range(3)}
    seen = {tuple(image.flatten().tolist()) for image in shift(images, 1, generator())}
    assert seen == crops


def test_channels_move_together():
    grey = torch.rand(6, 1, 9, 9)
    moved = shift(grey.repeat(1, 3, 1, 1), 2, generator())
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert not torch.equal(moved[:, :1], grey)


def test_flips_mirror_about_half_of_the_images():
    images = torch.rand(400, 1, 2, 3)
    flipped = flip(images, generator())
    mirrored = (flipped == images.flip(3)).all(dim=(1, 2, 3))
    untouched = (flipped == images).all(dim=(1, 2, 3))
    assert (mirrored | untouched).all()
    assert 140 < int(mirrored.sum()) < 260


def test_cutout_blanks_one_rectangle_of_at_most_the_side():
    for image in cutout(torch.ones(50, 2, 9, 9), 4, generator()):
        holes = image[0] == 0
        rows, columns = holes.any(1).sum(), holes.any(0).sum()
        assert holes.sum() == rows * columns
        assert 2 <= rows <= 4
        assert torch.equal(image[0], image[1])


def test_auto_never_mirrors_grey_images_and_moves_small_ones_by_one_pixel():
    images = torch.zeros(300, 1, 8, 8)
    images[:, :, 4, 2] = 1.0
    changed = choose_augment("auto", (1, 8, 8))(images, generator())
    places = {tuple(place) for place in changed.nonzero()[:, 2:].tolist()}
    assert places == {(row, column) for row in (3, 4, 5) for column in (1, 2, 3)}


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 3


@pytest.mark.parametrize(
    ("shape", "attention", "changes"),
    [((1, 8, 8), False, True), ((1, 8, 8), True, False), ((1, 28, 28), True, True), ((3, 8, 8), True, True)],
)
def test_a_transformer_does_not_learn_shifts_of_tiny_grey_images(shape, attention, changes):
    images = torch.rand((32, *shape), generator=generator())
    changed = choose_augment("auto", shape, attention=attention)(images, generator())
    assert (not torch.equal(changed, images)) == changes
