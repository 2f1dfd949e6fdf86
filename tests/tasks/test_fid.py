"""The Fréchet distance against closed forms, scipy and torchmetrics; precision and recall against known supports."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from aevb.data.module import Split
from aevb.errors import ConfigError
from aevb.tasks import FID
from aevb.tasks.fid import frechet_distance, precision_and_recall, trained_classifier

from ..small import small_model
from .known import ROWS

SHAPE = (1, 8, 8)
QUICK = FID(steps=60)


def with_moments(count: int, mean: Tensor, scale: Tensor) -> Tensor:
    """Points (count, F) whose mean and covariance, scale scaleᵀ, are exact."""
    points = torch.randn(count, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    points = points - points.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(points.T.cov()), points.T, upper=False).T
    return white @ scale.T + mean


def test_the_distance_of_gaussians_is_that_of_the_closed_form() -> None:
    """Of N(m, diag s²) and N(n, diag t²): ‖m − n‖² + Σ (s − t)²; zero of equal ones."""
    m, n, s, t = torch.tensor([[0.5, -1, 2], [1.5, 0, 2], [1, 2, 0.1], [1, 0.5, 3]], dtype=torch.float64)
    first, second = with_moments(500, m, s.diag()), with_moments(300, n, t.diag())
    expected = float((m - n).square().sum() + (s - t).square().sum())
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(first, with_moments(400, m, s.diag())) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first[:, :1], second[:, :1]) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("count", [5, 200])  # of fewer points than features, covariances are singular
def test_the_distance_is_that_of_scipy_and_of_torchmetrics(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    points = [torch.randn(count, 8, dtype=torch.float64, generator=generator) for _ in range(2)]
    points[1] = points[1] @ torch.randn(8, 8, dtype=torch.float64, generator=generator) + 0.3
    covariances = [np.cov(p.numpy(), rowvar=False) for p in points]
    root = sqrtm(covariances[0] @ covariances[1]).real
    difference = points[0].mean(0) - points[1].mean(0)
    expected = float(difference.square().sum()) + np.trace(covariances[0] + covariances[1] - 2 * root)
    found = frechet_distance(*points)
    assert found == pytest.approx(expected, rel=1e-5)
    given = torch.nn.Identity()
    given.num_features = 8
    metric = FrechetInceptionDistance(feature=given)
    metric.update(points[0], real=True)
    metric.update(points[1], real=False)
    assert found == pytest.approx(float(metric.compute()), rel=1e-5)


def test_precision_and_recall_are_the_shares_of_known_supports() -> None:
    """Data uniform on (0, 1): of samples on (0, 2) half are precise and all is covered; elsewhere nothing is."""
    generator = torch.Generator().manual_seed(0)
    data, samples = (torch.rand(1500, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    assert precision_and_recall(data, 2 * samples, 3) == pytest.approx((0.5, 1.0), abs=0.04)
    assert precision_and_recall(2 * samples, data, 3) == pytest.approx((1.0, 0.5), abs=0.04)
    assert precision_and_recall(data, samples, 3) == pytest.approx((1.0, 1.0), abs=0.04)
    assert precision_and_recall(data, samples + 2, 3) == (0, 0)
    assert precision_and_recall(data, 0.5 + 0 * samples, 3) == (1, 0)  # all samples are one point


def test_precision_is_that_of_the_neighbours_of_scikit_learn() -> None:
    """Of Gaussians in five dimensions, more than a chunk of them."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(1500, 5, dtype=torch.float64, generator=generator)
    samples = 1.2 * torch.randn(1200, 5, dtype=torch.float64, generator=generator) + 0.5
    found = precision_and_recall(data, samples, 2)
    for points, manifold, value in ((samples, data, found[0]), (data, samples, found[1])):
        radii = NearestNeighbors(n_neighbors=3).fit(manifold).kneighbors(manifold)[0][:, 2]
        distances = np.linalg.norm(points.numpy()[:, None] - manifold.numpy(), axis=-1)
        assert value == pytest.approx((distances <= radii).any(1).mean(), abs=1e-12)
        assert 0.3 < value < 0.999


def blobs(count: int, seed: int) -> Split:
    """Two classes of images: the upper or the lower half is white, with noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    x = torch.zeros(count, *SHAPE)
    x[y == 0, :, :4] = 1
    x[y == 1, :, 4:] = 1
    return Split((x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1), y)


@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 64)])
def test_the_classifier_learns_the_labels_of_images_and_vectors(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    train, test = blobs(400, 0), blobs(200, 1)
    classifier = trained_classifier(train.x.view(-1, *shape), train.y, 2, 60)
    assert float((classifier(test.x.view(-1, *shape)).logits.argmax(1) == test.y).float().mean()) > 0.99
    assert classifier.backbone(test.x.view(-1, *shape)).shape == (200, 64)


def test_an_untrained_model_is_worse_than_the_training_data() -> None:
    torch.manual_seed(0)
    data, train = (part._replace(y=part.y + 7) for part in (blobs(200, 1), blobs(400, 0)))  # classes of any number
    found = QUICK.run(small_model(SHAPE), data, train, ROWS)
    assert found.results["classifier_accuracy"] > 0.99
    assert found.results["fid"] > 10 * found.results["fid_of_training_data"] > 0
    assert found.results["precision"] < 0.1
    assert found.results["num_features"] == 64
    assert "trained here" in found.words[0]


def test_features_of_a_file(tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    weight = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    node, tensor = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Flatten", ["x"], ["flat"]), node("MatMul", ["flat", "w"], ["y"])],
        "features",
        [tensor("x", onnx.TensorProto.FLOAT, ["batch", *SHAPE])],
        [tensor("y", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    file = tmp_path / "features.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), file)
    data, train = blobs(50, 1)._replace(y=None), blobs(80, 0)._replace(y=None)
    torch.manual_seed(0)
    found = FID(str(file)).run(small_model(SHAPE), data, train, ROWS).results
    of_data, of_train = (x.flatten(1).double() @ torch.from_numpy(weight).double() for x in (data.x, train.x[:50]))
    assert found["fid_of_training_data"] == pytest.approx(frechet_distance(of_data, of_train), rel=1e-4)
    assert found["num_features"] == 3
    with pytest.raises(ConfigError, match=r"task\.features: .*features\.onnx takes no data \(B, 1, 4, 4\): "):
        FID(str(file)).run(small_model((1, 4, 4)), Split(data.x[..., :4, :4]), Split(train.x[..., :4, :4]), ROWS)
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(ConfigError, match=r"bad\.onnx takes no data") as caught:
        FID(str(tmp_path / "bad.onnx")).run(small_model(SHAPE), data, train, ROWS)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^task\.features must be an ONNX file, got .*missing\.onnx$"):
        FID(str(tmp_path / "missing.onnx")).run(small_model(SHAPE), data, train, ROWS)


def test_what_is_missing_is_said() -> None:
    data = blobs(50, 0)
    with pytest.raises(
        ValueError, match=r"^task\.features must be an ONNX file where the data have no labels, got null"
    ):
        QUICK.run(small_model(SHAPE), data._replace(y=None), data._replace(y=None), ROWS)
    for labels in (torch.arange(50), torch.zeros(50, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"^task\.features must be .* no classes, got null and (50|1) different"):
            QUICK.run(small_model(SHAPE), data._replace(y=labels), data._replace(y=labels), ROWS)
    with pytest.raises(ValueError, match=r"^limit must be above task\.neighbours, 3, got 3$"):
        QUICK.run(small_model(SHAPE), data.take(slice(3)), data, ROWS)
