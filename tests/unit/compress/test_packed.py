"""Packed files of pruned networks: exact, as small as they say, refused where they do not fit."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nas.compress.errors import CannotCompress
from nas.compress.gap import PruningSettings
from nas.compress.gap.selection import largest_weights
from nas.compress.masks import Masks
from nas.compress.packed import InvalidPackedFile, load_packed_, read_packed, write_packed


def make_model(width=13):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 7, 3), nn.Flatten(), nn.Linear(7, 5)
    )


def pruned(model, sparsity=0.9, names=("2.weight", "4.weight")):
    masks = largest_weights({n: model.get_parameter(n) for n in names}, PruningSettings(sparsity=sparsity))
    masks.apply_(model)
    return masks


def test_all_tensors_and_masks_come_back_exactly(tmp_path):
    model = make_model()
    masks = pruned(model)
    with torch.no_grad():
        model[2].weight[masks["2.weight"].nonzero(as_tuple=True)[0][0]] = 0  # kept zeros
    write_packed(tmp_path / "a.safetensors", model, masks)
    found = read_packed(tmp_path / "a.safetensors")
    state = model.state_dict()
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], state[name]) for name in state)
    assert all(found.tensors[name].dtype == state[name].dtype for name in state)
    assert found.masks.keys() == masks.keys()
    assert all(torch.equal(found.masks[name], masks[name]) for name in masks)
    other = make_model()
    again = load_packed_(other, tmp_path / "a.safetensors")
    assert all(torch.equal(again[name], masks[name]) for name in masks)
    images = torch.randn(2, 1, 5, 5)
    assert torch.equal(other.eval()(images), model.eval()(images))


def test_bytes_are_counted_as_they_are(tmp_path):
    model = make_model(width=64)
    masks = pruned(model)
    size = write_packed(tmp_path / "a.safetensors", model, masks)
    assert size.file == (tmp_path / "a.safetensors").stat().st_size
    assert size.values == 4 * masks.kept
    assert size.bitmaps == sum(-(-mask.numel() // 8) for mask in masks.values())
    state = model.state_dict()
    assert size.dense == sum(t.numel() * t.element_size() for t in state.values())
    assert size.whole == size.dense - 4 * masks.total
    assert 0 < size.header < 2000
    assert size.file < 0.4 * size.dense


def test_half_precision_and_tied_weights(tmp_path):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)).bfloat16()
    model[2].weight = model[1].weight
    masks = pruned(model, 0.5, ("1.weight",))
    size = write_packed(tmp_path / "a.safetensors", model, masks)
    assert size.dense == 2 * (2 * 36 + 3 * 6)
    found = read_packed(tmp_path / "a.safetensors")
    assert torch.equal(found.tensors["2.weight"], model[1].weight)
    other = copy.deepcopy(model)
    nn.init.zeros_(other[1].weight)
    load_packed_(other, tmp_path / "a.safetensors")
    assert torch.equal(other[2].weight, model[1].weight)


def test_masks_of_another_network_are_refused_by_layer(tmp_path):
    masks = pruned(make_model(width=12))
    with pytest.raises(CannotCompress, match=r"masks: 2\.weight has shape \(7, 12, 3, 3\)"):
        write_packed(tmp_path / "a.safetensors", make_model(), masks)
    with pytest.raises(CannotCompress, match=r"masks: body\.weight is no parameter"):
        write_packed(tmp_path / "a.safetensors", make_model(), Masks({"body.weight": torch.ones(3)}))
    assert not list(tmp_path.iterdir())


def test_weights_that_would_be_lost_are_counted(tmp_path):
    model = make_model()
    masks = pruned(make_model())
    lost = masks["2.weight"].numel() - int(masks["2.weight"].sum())
    with pytest.raises(CannotCompress, match=rf"2\.weight: {lost} weights under no mask"):
        write_packed(tmp_path / "a.safetensors", model, masks)


def test_a_file_of_another_network_changes_nothing_and_names_the_layer(tmp_path):
    model = make_model(width=12)
    write_packed(tmp_path / "a.safetensors", model, pruned(model))
    other = make_model()
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(InvalidPackedFile, match=r"0\.weight is \(12, 1, 3, 3\) in the file and \(13, 1, 3, 3\)"):
        load_packed_(other, tmp_path / "a.safetensors")
    with pytest.raises(InvalidPackedFile, match=r"5\.weight is missing in the file"):
        load_packed_(nn.Sequential(*make_model(width=12), nn.Linear(5, 2)), tmp_path / "a.safetensors")
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(InvalidPackedFile, match="cannot be read"):
        read_packed(path)
    model = make_model()
    write_packed(path, model, pruned(model))
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(InvalidPackedFile, match="not a safetensors file"):
        read_packed(path)
    path.write_bytes(content)
    parts = load_file(path)
    save_file(parts, path)
    with pytest.raises(InvalidPackedFile, match="format None"):
        read_packed(path)
    metadata = {
        "format": "netwright-packed-1",
        "aliases": "{}",
        "shapes": '{"2.weight": [7, 13, 3, 3], "4.weight": [5, 7]}',
    }
    save_file({**parts, "values/4.weight": torch.ones(3)}, path, metadata)
    with pytest.raises(InvalidPackedFile, match=r"4\.weight has 3 values and 4 marked weights"):
        read_packed(path)
    save_file({**parts, "bitmap/2.weight": parts["bitmap/2.weight"][:-1]}, path, metadata)
    with pytest.raises(InvalidPackedFile, match=r"2\.weight has a bitmap of 102 bytes, expected 103"):
        read_packed(path)
    save_file(parts, path, {**metadata, "shapes": "{"})
    with pytest.raises(InvalidPackedFile, match="metadata are damaged"):
        read_packed(path)
