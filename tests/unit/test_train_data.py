import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from nas.train.data import Dataset, InvalidDataset, Split, load_dataset
from nas.train.images import RawData, make_dataset
from nas.train.sources.idx import FASHION_MNIST_FOLDER, read_idx_file


def idx_bytes(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder, *, suffix="", prefix="", n=(30, 10)):
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "t10k"), n, strict=True):
        for what, array in (
            ("images-idx3", rng.integers(0, 256, (count, 5, 4))),
            ("labels-idx1", np.arange(count) % 3),
        ):
            data = idx_bytes(array)
            name = f"{prefix}{part}-{what}-ubyte{suffix}"
            (folder / name).write_bytes(gzip.compress(data) if suffix else data)


def write_images(root, classes=("ant", "bee"), n=8, size=(6, 5), mode="RGB"):
    rng = np.random.default_rng(1)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(n):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(root / name / f"{i}.png")


def refused(spec, *words):
    """The dataset is refused in one line that holds these words."""
    with pytest.raises(InvalidDataset) as caught:
        load_dataset(str(spec))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
    return True


def test_digits_have_three_disjoint_stratified_splits_that_never_change():
    first, second = load_dataset("digits"), load_dataset("digits")
    assert first.input_shape == (1, 8, 8)
    assert first.num_classes == 10
    assert len(first.train) + len(first.validation) + len(first.test) == 1797
    everything = np.concatenate([s.images for s in (first.train, first.validation, first.test)]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797  # all digits differ, so no image is in two splits
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(first, part).images, getattr(second, part).images)
        shares = np.bincount(getattr(first, part).labels) / len(getattr(first, part))
        assert np.abs(shares - 0.1).max() < 0.02


def test_mean_and_std_are_those_of_the_training_images_alone():
    data = load_dataset("digits")
    assert data.mean[0] == pytest.approx(data.train.images.mean(), rel=1e-5)
    assert data.std[0] == pytest.approx(data.train.images.std(), rel=1e-5)
    poisoned = Dataset(
        data.name, data.train, data.validation, Split(data.test.images * 9, data.test.labels), data.classes
    )
    assert poisoned.mean == data.mean


def test_statistics_of_bytes_are_per_channel_and_scaled():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5000, 3, 2, 2), dtype=np.uint8)
    images[:, 1] = 7
    data = make_dataset("x", RawData((images, np.arange(5000) % 2)))
    assert data.pixel_scale == 1 / 255
    assert data.mean[1] == pytest.approx(7 / 255)
    assert data.std[1] == 1.0  # a constant channel is only shifted
    assert data.std[0] == pytest.approx((data.train.images[:, 0] / 255).std(), rel=1e-6)


@pytest.mark.skipif(not FASHION_MNIST_FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debians_package():
    data = load_dataset("fashion-mnist")
    assert (len(data.train), len(data.validation), len(data.test)) == (55000, 5000, 10000)
    assert data.input_shape == (1, 28, 28)
    assert data.train.images.dtype == np.uint8
    assert data.classes[9] == "ankle-boot"
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.mean[0] == pytest.approx(0.286, abs=0.001)  # the figure that everybody uses for this set


@pytest.mark.skipif(FASHION_MNIST_FOLDER.is_dir(), reason="the package is installed")
def test_a_missing_fashion_mnist_names_the_package():
    assert refused("fashion-mnist", "dataset-fashion-mnist")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder_keeps_its_own_test_set(tmp_path, suffix):
    write_idx(tmp_path, suffix=suffix)
    data = load_dataset(str(tmp_path))
    assert data.input_shape == (1, 5, 4)
    assert (len(data.train) + len(data.validation), len(data.test)) == (30, 10)


def test_idx_prefix(tmp_path):
    write_idx(tmp_path, suffix=".gz", prefix="emnist-")
    assert load_dataset(str(tmp_path / "emnist")).num_classes == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-5], "truncated"),
        (lambda b: b"\x00\x00\x0d\x03" + b[4:], "magic"),
        (lambda b: b"", "magic"),
        (lambda b: b + b"x", "damaged"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path, change, words):
    write_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    assert refused(tmp_path, str(path), words)


def test_a_broken_gzip_and_a_missing_half_are_named(tmp_path):
    write_idx(tmp_path, suffix=".gz")
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:30])
    assert refused(tmp_path, path.name, "cannot be read")
    path.unlink()
    assert refused(tmp_path, "labels file beside it is missing")


def test_idx_dimensions_that_overflow_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes((0, 0, 8, 3)) + b"\xff" * 12 + b"123")
    with pytest.raises(InvalidDataset, match="asks for"):
        read_idx_file(path, 3)


def test_image_folder_in_colour_is_split(tmp_path):
    write_images(tmp_path, n=10)
    data = load_dataset(str(tmp_path))
    assert data.classes == ("ant", "bee")
    assert data.input_shape == (3, 5, 6)
    assert data.train.images.dtype == np.uint8
    assert len(data.train) + len(data.validation) + len(data.test) == 20


def test_image_folder_with_its_own_parts_stays_grey(tmp_path):
    for part, n in (("train", 9), ("val", 2), ("test", 3)):
        write_images(tmp_path / part, n=n, mode="L")
    data = load_dataset(str(tmp_path))
    assert data.input_shape == (1, 5, 6)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 4, 6)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    write_images(tmp_path, mode="L")
    Image.fromarray(np.full((5, 6), 0x8000, dtype=np.uint16)).save(tmp_path / "ant" / "deep.png")
    data = load_dataset(str(tmp_path))
    everything = np.concatenate([data.train.images, data.validation.images, data.test.images])
    assert any((image == 0x80).all() for image in everything)


def test_size_resizes_and_a_mixture_of_sizes_without_it_is_refused(tmp_path):
    write_images(tmp_path, n=6)
    Image.new("RGB", (20, 9)).save(tmp_path / "bee" / "wide.png")
    assert refused(tmp_path, "wide.png", "20x9", "6x5", "?size=32")
    assert load_dataset(f"{tmp_path}?size=4").input_shape == (3, 4, 4)
    assert load_dataset(str(tmp_path), size=7).input_shape == (3, 7, 7)


def test_bad_image_folders_are_refused(tmp_path):
    write_images(tmp_path / "one", classes=("ant",))
    assert refused(tmp_path / "one", "1 class folder", "at least two")
    write_images(tmp_path / "empty")
    (tmp_path / "empty" / "cat").mkdir()
    assert refused(tmp_path / "empty", "cat", "no image")
    write_images(tmp_path / "broken")
    (tmp_path / "broken" / "bee" / "0.png").write_bytes(b"no image")
    assert refused(tmp_path / "broken", "bee", "0.png", "cannot be read")
    write_images(tmp_path / "cut")
    path = tmp_path / "cut" / "bee" / "0.png"
    path.write_bytes(path.read_bytes()[:-40])
    assert refused(tmp_path / "cut", "0.png", "cannot be read")
    write_images(tmp_path / "more" / "train")
    write_images(tmp_path / "more" / "test", classes=("ant", "wasp"))
    assert refused(tmp_path / "more", "wasp", "training folder does not have")


@pytest.mark.parametrize("query", ["size=", "size=0", "size=x", "size=-4", "siez=3", "", "size=99999"])
def test_bad_options_are_refused(tmp_path, query):
    write_images(tmp_path)
    assert refused(f"{tmp_path}?{query}", "size=")


def test_npz_with_and_without_test_arrays(tmp_path):
    x = np.random.default_rng(0).random((40, 6, 7, 3))
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(40) % 4)
    data = load_dataset(str(tmp_path / "a.npz"))
    assert data.input_shape == (3, 6, 7)
    assert data.train.images.dtype == np.float32
    np.savez(
        tmp_path / "b.npz",
        x_train=x[..., 0],
        y_train=np.arange(40) % 4,
        x_test=x[:4, ..., 0],
        y_test=np.arange(4),
    )
    assert len(load_dataset(str(tmp_path / "b.npz")).test) == 4


X, Y = np.zeros((12, 4, 4)), np.arange(12) % 3


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": X}, "expected x and y"),
        ({"x": X}, "x without y"),
        ({"x": X, "y": Y[:5]}, "12 images and 5 labels"),
        ({"x": np.where(Y[:, None, None] == 1, np.nan, X), "y": Y}, "NaN"),
        ({"x": X, "y": Y * 2}, "no training image"),
        ({"x": X, "y": Y - 1}, "labels from -1"),
        ({"x": X, "y": Y + 0.5}, "whole numbers"),
        ({"x": X, "y": Y * 0}, "only one class"),
        ({"x": X, "y": np.eye(3)[Y]}, "(N,) whole numbers"),
        ({"x": X[:, 0], "y": Y}, "(N, H, W)"),
        ({"x": np.zeros((12, 9, 9, 9)), "y": Y}, "cannot tell the channels"),
        ({"x": X[:0], "y": Y[:0]}, "no images"),
        ({"x": np.full((12, 4, 4), "a"), "y": Y}, "expected numbers"),
        ({"x": np.full((12, 4, 4), None), "y": Y}, "Python objects"),
        ({"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y}, "test: images of shape"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, "test: labels from 1 to 3, expected 0 to 2"),
        ({"x": X[:3], "y": Y[:3]}, "too few"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "bad.npz", **arrays)
    assert refused(tmp_path / "bad.npz", "bad", words)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no")
    assert refused(tmp_path / "a.npz", "a.npz", "cannot be read")
    np.save(tmp_path / "b.npy", X)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    assert refused(tmp_path / "b.npz", "b.npz")


def test_a_function_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_shapes_for_test.py").write_text(
        "import numpy as np\n"
        "from nas.train.data import load_dataset\n"
        "def pair(): return np.zeros((12, 4, 4)), np.arange(12) % 3\n"
        "def mapping(): return {'x': np.zeros((12, 4, 4)), 'y': np.arange(12) % 3}\n"
        "def whole(): return load_dataset('digits')\n"
        "def wrong(): return 3\n"
        "def broken(): return {}['missing']\n"
        "number = 4\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_dataset("my_shapes_for_test:pair").num_classes == 3
    assert load_dataset("my_shapes_for_test:mapping").input_shape == (1, 4, 4)
    assert load_dataset("my_shapes_for_test:whole").name == "digits"
    assert refused("my_shapes_for_test:wrong", "returned a int")
    assert refused("my_shapes_for_test:broken", "KeyError: 'missing' (my_shapes_for_test.py, line 7)")
    assert refused("my_shapes_for_test:number", "expected a function")
    assert refused("my_shapes_for_test:absent", "absent")
    assert refused("no_such_module_here:f", "no_such_module_here")


def test_unknown_specs_say_what_is_possible(tmp_path):
    assert refused(tmp_path / "nowhere", "no such dataset", "digits", "fashion-mnist")
    assert refused("digit", "no such dataset", "digits")
    (tmp_path / "notes.txt").write_text("x")
    assert refused(tmp_path, "neither class folders")
    assert refused(tmp_path / "notes.txt", "expected")
    assert refused("", "expected")
