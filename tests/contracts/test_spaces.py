"""What every search space promises; a new row of SPACES is tested by being there."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.counts import count
from search_spaces import SPACES, UnknownSpace, load_space
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.build import build
from search_spaces.expand import check_blocks, expand
from search_spaces.space import GridSpace, Knob, NothingToMutate, Stage, StageSpace, Variant

BIG = {"zen-imagenet", "genet", "autoformer-small", "autoformer-base"}
LEAST_SIDE = {"autoformer-tiny": 16, "autoformer-small": 16, "autoformer-base": 16, "vit-tiny": 4}  # else 1 pixel


class Gated(GridSpace):
    """Two blocks; the second one's kernel has no effect when the second one is left out."""

    name = "gated"
    knobs = (Knob("width", (8, 16, 24)), Knob("second", (False, True)), Knob("kernel", (3, 5, 7)))

    def decode(self, values):
        first = Block("conv", int(values["width"]), stride=2)
        more = (Block("conv", 16, int(values["kernel"])),) if values["second"] else ()
        return Architecture((first, *more))

    def values_of(self, arch):
        width, second = arch.blocks[0].channels, len(arch.blocks) == 2
        values = {"width": width, "second": second, "kernel": arch.blocks[1].kernel if second else 3}
        if any(values[knob.name] not in knob.choices for knob in self.knobs) or self.decode(values) != arch:
            raise InvalidArchitecture(f"gated: {arch.blocks}, expected one or two convolutions of 8, 16 or 24 channels")
        return values


class Bare:
    """Fits the protocol without any class of ours."""

    name = "bare"

    def sample(self, rng):
        return self._of(rng.integers(1, 65), rng.integers(1, 5))

    def _of(self, width, depth):
        return Architecture((Block("conv", int(width), depth=int(depth), stride=2),))

    def mutate(self, arch, rng):
        block = arch.blocks[0]
        return self._of(block.channels % 64 + 1, rng.integers(1, 5))

    def crossover(self, a, b, rng):
        return self._of(a.blocks[0].channels, b.blocks[0].depth)

    def validate(self, arch):
        block = arch.blocks[0]
        if len(arch.blocks) != 1 or block.channels > 64 or arch != self._of(block.channels, min(4, block.depth)):
            raise InvalidArchitecture(f"bare: {len(arch.blocks)} blocks, expected one convolution of 1..64 channels")

    def encode(self, arch):
        return np.array([arch.blocks[0].channels, arch.blocks[0].depth], dtype=np.float64)


STAGED = StageSpace(
    "staged",
    (
        Stage((Variant("conv"),), (8, 16), stride=2),
        Stage((Variant("genet_dw", 3.0), Variant("zen_idw", 1.0, expansion=4, se=True)), (16, 24), (3, 5), 2, (1, 2)),
    ),
)
ALL = {**SPACES, "staged": STAGED, "gated": Gated(), "bare": Bare()}
every_space = pytest.mark.parametrize("space", ALL.values(), ids=ALL)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


@every_space
@few
@given(seed=seeds)
def test_a_mutant_is_valid_new_and_survives_json(space, seed):
    rng = np.random.default_rng(seed)
    parent = space.sample(rng)
    space.validate(parent)
    for _ in range(5):
        child = space.mutate(parent, rng)
        space.validate(child)
        assert child != parent
        back = Architecture.from_json(child.to_json())
        assert back == child
        assert back.digest == child.digest
        parent = child


@every_space
@few
@given(seed=seeds)
def test_a_crossover_is_valid(space, seed):
    rng = np.random.default_rng(seed)
    child = space.crossover(space.sample(rng), space.mutate(space.sample(rng), rng), rng)
    assert space.validate(child) is None  # it raises otherwise
    assert Architecture.from_json(child.to_json()) == child


@every_space
@few
@given(seed=seeds)
def test_the_encoding_is_float64_finite_and_of_one_length(space, seed):
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    code, other = space.encode(first), space.encode(space.mutate(second, rng))
    assert code.dtype == np.float64
    assert code.ndim == 1
    assert code.shape == other.shape
    assert np.isfinite(code).all()
    assert (space.encode(Architecture.from_json(first.to_json())) == code).all()


@every_space
@few
@given(seed=seeds)
def test_equal_generators_walk_alike(space, seed):
    def walk():
        rng = np.random.default_rng(seed)
        seen = [space.sample(rng), space.sample(rng)]
        seen.append(space.crossover(*seen, rng))
        return [*seen, space.mutate(seen[0], rng)]

    assert walk() == walk()


@every_space
@few
@given(seed=seeds)
def test_every_count_is_a_finite_whole_number(space, seed):
    rng = np.random.default_rng(seed)
    arch = space.mutate(space.sample(rng), rng)
    least = LEAST_SIDE.get(space.name, 1)
    for shape in ((1, max(8, least), max(8, least)), (3, 33, 20), (3, least, least)):
        counts = count(arch, shape, 10)
        for value in (counts.params, counts.macs, counts.depth, counts.peak_memory_bytes):
            assert type(value) is int
            assert 0 < value < 2**63


@pytest.mark.parametrize("name", LEAST_SIDE)
def test_an_image_smaller_than_a_patch_is_one_line(name):
    arch = SPACES[name].sample(np.random.default_rng(0))
    patch = arch.blocks[0].kernel
    with pytest.raises(
        InvalidArchitecture, match=rf"{patch}x{patch} patches do not fit a map of {patch - 1}x9\d"
    ) as caught:
        count(arch, (3, patch - 1, 99), 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in ALL])
def test_a_member_builds_and_runs(name):
    torch.manual_seed(0)
    space = ALL[name]
    rng = np.random.default_rng(3)
    smallest = min((space.sample(rng) for _ in range(20)), key=lambda arch: count(arch, (3, 16, 16), 4).macs)
    with torch.no_grad():
        out = build(smallest, num_classes=4).eval()(torch.randn(1, 3, 16, 16))
    assert out.shape == (1, 4)
    assert torch.isfinite(out).all()


FOREIGN = {
    "unknown kind": Architecture((Block("wavelet", 8),)),
    "one odd block": Architecture((Block("conv", 4096, kernel=11),)),
    "bad stride": Architecture((Block("conv", 8, stride=3), Block("conv", 8), Block("conv", 8))),
    "many": Architecture((Block("zen_idw", 8, inner=8, expansion=1),) * 9),
    "no depth": Architecture((Block("conv", 8, depth=0),)),
}


@every_space
@pytest.mark.parametrize("arch", FOREIGN.values(), ids=FOREIGN)
def test_a_foreigner_is_refused_in_one_line_that_names_the_space(space, arch):
    with pytest.raises(InvalidArchitecture, match="expected") as caught:
        space.validate(arch)
    assert str(caught.value).startswith(f"{space.name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SPACES)
def test_a_member_with_one_wrong_choice_is_refused(name):
    space = SPACES[name]
    arch = space.sample(np.random.default_rng(1))
    free_gates = any(knob.name.endswith(".se") for knob in getattr(space, "knobs", ()))
    for at in range(len(arch.blocks)):
        width = 100_000 if name.startswith("tinynas") else 13  # TinyNAS published odd widths
        gate = {"act": "sigmoid"} if free_gates else {"se": not arch.blocks[at].se}
        for wrong in ({"channels": width}, {"kernel": 9}, {"stride": 3}, {"kind": "conv_9"}, gate):
            blocks = (*arch.blocks[:at], replace(arch.blocks[at], **wrong), *arch.blocks[at + 1 :])
            with pytest.raises(InvalidArchitecture, match=r"blocks\[-?\d+\]|halve the resolution"):
                space.validate(Architecture(blocks))


@pytest.mark.parametrize("name", SPACES)
def test_the_docs_have_a_row_for_it(name):
    page = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text()
    assert f"`{name}`" in page or f"`{name.split('-')[0]}-*`" in page


def test_an_inactive_knob_makes_no_second_member():
    rng = np.random.default_rng(0)
    members = {Gated().sample(rng) for _ in range(500)}
    assert Gated().cardinality == 18
    assert len(members) == 3 + 9


def test_a_mutation_reaches_every_member():
    space, rng = Gated(), np.random.default_rng(0)
    arch, seen = space.sample(rng), set()
    for _ in range(500):
        arch = space.mutate(arch, rng)
        seen.add(arch)
    assert len(seen) == 12


class Lonely(Gated):
    """Three values, one member."""

    knobs = (Knob("width", (8,)), Knob("second", (False,)), Knob("kernel", (3, 5, 7)))


class Frozen(Gated):
    knobs = (Knob("width", (8,)), Knob("second", (False,)), Knob("kernel", (3,)))


@pytest.mark.parametrize("space", [Lonely(), Frozen()], ids=["inactive", "frozen"])
def test_a_space_of_one_member_says_so_instead_of_searching_for_ever(space):
    rng = np.random.default_rng(0)
    with pytest.raises(NothingToMutate, match="gated"):
        space.mutate(space.sample(rng), rng)


@pytest.mark.parametrize("choices", [(), (1, 1)])
def test_a_knob_needs_distinct_choices(choices):
    with pytest.raises(ValueError, match="knob 'k'"):
        Knob("k", choices)


def test_cardinality_is_the_product_of_the_choices():
    assert STAGED.cardinality == 2 * (2 * 2 * 2 * 2)
    assert math.isfinite(float(SPACES["genet"].cardinality))


MODULE = """
from search_spaces.genet import GENET_TINY
from search_spaces.space import Stage, StageSpace, Variant

instance = GENET_TINY

class Space(StageSpace):
    def __init__(self):
        super().__init__("mine", (Stage((Variant("conv"),), (8, 16)),))

class Needy(Space):
    def __init__(self, width):
        pass

class Half:
    name = "half"
    def sample(self, rng): ...

class Nameless:
    def sample(self, rng): ...
    mutate = crossover = validate = encode = sample
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_space_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return "my_space_module"


def test_a_users_space_is_found_in_the_current_directory(user_module):
    assert load_space(f"{user_module}:Space").name == "mine"
    assert load_space(f"{user_module}:instance") is load_space(f"{user_module}:instance")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zen-tyni", "did you mean 'zen-tiny'"),
        ("my_space_module:Nothing", "no attribute 'Nothing'"),
        ("my_space_module:Half", "lacks 'mutate'"),
        ("my_space_module:Needy", "width"),
        ("my_space_module:Nameless", "lacks 'name'"),
        ("no_such_module:Space", "No module named"),
        (".relative:Space", "relative"),
        (":Space", "Empty module name"),
        ("", "known: zen"),
    ],
)
def test_a_space_that_cannot_be_had_is_one_line(user_module, name, said):
    with pytest.raises(UnknownSpace, match=said) as caught:
        load_space(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Block("conv", 8, kernel=1_000_000_001), "kernel=1000000001, expected 1 to 255"),
        (Block("conv", 8, depth=10**12), "depth=1000000000000, expected 1 to 1000"),
        (Block("conv", 10**30), "expected 1 to 65536"),
        (Block("zen_xx", 8, inner=65_537), "inner=65537"),
        (Block("zen_idw", 8, inner=8, expansion=257), "expansion=257"),
        (Block("conv", 8, stride=3), "stride=3, expected 1 to 2"),
    ],
)
def test_a_block_beyond_the_bounds_is_refused_before_anything_is_computed(block, said):
    arch = Architecture((Block("conv", 8), block))
    for use in (check_blocks, lambda a: expand(a, (3, 8, 8)), lambda a: count(a, (3, 8, 8), 10)):
        with pytest.raises(InvalidArchitecture, match=said):
            use(arch)


@pytest.mark.parametrize("shape", [(0, 8, 8), (3, 0, 8), (3, 8, 8193), (65_537, 8, 8)])
def test_images_beyond_the_bounds_are_refused(shape):
    with pytest.raises(
        InvalidArchitecture, match=r"input shape .*, expected 1 to 65536 channels and sides of 1 to 8192"
    ):
        expand(Architecture((Block("conv", 8),)), shape)


def test_a_network_that_no_file_could_hold_is_not_built():
    wide = Architecture((Block("conv", 65_536, 1), Block("conv", 65_536, 1)))
    with pytest.raises(InvalidArchitecture, match="weights, expected at most 500,000,000"):
        build(wide, num_classes=10)
