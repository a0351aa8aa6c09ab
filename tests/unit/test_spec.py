import json

import pytest

from nas.config import Config
from nas.records import Candidate, Success
from nas.spec import Spec, load_spec
from nas.store import FILE_NAME, RunFileError, RunStore
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.plainnet import write_structure

ARCH = Architecture((Block("conv", 8), Block("zen_bl", 16, 5, 2, 2, inner=8), Block("conv", 32, kernel=1)))


def config(**change):
    """The text of an export's config.json with one thing changed."""
    block = {"kind": "conv", "channels": 8} | {k: v for k, v in change.items() if k not in ("in_channels", "dataset")}
    data = {"architecture": {"version": 1, "blocks": [block]}, "in_channels": 1, "dataset": "digits"}
    return json.dumps(data | {k: v for k, v in change.items() if k in data})


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_structure_string():
    assert load_spec(write_structure(ARCH, 1)) == Spec(ARCH, 1)


def test_files(place):
    (place / "a.json").write_text(json.dumps(ARCH.to_dict(), indent=2))
    (place / "a.txt").write_text("\n" + write_structure(ARCH, 4) + "\n")
    assert load_spec("a.json") == Spec(ARCH)
    assert load_spec(str(place / "a.json")) == Spec(ARCH)
    assert load_spec("a.txt") == Spec(ARCH, 4)


def test_an_export_says_what_it_was_made_for(place):
    config = {"architecture": ARCH.to_dict(), "in_channels": 1, "dataset": "digits", "more": [1]}
    (place / "export").mkdir()
    (place / "export" / "config.json").write_text(json.dumps(config))
    assert load_spec("export") == load_spec("export/config.json") == Spec(ARCH, 1, "digits")


def test_a_candidate_of_a_run(place):
    for name in ("run", "run:7"):
        with RunStore.create(place / name / FILE_NAME, {"config": Config(data="some.npz").to_dict()}) as store:
            store.append([Success(Candidate(0, ARCH), {"score": 1.0})])
    assert load_spec("run:0") == load_spec(f"run/{FILE_NAME}:0") == Spec(ARCH, data="some.npz")
    assert load_spec("run:7:0") == Spec(ARCH, data="some.npz")
    with pytest.raises(RunFileError, match="no candidate 7"):
        load_spec("run:7")
    with pytest.raises(RunFileError, match="no candidate"):
        load_spec("run:" + "9" * 18)
    with pytest.raises(InvalidArchitecture, match="no such file"):
        load_spec("run:" + "9" * 40)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.json", '{"version": 1,'),
        ("list.json", "[1, 2]"),
        ("number.json", "3"),
        ("empty.json", ""),
        ("version.json", '{"version": 2, "blocks": []}'),
        ("unknown.json", '{"version": 1, "blocks": [{"kind": "conv", "channels": 8, "colour": "red"}]}'),
        ("binary.json", b"\xff\xfe\x00"),
        ("channels.json", config(in_channels="x")),
        ("many.json", config(in_channels=10**9)),
        ("dataset.json", config(dataset=5)),
        ("architecture.json", '{"architecture": 5}'),
        ("kernel.json", config(kernel=1_000_000_001)),
        ("depth.json", config(depth=10**12)),
        ("width.json", config(channels=10**400)),
        ("digits.json", "9" * 5000),
        ("structure.txt", "SuperConvK3BNRELU(3,8,1)"),
        ("deep.json", "[" * 100_000),
    ],
)
def test_a_file_that_holds_no_architecture_is_one_line(place, name, content):
    (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidArchitecture) as caught:
        load_spec(name)
    assert len(str(caught.value).splitlines()) == 1
    assert name in str(caught.value) or "column 1" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", ".", "nothing", "nothing.json", "nothing:3", "x" * 5000, "x" * 5000 + ":3", "a\0b"]
)
def test_what_is_not_there_is_one_line_that_says_what_a_spec_is(place, text):
    with pytest.raises(InvalidArchitecture, match="RUN:ID") as caught:
        load_spec(text)
    assert len(str(caught.value)) < 400
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["Super(", "(", ")(", "SuperConvK3BNRELU(3,8,1,1):7"])
def test_a_bad_structure_string_names_its_column(text):
    with pytest.raises(InvalidArchitecture, match=r"column \d+"):
        load_spec(text)
