"""Every precision that `trainer.precision` offers trains, draws, validates, tests, saves, loads and resumes."""

from functools import partial

import pytest
import torch

import aevb
from aevb.data import BatchLoader
from aevb.likelihoods import Categorical, Gaussian
from aevb.objectives import SGVB, ScoreFunction
from aevb.posteriors import FullGaussian, InverseAutoregressiveFlow
from aevb.priors import Flow, StandardNormal
from aevb.training.module import AEVB
from aevb.training.precision import set_matmul_precision

from ..small import PAPER, quiet_trainer, small_model

PRECISIONS = ["64-true", "bf16-true", "bf16-mixed", "16-mixed"]
TINY = ["logger=none", "callbacks.progress=null", "model.encoder.hidden=[16]", "data.train_size=200"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_lives_through_all_its_stages(run_train, precision):
    folder, _ = run_train(*PAPER, *TINY, f"trainer.precision={precision}", "max_samples=1000")
    run_train(f"resume={folder.path}", "max_samples=2000", folder=folder.path)
    status = folder.status()
    assert (status["state"], status["samples"]) == ("finished", 2000)
    assert -60 < status["results"]["test/elbo"] < -20
    assert len(list(folder.images.glob("000002000_*.png"))) >= 4
    vae = aevb.load_run(folder.path)
    assert {weight.dtype for weight in vae.parameters()} == {torch.float32}
    assert vae.elbo(torch.rand(5, 1, 8, 8)).isfinite().all()


def trained(precision: str, likelihood=Gaussian, posterior=FullGaussian, prior=StandardNormal, objective=SGVB) -> AEVB:
    torch.manual_seed(0)
    vae = small_model((1, 4, 4), likelihood=likelihood, posterior=posterior, prior=prior)
    x = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8)
    module = AEVB(vae, objective(), torch.optim.Adagrad)
    loader = BatchLoader(x, batch_size=10, block_size=2)
    quiet_trainer(precision=precision, max_epochs=1).fit(module, loader, BatchLoader(x, batch_size=10))
    return module


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "parts",
    [
        {"likelihood": Categorical, "objective": lambda: ScoreFunction(baseline="learned")},
        {
            "posterior": partial(InverseAutoregressiveFlow, hidden=[8], context=4),
            "prior": partial(Flow, hidden=[8]),
        },
    ],
)
def test_backbones_take_the_precision_and_densities_at_least_float32(precision, parts):
    module = trained(precision, **parts)
    assert float(module.trainer.callback_metrics["val/elbo"]) == pytest.approx(
        float(trained("32-true", **parts).trainer.callback_metrics["val/elbo"]), rel=0.05
    )
    dtype = torch.float64 if precision == "64-true" else torch.float32
    backbone = torch.bfloat16 if precision == "bf16-true" else dtype
    assert {weight.dtype for weight in module.vae.q.encoder.parameters()} == {backbone}
    assert {weight.dtype for weight in module.vae.p.decoder.parameters()} == {backbone}
    rest = [module.vae.p.head, module.vae.p.prior, module.vae.q.head, module.objective]
    assert {weight.dtype for part in rest for weight in part.parameters()} == {dtype}
    z = module.vae.encode(torch.zeros(3, 1, 4, 4)).sample((2,))
    assert module.vae.decode(z.numpy()).mean.dtype == dtype


def test_half_precision_scores_the_data_as_they_are(monkeypatch):
    seen = []
    monkeypatch.setattr(Gaussian, "distribution", lambda self, *raw: Spy(raw[0], seen))
    trained("bf16-true")
    assert {dtype for dtype, _ in seen} == {torch.float32}
    assert max(len(values) for _, values in seen) > 100  # of 160 drawn from 256; bf16 tells fewer apart


class Spy(torch.distributions.Normal):
    def __init__(self, loc, seen):
        super().__init__(loc, 1.0, validate_args=False)
        self.seen = seen

    def log_prob(self, value):
        self.seen.append((value.dtype, value.unique()))
        return super().log_prob(value)


@pytest.mark.parametrize(
    ("setting", "trainer", "accelerator", "has_gpu", "expected"),
    [
        ("auto", "32-true", "auto", False, "highest"),
        ("auto", 32, "cpu", True, "highest"),
        ("auto", "64-true", "auto", False, "highest"),
        ("auto", "bf16-mixed", "cpu", False, "high"),
        ("auto", "16-mixed", "auto", False, "high"),
        ("auto", "32-true", "auto", True, "high"),
        ("auto", "32-true", "gpu", True, "high"),
        ("highest", "32-true", "gpu", True, "highest"),
        ("medium", "32-true", "auto", False, "medium"),
        ("highest", "bf16-true", "auto", False, "highest"),
    ],
)
def test_products_are_rounded_on_a_gpu_or_where_others_are_more(
    setting, trainer, accelerator, has_gpu, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    before = torch.get_float32_matmul_precision()
    try:
        set_matmul_precision(setting, trainer, accelerator)
        assert torch.get_float32_matmul_precision() == expected
    finally:
        torch.set_float32_matmul_precision(before)
