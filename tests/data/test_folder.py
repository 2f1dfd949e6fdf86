"""Folders of images: labels, splits, sizes, colours, and what is wrong with them."""

import numpy as np
import pytest
import torch
from PIL import Image

from aevb.data import Folder
from aevb.errors import ConfigError

RNG = np.random.default_rng(0)
SMALL = {"batch_size": 2, "val_fraction": 0.2, "test_fraction": 0.2}


def save(path, shape=(5, 4), name="image", n=1, mode="L"):
    """Random images as PNG files; returns their pixels by file."""
    path.mkdir(parents=True, exist_ok=True)
    found = {}
    for number in range(n):
        pixels = RNG.integers(0, 256, (*shape, *((3,) if mode == "RGB" else ())), np.uint8)
        file = path / f"{name}{number}.png"
        Image.fromarray(pixels).save(file)
        found[file] = pixels
    return found


def test_grey_images_without_labels(tmp_path):
    pixels = save(tmp_path, n=10)
    (tmp_path / "notes.txt").write_text("no image")
    dm = Folder(tmp_path, **SMALL)
    assert dm.shape == (1, 5, 4)
    assert [len(split.x) for split in dm.splits] == [6, 2, 2]
    assert dm.splits.train.y is None
    both = torch.cat([split.x for split in dm.splits])[:, 0].numpy()
    assert sorted(map(bytes, both)) == sorted(map(bytes, pixels.values()))


def test_subfolders_are_classes(tmp_path):
    kinds = {label: save(tmp_path / label, n=5, mode="RGB") for label in ("dogs", "cats")}
    save(tmp_path / "dogs" / "small", name="other", n=1, mode="RGB")
    dm = Folder(tmp_path, **SMALL)
    assert dm.shape == (3, 5, 4)
    assert dm.splits.train.y is not None
    assert dm.classes == ["cats", "dogs"]
    for split in dm.splits:
        for x, y in zip(split.x, split.y, strict=True):
            if dm.classes[y] == "cats":
                assert any(np.array_equal(x.permute(1, 2, 0), image) for image in kinds["cats"].values())


def test_folders_of_splits(tmp_path):
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        save(tmp_path / part / "a", n=n)
        save(tmp_path / part / "b", n=n)
    dm = Folder(tmp_path, batch_size=2)
    assert [len(split.x) for split in dm.splits] == [8, 4, 6]
    assert dm.splits.test.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_classes_may_be_links_and_hidden_files_are_not_read(tmp_path):
    save(tmp_path / "elsewhere" / "dogs" / "small", n=5)
    save(tmp_path / "images" / "cats", n=5)
    save(tmp_path / "images" / "cats" / ".ipynb_checkpoints", (3, 3), n=2)
    save(tmp_path / "images" / ".thumbnails", (3, 3), n=2)
    (tmp_path / "images" / "cats" / "._image0.png").write_bytes(b"of macOS")
    (tmp_path / "images" / "dogs").symlink_to("../elsewhere/dogs")
    (tmp_path / "elsewhere" / "dogs" / "loop").symlink_to("..")
    dm = Folder(tmp_path / "images", **SMALL)
    assert dm.shape == (1, 5, 4)
    assert dm.classes == ["cats", "dogs"]
    assert torch.cat([split.y for split in dm.splits]).bincount().tolist() == [5, 5]


def test_images_are_cropped_and_scaled(tmp_path):
    for number, shape in enumerate([(8, 8), (16, 8), (8, 12), (9, 9), (20, 10)]):
        save(tmp_path, shape, name=f"of{number}")
    dm = Folder(tmp_path, size=[6, 4], **SMALL)
    assert dm.shape == (1, 6, 4)
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(5):
        Image.new("RGB", (40, 20), (255, 0, 0)).save(flat / f"{number}.jpg", quality=100)
    x = Folder(flat, size=[10, 10], **SMALL).splits.train.x
    assert torch.allclose(x.float().mean((0, 2, 3)), torch.tensor([254.0, 0, 0]), atol=2)


@pytest.mark.parametrize(("colours", "channels"), [("auto", 3), ("grey", 1), ("rgb", 3)])
def test_colours(tmp_path, colours, channels):
    save(tmp_path, n=4)
    save(tmp_path, name="colour", n=1, mode="RGB")
    assert Folder(tmp_path, colours=colours, **SMALL).shape == (channels, 5, 4)


def test_a_turned_photograph_is_upright(tmp_path):
    pixels = RNG.integers(0, 256, (6, 4), np.uint8)
    for number in range(5):
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / f"{number}.png", exif=exif)
    dm = Folder(tmp_path, **SMALL)
    assert dm.shape == (1, 4, 6)
    assert np.array_equal(dm.splits.val.x[0, 0], np.rot90(pixels, -1))


def wrong(folder, what):
    if what == "missing":
        return folder / "missing"
    save(folder, n=6)
    if what == "file":
        return folder / "image0.png"
    if what == "empty":
        (folder / "inner").mkdir()
        return folder / "inner"
    if what == "sizes":
        save(folder, (7, 3), name="other")
    if what == "sizes of classes":
        folder = folder / "classes"
        save(folder / "a")
        save(folder / "b", (7, 3))
    if what == "beside":
        save(folder / "cats")
    if what == "text":
        (folder / "x.png").write_text("no image")
    if what == "cut":
        content = (folder / "image0.png").read_bytes()
        (folder / "image0.png").write_bytes(content[: len(content) // 2])
    if what == "deep":
        Image.fromarray(RNG.integers(0, 9999, (5, 4)).astype(np.uint16)).save(folder / "deep.png")
    if what == "few":
        for file in list(folder.iterdir())[2:]:
            file.unlink()
    if what == "no test":
        save(folder / "train", n=3)
        (folder / "test").mkdir()
    return folder


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "missing does not exist"),
        ("file", "image0.png is not a folder"),
        ("empty", r"has no images: files that end in \.bmp, .*"),
        ("no test", r"has no images in test: files that end in .*"),
        ("sizes", r"has images of 2 sizes \(image0.png of 5x4, other0.png of 7x3\); set data.size=\[H,W\]"),
        ("sizes of classes", r"has images of 2 sizes \(a/image0.png of 5x4, b/image0.png of 7x3\); set data.size=.*"),
        ("beside", "has images beside the folders of its classes, such as image0.png"),
        ("text", "has x.png, which cannot be read: cannot identify image file .*"),
        ("cut", "has image0.png, which cannot be read: .*"),
        ("deep", r"has deep.png with more than 8 bits a value \(I;16\); use a .npy file"),
        ("few", "has too few datapoints to split, 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, what, message):
    folder = wrong(tmp_path, what)
    with pytest.raises(ConfigError, match=rf"^data\.path: \S+ ?{message}$") as error:
        Folder(folder, **SMALL).setup()
    assert "\n" not in str(error.value)


def test_more_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    save(tmp_path, n=6)
    monkeypatch.setattr("aevb.data.folder.MAX_MEMORY", 100)
    with pytest.raises(
        ConfigError, match=r"has 120 bytes of pixels, more than fit into memory; set a smaller data\.size"
    ):
        Folder(tmp_path, **SMALL).setup()


def test_a_folder_is_trained_on(run_train, tmp_path):
    for label in ("a", "b"):
        save(tmp_path / "images" / label, (8, 8), n=30)
    settings = ["data=folder", f"data.path={tmp_path}/images", "data.batch_size=10", "max_samples=200", "logger=none"]
    folder, _ = run_train(*settings, "model.encoder.hidden=[8]", "callbacks.images=null")
    assert folder.config().data.shape == [1, 8, 8]
    file = f"{tmp_path}/images/a/image0.png"
    with pytest.raises(ConfigError, match=r"^data\.path: .*image0\.png is not a folder$"):
        run_train("data=folder", f"data.path={file}", folder=tmp_path / "other")
