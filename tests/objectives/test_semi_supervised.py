"""The bound of a model with few labels, against factor analysis with classes, whose log p(x) is known."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from aevb.likelihoods import OptimalGaussian
from aevb.networks import Classifier, MLPEncoder
from aevb.objectives import SemiSupervised
from aevb.vae import VAE

from ..cvae import linear_cvae

CLASSES = 3


def factor_analysis(num_data: int = 40) -> tuple[VAE, Tensor, Tensor, Tensor]:
    """p(y) = 1/C, p(z) = N(0, I), p(x|z, y) = N(W z + B_y + b, σ² I) with exact q(z|x, y) and q(y|x).

    Returns:
        The model, x, the labels as one-hot vectors, and log p(x, y) of all classes, (N, C).
    """
    model = linear_cvae(condition_dim=CLASSES, num_data=num_data)
    vae = model.vae
    y = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(num_data) % CLASSES]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        x = vae.sample(num_data, mean=False, c=y)
    layer, dim = vae.p.head.layer, vae.p.latent_dim
    w, means = layer.weight[:, :dim], (layer.weight[:, dim:] + layer.bias.unsqueeze(1)).T
    precision = torch.linalg.inv(w @ w.T + vae.p.head.sigma**2 * torch.eye(len(w), dtype=w.dtype))
    vae.q.classifier = Classifier((1, 1, len(w)), CLASSES, partial(MLPEncoder, hidden=[])).double()
    with torch.no_grad():  # log p(x|y) with one covariance is linear in x, up to what all classes have
        vae.q.classifier.layer.weight.copy_(means @ precision)
        vae.q.classifier.layer.bias.copy_(-0.5 * (means @ precision * means).sum(1))
    log_joint = torch.stack([model.log_marginal(x, row.expand(num_data, -1)) for row in y[:CLASSES]], 1)
    return vae, x, y, log_joint.detach() - math.log(CLASSES)


def estimate(vae: VAE, objective: SemiSupervised, x: Tensor, c: Tensor, method: str = "estimate"):
    return getattr(objective, method)(vae.p.given(c), vae.q.given(c), x)


def hidden(y: Tensor, known: int) -> Tensor:
    return torch.where(torch.arange(len(y)).unsqueeze(1) < known, y, torch.nan)


def test_with_exact_posteriors_the_bounds_are_log_p():
    vae, x, y, log_joint = factor_analysis()
    objective = SemiSupervised(kl="sampled", weight_prior=False)  # every draw of z gives the exact value then
    unlabelled = estimate(vae, objective, x, torch.full_like(y, torch.nan))
    torch.testing.assert_close(unlabelled.elbo, log_joint.logsumexp(1))
    torch.testing.assert_close(unlabelled.log_likelihood - unlabelled.kl, unlabelled.elbo)
    torch.testing.assert_close(estimate(vae, objective, x, y).elbo, (y * log_joint).sum(1))
    for c in (y, torch.full_like(y, torch.nan)):
        torch.testing.assert_close(estimate(vae, objective, x, c, "evaluate").elbo, log_joint.logsumexp(1))


def test_a_classifier_that_is_wrong_lowers_the_bound_by_its_divergence():
    vae, x, y, log_joint = factor_analysis()
    with torch.no_grad():
        vae.q.classifier.layer.bias += torch.tensor([0.5, 0.0, -1.0])
    log_q = vae.q.classifier(x).logits
    exact = log_joint.log_softmax(1)
    kl = (log_q.exp() * (log_q - exact)).sum(1)
    found = estimate(vae, SemiSupervised(kl="sampled"), x, torch.full_like(y, torch.nan)).elbo
    torch.testing.assert_close(found, log_joint.logsumexp(1) - kl)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_loss_is_the_negative_mean_bound_and_the_classification_term(alpha):
    vae, x, y, log_joint = factor_analysis()
    found = estimate(vae, SemiSupervised(kl="sampled", alpha=alpha), x, hidden(y, 10))
    bound = torch.cat([(y * log_joint).sum(1)[:10], log_joint.logsumexp(1)[10:]])
    log_q = log_joint.log_softmax(1)
    expected = -bound.mean() - alpha * (y * log_q).sum(1)[:10].mean()
    torch.testing.assert_close(found.loss, expected)
    right = (log_q.argmax(1) == y.argmax(1))[:10].double().mean()
    torch.testing.assert_close(found.extras["accuracy"], right)


def test_minibatches_with_more_labels_than_the_data_are_weighted():
    vae, x, y, _ = factor_analysis()
    whole = estimate(vae, SemiSupervised(kl="sampled"), x, hidden(y, 10))
    objective = SemiSupervised(kl="sampled")
    objective.num_data, objective.num_labels = 40, 10
    again = torch.cat([torch.arange(10).repeat(6), torch.arange(10, 40)])
    batch = estimate(vae, objective, x[again], hidden(y, 10)[again])
    torch.testing.assert_close(batch.loss, whole.loss)
    torch.testing.assert_close(batch.metrics()["elbo"], whole.metrics()["elbo"])
    only = estimate(vae, objective, x[10:], hidden(y, 10)[10:])
    assert only.loss.isfinite()
    assert estimate(vae, objective, x[:10], y[:10]).loss.isfinite()


def test_gradients_reach_every_parameter():
    vae, x, y, _ = factor_analysis(12)
    estimate(vae, SemiSupervised(), x, hidden(y, 6)).loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in vae.parameters())


def test_a_model_without_classifier_or_labels_is_refused():
    model = linear_cvae()
    with pytest.raises(ValueError, match=r"^objective SemiSupervised needs a model with a classifier"):
        SemiSupervised().connect(model.vae.p, model.vae.q)
    vae, x, _, _ = factor_analysis()
    with pytest.raises(ValueError, match=r"^objective SemiSupervised needs labels"):
        SemiSupervised()(vae.p, vae.q, x)


def test_a_variance_that_is_fitted_to_all_classes_is_refused():
    """The σ² that maximizes the bound weighs the errors by q(y|x), and that of OptimalGaussian does not."""
    vae, *_ = factor_analysis()
    vae.p.head = OptimalGaussian((vae.p.head.layer.in_features,), vae.p.data_shape)
    with pytest.raises(ValueError, match=r"^objective SemiSupervised decodes .*; use scalar_gaussian$"):
        SemiSupervised().connect(vae.p, vae.q)
