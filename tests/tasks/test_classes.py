"""Classification and analogies, where the answer is known."""

import pytest
import torch

from aevb.data import Split
from aevb.tasks import Analogies, Classify
from aevb.tasks.classes import calibration_error

from ..cvae import linear_cvae
from ..objectives.test_semi_supervised import factor_analysis
from ..small import small_model
from .known import ROWS

CLASSES = 3


def labelled(num_data: int = 60) -> tuple:
    vae, x, y, log_joint = factor_analysis(num_data)
    return vae, Split(x, y.argmax(1), y), log_joint.log_softmax(1)


@pytest.mark.parametrize("by", ["classifier", "bayes"])
def test_classes_are_those_of_the_exact_posterior(by):
    vae, data, log_p = labelled()
    if by == "bayes":
        vae.q.classifier = None
    torch.manual_seed(0)
    found = Classify(num_samples=5).run(vae, data, data, ROWS).results
    y = data.y
    assert found["by"] == by
    assert found["accuracy"] == pytest.approx(float((log_p.argmax(1) == y).double().mean()))
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    assert found["log_probability"] == pytest.approx(float(log_p.gather(1, y.unsqueeze(1)).mean()))
    confusion = torch.tensor(found["confusion"])
    assert confusion.sum(1).tolist() == y.bincount().tolist()
    assert int(confusion.diag().sum()) == round(found["accuracy"] * len(y))
    confidence, guess = log_p.exp().max(1)
    assert found["calibration_error"] == pytest.approx(calibration_error(confidence, (guess == y).double(), 15))


def test_calibration_error_is_zero_where_confidence_is_accuracy_and_the_gap_elsewhere():
    confidence = torch.tensor([0.8] * 10 + [0.55] * 20, dtype=torch.float64)
    right = torch.tensor([1.0] * 8 + [0.0] * 2 + [1.0] * 11 + [0.0] * 9, dtype=torch.float64)
    assert calibration_error(confidence, right, 10) == pytest.approx(0)
    assert calibration_error(torch.ones(4, dtype=torch.float64), torch.tensor([1.0, 0, 0, 0]), 10) == pytest.approx(
        0.75
    )
    assert calibration_error(confidence, right * 0, 10) == pytest.approx((8 + 11) / 30)


def test_analogies_keep_z_and_change_the_class():
    vae, data, _ = labelled(6)
    result = Analogies(count=2).run(vae, data, data, 4)
    assert result.results == {"rows": 2, "classes": CLASSES}
    assert "" in result.pictures


@pytest.mark.parametrize("task", [Classify(), Analogies()])
def test_a_model_without_labels_is_refused(task):
    data = Split(torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=rf"^task={task.name} needs a model given labels"):
        task.run(small_model((1, 4, 4)), data, data, ROWS)


def test_data_without_labels_are_refused():
    model = linear_cvae()
    with pytest.raises(ValueError, match=r"^task=classify needs labels, and the data have none$"):
        Classify().run(model.vae, Split(model.x, c=model.c), Split(model.x), ROWS)
