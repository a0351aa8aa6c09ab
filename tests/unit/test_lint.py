"""The linter: what each rule finds and leaves alone, and what is said of the fixes."""

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from hardware.analytic_devices import analytic_device
from hardware.device import Device
from hardware.kernels import check_kernel, kernels_of
from hardware.lint.linter import lint, network_ms
from hardware.runtime_memory import block_here
from nas.cli.lint import lint as command
from nas.subject import SubjectUnclear, load_subject
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.trace import trace

V100 = analytic_device("v100", "fp16")
CPU = Device()


def inverted(width, mid, stride=1):
    return nn.Sequential(
        nn.Conv2d(width, mid, 1, bias=False),
        nn.BatchNorm2d(mid),
        nn.ReLU6(),
        nn.Conv2d(mid, mid, 3, stride, 1, groups=mid, bias=False),
        nn.BatchNorm2d(mid),
        nn.ReLU6(),
        nn.Conv2d(mid, width, 1),
    )


def found(module, shape, device, batch=1):
    return {each.finding.rule: each for each in lint(trace(module, shape), shape, device, batch=batch, seconds=0)}


def test_depthwise_at_high_resolution_is_found_on_a_gpu_with_the_fused_convolution_as_fix():
    module = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), inverted(32, 96), nn.AdaptiveAvgPool2d(1))
    judged = found(module, (3, 224, 224), V100, batch=64)
    each = judged["depthwise-at-high-resolution"]
    assert each.finding.layers == ("1.3",)
    assert each.finding.fix == "replace the 1x1 before it and this by one full 3x3 from 32 to 96 channels"
    assert each.helps
    assert each.effect.evidence == "predicted"
    [kernel] = kernels_of(each.finding.after)
    assert (kernel.kind, kernel.in_shape, kernel.shape) == ("conv", (32, 112, 112), (96, 112, 112))
    assert "depthwise-at-high-resolution" not in found(module, (3, 224, 224), CPU)


def test_depthwise_on_small_maps_is_left_alone():
    module = nn.Sequential(nn.Conv2d(3, 64, 16, 16), inverted(64, 384), nn.AdaptiveAvgPool2d(1))
    assert "depthwise-at-high-resolution" not in found(module, (3, 224, 224), V100, batch=64)


def test_odd_channels_are_found_and_whole_ones_and_images_are_not():
    odd = nn.Sequential(nn.Conv2d(3, 66, 3, padding=1), nn.Conv2d(66, 66, 3, padding=1))
    each = found(odd, (3, 56, 56), V100, batch=64)["channels-off-alignment"]
    assert each.finding.fix in ("3 -> 64 channels", "64 -> 64 channels")
    assert each.helps
    wider = nn.Sequential(nn.Conv2d(3, 61, 3, padding=1), nn.Conv2d(61, 64, 3, padding=1))
    free = found(wider, (3, 56, 56), V100, batch=64)["channels-off-alignment"]
    assert free.finding.fix == "64 -> 64 channels"
    assert free.is_wider
    assert free.verdict == "wider for the same time"  # what it costs already
    whole = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1))
    assert "channels-off-alignment" not in found(whole, (3, 56, 56), V100, batch=64)


def test_groups_that_are_no_whole_vectors_are_found_on_a_cpu():
    module = nn.Sequential(nn.Conv2d(3, 96, 1), nn.Conv2d(96, 96, 3, padding=1, groups=8))
    each = found(module, (3, 28, 28), CPU)["groups-off-vectors"]
    assert each.finding.layers == ("1",)
    [kernel] = kernels_of(each.finding.after)
    check_kernel(kernel)
    assert 96 // kernel.groups % block_here() == 0
    assert each.helps
    assert "groups-off-vectors" not in found(module, (3, 28, 28), V100)


def test_a_window_beyond_its_map_can_shrink_without_any_change():
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 3, padding=1))
    each = found(module, (16, 8, 8), CPU)["window-beyond-the-map"]
    assert each.finding.fix.startswith("a 1x1 window")
    small = nn.Conv2d(16, 16, 1)
    with torch.no_grad():
        small.weight.copy_(module[1].weight[:, :, 1:2, 1:2])
        small.bias.copy_(module[1].bias)
        images = torch.randn(2, 16, 8, 8)
        torch.testing.assert_close(small(images.mean((2, 3), keepdim=True)), module(images))


def test_a_network_of_tiny_kernels_is_launch_bound_until_the_batch_grows():
    module = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(6)))
    each = found(module, (16, 14, 14), V100)["launch-bound"]
    assert each.finding.fix.startswith("batch 8")
    assert each.effect.after_ms < 0.5 * each.effect.before_ms
    assert "launch-bound" not in found(module, (16, 112, 112), V100, batch=256)


@pytest.mark.parametrize("space", ["genet", "mobilenetv3-ofa", "resnet", "zen-imagenet"])
@pytest.mark.parametrize("device", [V100, CPU], ids=["v100", "cpu"])
def test_findings_are_ordered_merged_and_change_what_they_say(space, device):
    shape = (3, 128, 128)
    layers = expand(SPACES[space].sample(np.random.default_rng(1)), shape, 10)
    names = {layer.name for layer in layers}
    judged = lint(layers, shape, device, batch=8, seconds=0)
    gains = [each.total_gain_ms for each in judged]
    assert gains == sorted(gains, reverse=True)
    assert network_ms(layers, device, shape, 8) > sum(gains)
    assert all(each.helps for each in judged)
    for each in judged:
        assert set(each.finding.layers) <= names
        for kernel in kernels_of(each.finding.after):
            check_kernel(kernel)


def test_fixes_are_timed_where_the_device_is_this_machine():
    module = nn.Sequential(nn.Conv2d(3, 192, 1), nn.Conv2d(192, 192, 3, padding=1, groups=16))
    layers = trace(module, (3, 28, 28))
    [each, *_] = lint(layers, (3, 28, 28), CPU, seconds=3)
    assert each.finding.rule == "groups-off-vectors"
    assert each.effect.evidence == "measured"
    assert each.effect.after_ms < each.effect.before_ms  # im2col by group against a blocked kernel: several times


MODULE = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 48, 3, 1, 1, groups=4))

def odd():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU())
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    (tmp_path / "users_nets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_nets", raising=False)


def test_the_command_lints_a_users_module_and_a_design(users):
    args = ["users_nets:net", "--resolution", "64", "--no-measure", "--quiet"]
    result = json.loads(CliRunner().invoke(command, [*args, "--json"], catch_exceptions=False).output)
    assert {finding["rule"] for finding in result["findings"]} >= {"groups-off-vectors"}
    assert all(finding["evidence"] == "predicted" for finding in result["findings"])
    text = CliRunner().invoke(command, args).output
    assert "groups-off-vectors (saves time): 2: groups of 12 -> 12 channels leave the blocked layout" in text
    design = "SuperConvK3BNRELU(3,13,2,1)SuperConvK1BNRELU(13,64,1,1)"
    gpu = ["--device", "v100:precision=fp16,batch=64", "--resolution", "224"]
    text = CliRunner().invoke(command, [design, *gpu]).output
    assert "at 3x224x224 on v100 at fp16" in text
    assert "channels-off-alignment" in text


def test_what_cannot_be_linted_is_one_clear_line(users):
    with pytest.raises(SubjectUnclear, match="users_nets:net: of which images"):
        load_subject("users_nets:net", None, None, None)
    refused = CliRunner().invoke(command, ["users_nets:odd", "--resolution", "32"])
    assert "padded by 0, expected 1" in str(refused.exception)
    missing = CliRunner().invoke(command, ["users_nets:nothing", "--resolution", "32"])
    assert "has no attribute 'nothing'" in str(missing.exception)
