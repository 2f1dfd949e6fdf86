"""Data sets by the library `datasets`, from folders: nothing is asked of the hub."""

import numpy as np
import pytest
import torch
from PIL import Image

from aevb.data import HuggingFace
from aevb.errors import ConfigError

datasets = pytest.importorskip("datasets")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 6, 5), np.uint8)
LABELS = [number % 3 for number in range(30)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def part(rows, **more):
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    columns = {"image": [Image.fromarray(PIXELS[row]) for row in rows], "label": [LABELS[row] for row in rows]}
    for name, values in more.items():
        columns[name] = values
        features[name] = datasets.List(datasets.Value("float32"))
    return datasets.Dataset.from_dict(columns, datasets.Features(features))


@pytest.fixture
def saved(tmp_path):
    splits = {"train": part(range(20)), "validation": part(range(20, 25)), "test": part(range(25, 30))}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    return str(tmp_path / "saved")


def test_a_saved_data_set_with_its_splits(saved):
    dm = HuggingFace(saved, batch_size=5)
    dm.prepare_data()
    assert dm.shape == (1, 6, 5)
    assert [len(split.x) for split in dm.splits] == [20, 5, 5]
    assert np.array_equal(dm.splits.test.x[:, 0], PIXELS[25:])
    for split in dm.splits:
        for x, y in zip(split.x[:, 0], split.y, strict=True):
            assert y == next(label for image, label in zip(PIXELS, LABELS, strict=True) if np.array_equal(image, x))


def test_a_folder_of_parquet_is_split_here(tmp_path):
    (tmp_path / "images").mkdir()
    part(range(30)).to_parquet(tmp_path / "images" / "train.parquet")
    dm = HuggingFace(str(tmp_path / "images"), colours="rgb", size=[4, 4], batch_size=5, local_files_only=True)
    assert dm.shape == (3, 4, 4)
    assert [len(split.x) for split in dm.splits] == [24, 3, 3]


def test_vectors(tmp_path):
    values = RNG.random((30, 7), np.float32)
    datasets.DatasetDict(train=part(range(30), x=values.tolist())).save_to_disk(str(tmp_path / "saved"))
    dm = HuggingFace(str(tmp_path / "saved"), column="x", batch_size=5)
    assert dm.shape == (1, 1, 7)
    found = torch.cat([split.x for split in dm.splits])[:, 0, 0].numpy()
    assert np.array_equal(np.sort(found, axis=0), np.sort(values, axis=0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"column": "picture"},
            r"data\.column: .* has no column 'picture'; it has image \(Image\), label \(ClassLabel\)",
        ),
        ({"label": "kind"}, r"data\.label: .* has no column 'kind'; .*"),
    ],
)
def test_what_is_missing_is_named(saved, settings, message):
    with pytest.raises(ConfigError, match=rf"^{message}$"):
        HuggingFace(saved, batch_size=5, **settings).setup()


def test_images_of_several_sizes(tmp_path):
    images = [Image.fromarray(PIXELS[0]), Image.fromarray(PIXELS[1][:4])] * 10
    data = datasets.Dataset.from_dict({"image": images}, datasets.Features({"image": datasets.Image()}))
    datasets.DatasetDict(train=data).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ConfigError, match=r"has images of several sizes in image; set data\.size=\[H,W\]"):
        HuggingFace(str(tmp_path / "saved"), batch_size=5).setup()


def test_what_is_not_here_is_not_asked_for(monkeypatch):
    asked = []

    def refuse(*arguments, **options):
        asked.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(ConfigError, match=r"^data\.name: nobody/nothing cannot be loaded: .+$"):
        HuggingFace("nobody/nothing", local_files_only=True).setup()
    assert asked == []
