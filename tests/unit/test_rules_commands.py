"""``netwright rules`` and ``rank``: what they print, and what they say of bad input."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from nas.cli.rules import rank, rules
from nas.weights import WeightsUnreadable, load_weights_of

STATE = {"a.weight": torch.randn(16, 8, 3, 3), "a.bias": torch.zeros(16), "steps": torch.tensor(3)}


def run(command, *args):
    return CliRunner().invoke(command, args)


def test_rules_state_the_kind_of_every_stage_with_its_evidence():
    found = json.loads(run(rules, "--device", "v100:precision=fp16,batch=64", "--json").output)
    assert [stage["chosen"] for stage in found["stages"]] == ["genet_xx"] * 2 + ["genet_bl"] * 3
    assert found["batch"] == 64
    assert {option["kind"] for option in found["stages"][0]["options"]} == {"genet_xx", "genet_bl", "genet_dw"}
    ruled = json.loads(run(rules, "--need", "0.25", "--json").output)
    assert ruled["stages"][0]["chosen"] == "genet_bl"
    assert ruled["stages"][1]["chosen"] == "genet_xx"
    assert "23 % mean absolute error" in run(rules).output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--device", "v1000"), "did you mean 'v100'"),
        (("--device", "v100:batch=0"), "batch='0', expected a whole number from 1"),
        (("--device", "v100:clock=3"), "cannot read 'clock=3', expected NAME[:precision="),
        (("--space", "zen"), "has no stage that chooses between XX, BL and DW"),
        (("--need", "0.5") * 6, "given 6 times, but genet has 5 such stages"),
    ],
)
def test_rules_say_what_is_wrong(args, message):
    ended = run(rules, *args)
    assert ended.exit_code
    assert message in (ended.output + str(ended.exception))


@pytest.mark.parametrize("form", ["export.safetensors", "checkpoint.pt", "nested.pt", "arrays.npz", "folder"])
def test_weights_are_read_from_every_form(form, tmp_path):
    path = tmp_path / form
    if form == "folder":
        path.mkdir()
        save_file(STATE, path / "model.safetensors")
    elif form.endswith(".safetensors"):
        save_file(STATE, path)
    elif form.endswith(".npz"):
        np.savez(path, **{name: value.numpy() for name, value in STATE.items()})
    else:
        torch.save({"epoch": 3, "model": STATE} if form.startswith("nested") else STATE, path)
    found = load_weights_of(str(path))
    assert set(found) == {"a.weight", "a.bias"}
    assert np.array_equal(found["a.weight"], STATE["a.weight"].numpy())
    [row] = json.loads(run(rank, str(path), "--json").output)["layers"]
    assert row["shape"] == [16, 8, 3, 3]
    assert row["need"] > 0.9
    assert not row["low_rank"]


def test_a_module_of_the_users_own_is_ranked():
    ended = run(rank, "torch.nn:Identity")
    assert "holds no tensors of weights" in str(ended.exception)
    with pytest.raises(WeightsUnreadable, match=r"json:dumps: .*TypeError"):
        load_weights_of("json:dumps")
    with pytest.raises(WeightsUnreadable, match=r"makes a OrderedDict, expected a torch\.nn\.Module"):
        load_weights_of("collections:OrderedDict")


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt", "broken.npz"])
def test_damaged_weights_are_one_line(name, tmp_path):
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(WeightsUnreadable, match="not a") as refused:
        load_weights_of(str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_nothing_there_says_what_is_expected():
    with pytest.raises(WeightsUnreadable, match="no such file or folder; expected an exported folder"):
        load_weights_of("nowhere")
