import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from nas.export.card import CardFacts, LatencyEvidence
from nas.export.errors import ExportFailed, InvalidPretrained
from nas.export.onnx import write_onnx
from nas.export.parity import ParityFailed, check_parity
from nas.export.pretrained import from_pretrained, load_task, save_pretrained
from nas.train.evaluate import Evaluation
from nas.train.images import ImageTask
from search_spaces.arch import Architecture, Block
from search_spaces.build import Network, build

ARCH = Architecture(
    (Block("conv", 4), Block("zen_bl", 8, 3, 2, 1, inner=4, se=True), Block("genet_dw", 8, 5, inner=16))
)
TASK = ImageTask("shapes", ("lying", "standing", 'a "cross"\\'), (1, 8, 8), 1 / 255, (0.3,), (0.2,))
FACTS = CardFacts({"test": Evaluation(0.9, 0.31, 200)}, "cc-by-4.0", {"space": "zen_bl", "seed": 3, "note": "a|b\nc"})
LATENCY = LatencyEvidence("a quiet desk", "ONNX Runtime 1.0, 1 thread", 1, 1.5, 1.4, 1.6, "ok", 2.0)
FILES = ["README.md", "config.json", "model.onnx", "model.safetensors", "network.py"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def trained(arch=ARCH, task=TASK, seed=0) -> Network:
    """A network whose statistics and weights are not the initial ones."""
    torch.manual_seed(seed)
    network = build(arch, num_classes=len(task.classes), in_channels=task.input_shape[0])
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, *task.input_shape) * 2 + 1)
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_is_complete_and_the_network_comes_back(tmp_path):
    network = trained()
    report = save_pretrained(tmp_path / "out", network, task=TASK, facts=FACTS, measure=lambda path: LATENCY)
    assert names(tmp_path / "out") == FILES == sorted(report.size_bytes)
    assert report.size_bytes["model.onnx"] == (tmp_path / "out" / "model.onnx").stat().st_size
    assert report.parity.max_rel_error < 1e-5
    assert report.parity.agree_top1 == 1.0
    assert report.latency == LATENCY
    back = from_pretrained(tmp_path / "out")
    assert back.arch == ARCH
    assert not back.training
    images = torch.randn(4, 1, 8, 8)
    assert torch.equal(back(images), network(images))
    assert load_task(tmp_path / "out") == TASK


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_pretrained(tmp_path / name, trained(), task=TASK, facts=FACTS)
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in FILES)


def test_the_card_states_numbers_with_their_uncertainty_and_conditions(tmp_path):
    save_pretrained(tmp_path / "out", trained(), task=TASK, facts=FACTS, measure=lambda path: LATENCY)
    text = (tmp_path / "out" / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    accuracy, latency = header["model-index"][0]["results"][0]["metrics"]
    assert (accuracy["value"], accuracy["n"]) == (0.9, 200)
    assert accuracy["standard_error"] == pytest.approx(np.sqrt(0.09 * 1 / 200), rel=0.1)
    assert (latency["type"], latency["value"]) == ("latency_ms", 1.5)
    assert "1.500 ms (95 % interval 1.400 to 1.600 ms, measurement ok)" in text
    assert "budget of 2 ms is kept" in text
    assert "| note | a\\|b c |" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"high_ms": 1.6}, "is kept"),
        ({"high_ms": 2.1}, "is not proven to be kept"),
        ({"verdict": "void"}, "is not proven to be kept"),
        ({"low_ms": 2.1, "latency_ms": 2.2, "high_ms": 2.3}, "is missed"),
        ({"low_ms": 2.1, "latency_ms": 2.2, "high_ms": 2.3, "verdict": "void"}, "is not proven to be kept"),
    ],
)
def test_the_card_says_of_the_budget_what_the_measurement_proves(change, words):
    assert dataclasses.replace(LATENCY, **change).sentence.endswith(f"The budget of 2 ms {words}.")


def test_a_card_without_facts_claims_nothing(tmp_path):
    save_pretrained(tmp_path / "out", trained(), task=TASK)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Not measured." in text
    assert "Accuracy" not in text


def test_an_earlier_export_is_replaced_and_other_folders_are_left_alone(tmp_path):
    save_pretrained(tmp_path / "out", trained(), task=TASK, extra_files={"report.html": b"<p>"})
    assert (tmp_path / "out" / "report.html").read_bytes() == b"<p>"
    other = trained(seed=5)
    save_pretrained(tmp_path / "out", other, task=TASK)
    assert names(tmp_path / "out") == FILES
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(from_pretrained(tmp_path / "out")(images), other(images))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"")
    with pytest.raises(ExportFailed, match="holds other files"):
        save_pretrained(tmp_path / "photos", trained(), task=TASK)
    with pytest.raises(ExportFailed, match="is a file"):
        save_pretrained(tmp_path / "photos" / "cat.jpg", trained(), task=TASK)
    assert names(tmp_path) == ["out", "photos"]


def test_what_is_not_of_an_export_is_never_deleted(tmp_path):
    def refused(name):
        before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
        with pytest.raises(ExportFailed, match=rf"holds other files \({name}\); choose") as caught:
            save_pretrained(tmp_path / "out", trained(), task=TASK)
        assert "\n" not in str(caught.value)
        assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text('{"model_type": "bert"}')
    refused("config.json")
    (tmp_path / "out" / "config.json").unlink()
    save_pretrained(tmp_path / "out", trained(), task=TASK, extra_files={"report.html": b"<p>"})
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    refused("thesis.tex")
    (tmp_path / "out" / "thesis.tex").unlink()
    (tmp_path / "out" / "notes").mkdir()
    (tmp_path / "out" / "notes" / "config.json").write_text("mine")
    refused("notes")
    (tmp_path / "out" / "notes" / "config.json").unlink()
    (tmp_path / "out" / "notes").rmdir()
    (tmp_path / "out" / "model.onnx").unlink()
    (tmp_path / "out" / "model.onnx").mkdir()
    refused("model.onnx")


def test_files_put_there_while_it_was_exported_are_kept(tmp_path):
    def measure(path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years of work")
        return LATENCY

    with pytest.raises(ExportFailed, match=r"thesis\.tex"):
        save_pretrained(tmp_path / "out", trained(), task=TASK, measure=measure)
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["thesis.tex"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    for _ in range(2):
        save_pretrained(tmp_path / "out", trained(), task=TASK)
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path) == ["out", "real"]
    assert names(tmp_path / "real") == FILES


def test_the_current_folder_is_not_pulled_from_under_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportFailed, match="current folder"):
        save_pretrained(Path("."), trained(), task=TASK)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_export import TASK, save_pretrained, trained
save_pretrained(sys.argv[1], trained(), task=TASK, measure=lambda path: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_killed_exports_left_behind_is_removed_by_the_next(tmp_path):
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED, str(out), str(Path(__file__).parent)], check=False)
    left = names(tmp_path)
    assert len(left) == 1
    save_pretrained(tmp_path / ".out.mybackup", trained(), task=TASK)
    (tmp_path / ".out.mybackup" / "mine.txt").write_text("")  # named alike, but holds a file of the user's
    (tmp_path / ".out.12345678.old").mkdir()

    def other_export(path):  # one that goes on beside another is left alone, and removes nothing under way
        save_pretrained(out, trained(seed=1), task=TASK)
        assert path.is_file()
        return LATENCY

    save_pretrained(out, trained(), task=TASK, measure=other_export)
    assert names(tmp_path) == [".out.mybackup", "out"]


class Interrupted(BaseException):
    pass


def test_an_interrupted_export_leaves_what_was_there(tmp_path):
    def interrupt(path):
        assert path.is_file()  # the ONNX file is measured where it was written
        raise Interrupted

    with pytest.raises(Interrupted):
        save_pretrained(tmp_path / "out", trained(), task=TASK, measure=interrupt)
    assert names(tmp_path) == []
    save_pretrained(tmp_path / "out", trained(), task=TASK)
    before = {n: (tmp_path / "out" / n).read_bytes() for n in FILES}
    with pytest.raises(Interrupted):
        save_pretrained(tmp_path / "out", trained(seed=4), task=TASK, measure=interrupt)
    assert {n: (tmp_path / "out" / n).read_bytes() for n in FILES} == before
    assert names(tmp_path) == ["out"]


def test_what_cannot_be_exported_is_refused(tmp_path):
    def refused(words, network=None, task=TASK, **options):
        with pytest.raises(ExportFailed, match=words) as caught:
            save_pretrained(tmp_path / "out", network or trained(), task=task, **options)
        assert "\n" not in str(caught.value)
        assert names(tmp_path) == []

    refused("3 outputs, the task 2 classes", task=dataclasses.replace(TASK, classes=("a", "b")))
    refused(r"takes 1 channel\(s\), the task has 3", task=dataclasses.replace(TASK, input_shape=(3, 8, 8)))
    refused("plain name", extra_files={"../x": b""})
    refused("plain name", extra_files={"config.json": b""})
    broken = trained()
    broken.head.fc.weight.data[0, 0] = float("nan")
    refused(r"head\.fc\.weight holds NaN", broken)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportFailed, match=r"file/out: cannot be written") as caught:
        save_pretrained(tmp_path / "file" / "out", trained(), task=TASK)
    assert "\n" not in str(caught.value)


def edit_config(**change):
    def edit(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return edit


def flip_byte(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json: cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "not a configuration of netwright"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "not JSON"),
        (edit_config(schema_version=2), "schema version 2, this release reads 1"),
        (edit_config(input_shape=[8, 8]), "input_shape=[8, 8], expected [1, height, width]"),
        (edit_config(input_shape=[1, 8, "8"]), "expected [1, height, width]"),
        (edit_config(input_shape=[3, 8, 8]), "expected [1, height, width]"),
        (edit_config(classes=["a", "b", 3]), "names of the 3 classes"),
        (edit_config(classes=["a", "b"]), "names of the 3 classes"),
        (edit_config(mean=[]), "mean=[], expected one number"),
        (edit_config(std=["x"]), "std=['x'], expected one number"),
        (edit_config(in_channels=True), "in_channels=True"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "not JSON"),
        (edit_config(num_classes="3"), "num_classes='3', expected a value of type int"),
        (edit_config(num_classes=4, classes=list("abcd")), "head.fc"),
        (edit_config(architecture={"version": 1, "blocks": []}), "no blocks"),
        (edit_config(architecture={"version": 1, "blocks": [{"kind": "conv", "channels": 4}]}), "was changed"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"junk"), "not a safetensors file"),
        (flip_byte, "damaged"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path, damage, words):
    save_pretrained(tmp_path / "out", trained(), task=TASK)
    damage(tmp_path / "out")
    with pytest.raises(InvalidPretrained) as caught:
        from_pretrained(tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch", [1, 3, None])
def test_onnx_agrees_with_torch_for_fixed_and_open_batches(tmp_path, batch):
    network = trained()
    path = write_onnx(network, tmp_path / "m.onnx", TASK.input_shape, batch=batch)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    report = check_parity(network, path, TASK.input_shape, seeds=range(5))
    assert report.n == 5 * (batch or 2)
    assert report.max_abs_error < 1e-4
    assert report.agree_top1 == 1.0


def test_parity_notices_one_changed_weight_and_files_that_do_not_run(tmp_path):
    network = trained().train()
    path = write_onnx(network, tmp_path / "m.onnx", TASK.input_shape)
    with torch.no_grad():
        next(network.parameters())[0, 0, 1, 1] += 0.05
    with pytest.raises(ParityFailed, match="logits differ"):
        check_parity(network, path, TASK.input_shape)
    assert network.training
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ParityFailed, match="cannot load"):
        check_parity(network, tmp_path / "junk.onnx", TASK.input_shape)
    with pytest.raises(ParityFailed, match="cannot load"):
        check_parity(network, tmp_path / "absent.onnx", TASK.input_shape)
    wide = trained(task=dataclasses.replace(TASK, input_shape=(3, 8, 8)))
    with pytest.raises(ParityFailed, match="cannot run"):
        check_parity(wide, path, (3, 8, 8))
    fewer = trained(task=dataclasses.replace(TASK, classes=("a", "b")))
    with pytest.raises(ParityFailed, match="outputs of shape"):
        check_parity(fewer, path, TASK.input_shape)


def test_parity_fails_on_nan(tmp_path):
    network = trained()
    path = write_onnx(network, tmp_path / "m.onnx", TASK.input_shape)
    network.head.fc.bias.data[:] = float("nan")
    with pytest.raises(ParityFailed, match="differ"):
        check_parity(network, path, TASK.input_shape)


def test_the_program_runs_where_only_torch_is_known(tmp_path):
    network = trained()
    save_pretrained(tmp_path / "out", network, task=TASK)
    # -I: no PYTHONPATH, no current folder, no user site; the blocker also hides an installed copy of ours
    blocker = (
        "import sys, runpy\n"
        "hidden = ('nas', 'search_spaces', 'hardware', 'predictors', 'safetensors', 'onnx', 'sklearn')\n"
        "sys.modules.update(dict.fromkeys(hidden))\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')\n"
    )
    command = [sys.executable, "-I", "-c", blocker, str(tmp_path / "out" / "network.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("(1, 3)", 0), done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_on_cuda_is_exported(tmp_path):
    report = save_pretrained(tmp_path / "out", trained().cuda(), task=TASK)
    assert report.parity.agree_top1 == 1.0


def test_files_belong_to_the_folder_given_as_text(tmp_path):
    save_pretrained(str(tmp_path / "deep" / "er" / "out"), trained(), task=TASK)
    assert from_pretrained(str(tmp_path / "deep" / "er" / "out")).num_classes == 3
    assert Path(tmp_path / "deep" / "er" / "out").stat().st_mode & 0o755 == 0o755
