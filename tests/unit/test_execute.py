import pytest
import torch
from strategies import CELL, sensible

from search_spaces.arch import Architecture, Block
from search_spaces.blocks import BLOCKS
from search_spaces.build import build
from search_spaces.execute import MissingTensor, execute, plain_network
from search_spaces.expand import expand
from search_spaces.layers import ADD, INPUT, MUL, main_path


def _architecture(kind, *, se=False):
    def block(channels, stride, depth):
        choices = {"inner": 8, "expansion": 2, "se": se, "heads": 2, "head_width": 3, "group_width": 4, "ops": CELL}
        kernel = 2 if kind == "vit_patches" else 3
        return sensible(kind, channels=channels, kernel=kernel, stride=stride, depth=depth, **choices)

    return Architecture((Block("conv", 8, 3, 2), block(12, 1, 1), block(16, 2, 2)))


def _randomised(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else 0.3 * noise)
    return model


CASES = [(kind, False) for kind in BLOCKS] + [("zen_bl", True), ("zen_idw", True)]


@pytest.mark.parametrize(("kind", "se"), CASES)
def test_it_is_the_module_in_evaluation(kind, se):
    arch = _architecture(kind, se=se)
    model = _randomised(build(arch, num_classes=5), seed=1).eval()
    x = torch.randn(2, 3, 17, 14, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(x)
        got = execute(expand(arch, (3, 17, 14), 5), model.state_dict(), x)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "se"), CASES)
def test_it_is_the_module_in_training(kind, se):
    arch = _architecture(kind, se=se)
    model = _randomised(build(arch, num_classes=5), seed=1).train()
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        got = execute(expand(arch, (3, 16, 16), 5), model.state_dict(), x, norm="batch")
        expected = model(x)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_tensors():
    arch = _architecture("zen_bl")
    layers = expand(arch, (3, 8, 8), 5)
    tensors = {
        name: t.clone().requires_grad_(t.is_floating_point())
        for name, t in build(arch, num_classes=5).state_dict().items()
    }
    execute(layers, tensors, torch.randn(2, 3, 8, 8), norm="batch").square().sum().backward()
    grad = tensors["head.fc.weight"].grad
    assert grad is not None
    assert grad.abs().sum() > 0


def test_a_missing_tensor_is_named():
    arch = _architecture("conv")
    tensors = dict(build(arch, num_classes=5).state_dict())
    del tensors["head.fc.bias"]
    with pytest.raises(MissingTensor, match=r"^head\.fc\.bias is missing, expected a tensor for linear"):
        execute(expand(arch, (3, 8, 8), 5), tensors, torch.randn(1, 3, 8, 8))


def test_the_plain_network_is_the_main_path_without_joins():
    layers = expand(_architecture("zen_idw", se=True), (3, 16, 16), 5)
    plain = plain_network(layers)
    assert [layer.name for layer in plain] == [layer.name for layer in main_path(layers) if layer.op not in (ADD, MUL)]
    assert [layer.inputs for layer in plain] == [(at - 1,) for at in range(len(plain))]
    assert plain[0].inputs == (INPUT,)
