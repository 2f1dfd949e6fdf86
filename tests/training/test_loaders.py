"""`AEVB` under anybody's `DataLoader`: plain batches, in any of the forms that loaders yield."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from aevb.data import BatchLoader
from aevb.likelihoods import Poisson
from aevb.objectives import SGVB, FullVB, MonteCarloEM
from aevb.training.module import AEVB

from ..small import quiet_trainer, small_model

SHAPE = (1, 4, 4)
X = torch.randint(256, (50, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Rows(Dataset):
    """Datapoints one by one, in a form of one's own."""

    def __init__(self, x: Any, form: Any = lambda row: row) -> None:
        self.x, self.form = x, form

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.form(self.x[index])


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(X[:20])


def fit(loader: Any, objective: Any = None, validation: Any = None, **options: Any) -> AEVB:
    torch.manual_seed(0)
    model = small_model(SHAPE, **options.pop("model", {}))
    module = AEVB(model, objective or SGVB(), partial(torch.optim.Adagrad, lr=0.1))
    quiet_trainer(**({"max_epochs": 2} | options)).fit(module, loader, validation)
    return module


def weights(module: AEVB) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


LOADERS = {
    "tensor_data_set": DataLoader(TensorDataset(X), batch_size=10),
    "with_labels": DataLoader(TensorDataset(X, torch.arange(50)), batch_size=10),
    "bare_tensors": DataLoader(Rows(X), batch_size=10),
    "numpy_rows": DataLoader(Rows(X.numpy()), batch_size=10),
    "numpy_batches": DataLoader(Rows(X.numpy()), batch_size=10, collate_fn=np.stack),
    "floats": DataLoader(Rows(X / 255), batch_size=10),
    "float64": DataLoader(Rows(X.double() / 255), batch_size=10),
    "without_channel": DataLoader(Rows(X[:, 0]), batch_size=10),
    "batch_loader": BatchLoader(X, batch_size=10),
}


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    """The weights after two epochs of five blocks of one minibatch."""
    return weights(fit(BatchLoader(X, batch_size=10, block_size=1)))


@pytest.mark.parametrize("name", LOADERS)
def test_batches_of_every_form_are_minibatches(name: str, expected: torch.Tensor) -> None:
    module = fit(LOADERS[name])
    assert module.trainer.global_step == 10
    assert module.samples_seen == 100
    assert module.objective.num_data == 50
    assert torch.equal(weights(module), expected)


def test_a_smaller_last_batch_counts_its_datapoints() -> None:
    module = fit(DataLoader(TensorDataset(X), batch_size=20), max_epochs=1)
    assert (module.trainer.global_step, module.samples_seen) == (3, 50)


def test_max_samples_ends_training_on_a_plain_loader() -> None:
    module = AEVB(small_model(SHAPE), SGVB(), torch.optim.Adagrad, max_samples=70)
    quiet_trainer(max_epochs=-1).fit(module, DataLoader(TensorDataset(X), batch_size=10))
    assert module.samples_seen == 70


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.rand(10, 3, 4, 4), r"^a batch must have the shape \(B, 1, 4, 4\), or \(K, B, 1, 4, 4\) .*got \(10, 3,"),
        (torch.rand(10, 16), "^a batch must have the shape"),
        ({"image": X[:10]}, "^a batch must be a tensor or an array of numbers, got dict$"),
        (X[:10].float(), r"^likelihood Bernoulli needs data in \[0, 1\], got"),
        (torch.full((10, *SHAPE), torch.nan), "^x must be finite, got nan in 160 of 160 values$"),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_any_other_batch_is_refused_in_one_line(batch: Any, message: str, stage: str) -> None:
    module = AEVB(small_model(SHAPE), SGVB(), torch.optim.Adagrad)
    with pytest.raises(ValueError, match=message) as error:
        getattr(quiet_trainer(max_epochs=1), stage)(module, DataLoader([batch], batch_size=None))
    assert "\n" not in str(error.value)
    assert module.samples_seen == 0


def test_data_of_a_batch_loader_are_checked_before_the_first_step() -> None:
    with pytest.raises(ValueError, match=r"^likelihood Bernoulli needs data in \[0, 1\], got"):
        fit(BatchLoader(torch.cat([X / 255, X.float()]), batch_size=10, block_size=2))


def test_counts_reach_the_likelihood_as_they_are() -> None:
    counts = X.long()
    module = fit(DataLoader(Rows(counts), batch_size=10), model={"likelihood": Poisson}, max_epochs=1)
    assert torch.equal(weights(module), weights(fit(DataLoader(Rows(counts.float()), batch_size=10),
                                                    model={"likelihood": Poisson}, max_epochs=1)))  # fmt: skip


def test_validation_and_test_take_plain_loaders() -> None:
    loader = DataLoader(TensorDataset(X, torch.arange(50)), batch_size=20)
    module = fit(loader, validation=DataLoader(Rows(X), batch_size=7), max_epochs=1)
    found = float(module.trainer.callback_metrics["val/elbo"])
    trainer = quiet_trainer()
    trainer.validate(module, BatchLoader(X, batch_size=7), verbose=False)
    assert float(trainer.callback_metrics["val/elbo"]) == pytest.approx(found, rel=1e-6)
    trainer.test(module, loader, verbose=False)
    assert trainer.callback_metrics["test/elbo"].isfinite()


def test_full_variational_bayes_knows_the_size_of_the_training_set_in_the_sanity_check() -> None:
    loader = DataLoader(TensorDataset(X), batch_size=10)
    module = fit(loader, FullVB(), validation=DataLoader(TensorDataset(X[:9]), batch_size=9), max_epochs=1)
    assert module.objective.num_data == 50


def test_an_objective_that_was_told_n_keeps_it() -> None:
    objective = SGVB()
    objective.num_data = 1000
    assert fit(DataLoader(TensorDataset(X), batch_size=10), objective).objective.num_data == 1000


def test_data_without_a_length_need_num_data_only_where_it_is_used() -> None:
    fit(DataLoader(Endless(), batch_size=10), SGVB(weight_prior=False), max_epochs=1)
    with pytest.raises(RuntimeError, match=r"^objective\.weight_prior needs objective\.num_data"):
        fit(DataLoader(Endless(), batch_size=10), SGVB(), max_epochs=1)


def test_objectives_of_several_steps_take_plain_batches() -> None:
    loader = DataLoader(TensorDataset(X), batch_size=25)
    module = fit(loader, MonteCarloEM(updates=3, transitions=4, num_starts=5), max_epochs=1)
    assert (module.trainer.global_step, module.samples_seen) == (6, 50)
