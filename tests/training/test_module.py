"""What the LightningModule adds to the model, the objective and the optimizer."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from aevb.data import BatchLoader
from aevb.errors import ConfigError
from aevb.likelihoods import Poisson
from aevb.objectives import SGVB, FullVB, MonteCarloEM
from aevb.training.module import AEVB
from aevb.training.noise import seed_noise
from aevb.training.optimizers import runs_on
from aevb.vae import VAE

from ..ppca import make_ppca
from ..small import quiet_trainer, small_model


class OnlyOnPaper(torch.optim.Adagrad):
    """An optimizer whose fused form exists on no device."""

    def step(self, closure=None):
        if self.defaults["fused"]:
            raise NotImplementedError("no fused kernel")
        return super().step(closure)


def make_module(**settings) -> AEVB:
    p, q, _ = make_ppca(latent_dim=2, data_dim=3)
    settings = {"optimizer": partial(torch.optim.Adagrad, lr=0.1, fused=True)} | settings
    return AEVB(VAE.join(p, q), SGVB(weight_prior=False), **settings)


def test_optimizer_is_fused_only_where_it_can_be():
    assert make_module().configure_optimizers().defaults["fused"]
    fallback = make_module(optimizer=partial(OnlyOnPaper, lr=0.1, fused=True)).configure_optimizers()
    assert not fallback.defaults["fused"]
    assert fallback.defaults["lr"] == 0.1
    assert runs_on(torch.optim.Adagrad, torch.device("cpu"))


def test_fused_and_unfused_steps_agree():
    weights = {}
    for fused in (True, False):
        module = make_module(optimizer=partial(torch.optim.Adagrad, lr=0.1, fused=fused))
        optimizer = module.configure_optimizers()
        _, _, x = make_ppca(latent_dim=2, data_dim=3)
        for _ in range(3):
            seed_noise(0)
            optimizer.zero_grad()
            module.objective(module.vae.p, module.vae.q, x).loss.backward()
            optimizer.step()
        weights[fused] = [weight.detach() for weight in module.parameters()]
    for a, b in zip(weights[True], weights[False], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("max_samples", "seen", "kept"), [(1000, 0, 3), (1000, 900, 1), (1000, 850, 2), (None, 7, 3)])
def test_block_is_cut_where_training_ends(max_samples, seen, kept, monkeypatch):
    module = make_module(max_samples=max_samples)
    module.samples_seen = seen
    monkeypatch.setattr(AEVB, "trainer", property(lambda self: type("Trainer", (), {"world_size": 1})))
    block = (torch.zeros(3, 100, 1, 1, 3), torch.zeros(3, 100, 2))
    assert [len(part) for part in module.truncate(block)] == [kept, kept]


def test_max_samples_must_be_positive():
    with pytest.raises(ValueError, match=r"^max_samples must be .*, got 0"):
        make_module(max_samples=0)


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


def test_objective_keeps_a_given_number_of_data() -> None:
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


def test_trainer_of_ones_own_gets_metrics_and_settings(tmp_path):
    logger = CSVLogger(tmp_path)
    module = make_module()
    _, _, x = make_ppca(latent_dim=2, data_dim=3)
    loader = DataLoader(x, batch_size=10)
    trainer = quiet_trainer(max_epochs=2, logger=logger, log_every_n_steps=1)
    trainer.fit(module, loader, loader)
    (results,) = trainer.test(module, loader, verbose=False)
    assert {"test/elbo", "test/kl", "test/log_likelihood"} <= results.keys()
    assert results["test/elbo"] == float(trainer.callback_metrics["test/elbo"])
    logger.save()
    header, *rows = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()
    assert {"train/elbo", "val/elbo", "test/elbo"} <= set(header.split(","))
    assert len(rows) > 4
    assert module.hparams["optimizer"] == "Adagrad"
    assert module.hparams["optimizer_lr"] == 0.1
    assert "latent_dim: 2" in (tmp_path / "lightning_logs/version_0/hparams.yaml").read_text()


def test_checkpoint_alone_is_refused_with_the_way_to_load(tmp_path):
    _, _, x = make_ppca(latent_dim=2, data_dim=3)
    module, trainer = make_module(), quiet_trainer(max_epochs=1)
    trainer.fit(module, DataLoader(x, batch_size=10))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(
        ConfigError, match=r"aevb\.load_run\(<run folder>\), or give .* vae=, objective= and optimizer="
    ):
        AEVB.load_from_checkpoint(tmp_path / "a.ckpt")
    fresh = make_module()
    parts = {"vae": fresh.vae, "objective": fresh.objective, "optimizer": fresh.make_optimizer}
    assert torch.equal(weights(AEVB.load_from_checkpoint(tmp_path / "a.ckpt", **parts)), weights(module))
