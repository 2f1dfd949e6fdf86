"""What the LightningModule adds to the model, the objective and the optimizer."""

from functools import partial

import pytest
import torch

from aevb.objectives import SGVB
from aevb.training.module import AEVB, runs_on, seed_noise
from aevb.vae import VAE

from ..ppca import make_ppca


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


def test_noise_is_a_function_of_its_key():
    draws = []
    for key in ((0, 0, 100), (0, 0, 200), (0, 1, 100), (1, 0, 100), (0, 0, "test"), (0, 0, 100)):
        seed_noise(*key)
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[-1])
    for i in range(5):
        for j in range(i):
            assert not torch.equal(draws[i], draws[j])


@pytest.mark.parametrize(("max_samples", "seen", "kept"), [(1000, 0, 3), (1000, 900, 1), (1000, 850, 2), (None, 7, 3)])
def test_block_is_cut_where_training_ends(max_samples, seen, kept, monkeypatch):
    module = make_module(max_samples=max_samples)
    module.samples_seen = seen
    monkeypatch.setattr(AEVB, "trainer", property(lambda self: type("Trainer", (), {"world_size": 1})))
    assert len(module.truncate(torch.zeros(3, 100, 1, 1, 3))) == kept


def test_max_samples_must_be_positive():
    with pytest.raises(ValueError, match=r"^max_samples must be .*, got 0"):
        make_module(max_samples=0)
