"""The generated program computes exactly what the searched network computes, for any architecture."""

import keyword
import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import blocks, fits

from nas.export.standalone import render_program
from nas.train.images import ImageTask
from search_spaces.arch import Architecture, Block
from search_spaces.autoformer import Sizes, transformer
from search_spaces.build import build


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def load_generated(text):
    space = {"__name__": "network", "__file__": "network.py"}
    exec(compile(text, "network.py", "exec"), space)
    return space


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(blocks(widths=st.integers(1, 9), max_depth=2, kernels=(1, 3, 5)), min_size=1, max_size=4),
    channels=st.sampled_from((1, 3)),
    classes=st.integers(2, 30),
    side=st.integers(5, 13),
    seed=st.integers(0, 2**32),
)
def test_generated_and_searched_networks_are_equal(rows, channels, classes, side, seed):
    arch = Architecture(tuple(rows))
    assume(fits(arch, (channels, side, side + 1)))
    names = tuple(f"c{i}" for i in range(classes))
    task = ImageTask("any", names, (channels, side, side + 1), 1.0, (0.5,) * channels, (0.25,) * channels)
    torch.manual_seed(seed)
    network = build(arch, num_classes=classes, in_channels=channels)
    network(torch.randn(4, *task.input_shape) + 1)  # moves the statistics of the norms
    generated = load_generated(render_program(arch, task))
    copy = generated["Network"]()
    copy.load_state_dict({generated["attribute"](name): value for name, value in network.state_dict().items()})
    images = torch.randn(2, *task.input_shape)
    with torch.inference_mode():
        assert torch.equal(copy.eval()(images), network.eval()(images))


@given(name=st.text(max_size=30), classes=st.lists(st.text(max_size=12), min_size=2, max_size=12))
@settings(deadline=None)
def test_names_that_look_like_code_stay_names(name, classes):
    task = ImageTask(name, tuple(classes), (3, 8, 8), 1 / 255, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    generated = load_generated(render_program(Architecture((Block("conv", 2),)), task))
    assert generated["CLASSES"] == tuple(classes)
    assert generated["INPUT_SHAPE"] == (3, 8, 8)
    assert generated["PIXEL_SCALE"] == 1 / 255


def test_preprocessing_is_that_of_training():
    from nas.train.data import load_dataset
    from nas.train.evaluate import Normaliser, to_tensors

    data = load_dataset("digits")
    images, _ = to_tensors(data.test)
    generated = load_generated(render_program(Architecture((Block("conv", 2),)), data.task))
    assert torch.allclose(generated["preprocess"](images), Normaliser(data)(images), atol=1e-6)


@pytest.mark.parametrize("head_width", [2, 3, 7])
def test_the_attention_of_a_program_rounds_as_that_of_the_network(head_width):
    arch = transformer(Sizes((2,), 3, head_width), 2, 6, [(3, 1.5)])
    task = ImageTask("any", ("a", "b"), (1, 9, 10), 1.0, (0.5,), (0.25,))
    torch.manual_seed(head_width)
    network = build(arch, num_classes=2, in_channels=1).eval()
    generated = load_generated(render_program(arch, task))
    copy = generated["Network"]().eval()
    copy.load_state_dict({generated["attribute"](name): value for name, value in network.state_dict().items()})
    images = torch.randn(2, *task.input_shape)
    with torch.inference_mode():
        assert torch.equal(copy(images), network(images))


def test_an_attention_names_what_it_reads():
    arch = transformer(Sizes((2,), 4, 4), 2, 8, [(2, 2.0), (1, 1.0)])
    text = render_program(arch, ImageTask("x", ("a", "b"), (1, 8, 8), 1.0, (0.0,), (1.0,)))
    assert text.count("attention(queries, keys, values, heads=") == 2


@pytest.mark.parametrize("se", [False, True])
def test_the_forward_pass_is_readable(se):
    arch = Architecture((Block("conv", 4), Block("zen_bl", 8, 3, 2, 2, inner=4, se=se)))
    text = render_program(arch, ImageTask("x", ("a", "b"), (1, 8, 8), 1.0, (0.0,), (1.0,)))
    forward = text[text.index("def forward") : text.index("def preprocess")]
    variables = set(re.findall(r"^        (\w+) = ", forward, re.MULTILINE))
    assert variables <= {"x", "y", "shortcut", "gate"}
    assert not any(map(keyword.iskeyword, variables))
    assert max(map(len, text.splitlines())) <= 110
    assert "import nas" not in text
