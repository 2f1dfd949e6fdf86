"""A training step is one that a CUDA graph could capture: nothing in it makes Python wait for the device.

Emulated on the CPU by modes that refuse what would synchronise. The optimizer is in the form that compiled steps use.
"""

from collections.abc import Callable
from functools import partial
from inspect import isabstract
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from aevb import likelihoods, networks, objectives, posteriors, priors
from aevb.objectives import SGVB
from aevb.training.steps.compiled import unfused
from aevb.training.steps.runner import unvalidated_distributions

from ...small import small_model

aten = torch.ops.aten

WAITS = {
    aten._linalg_check_errors.default: "checks for errors in Python",
    aten.multinomial.default: "checks its weights in Python",
    aten.lift_fresh.default: "copies a number of Python's to the device",
}


class WaitingError(Exception):
    pass


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        data_dependent = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
        if func in WAITS or by_mask or (data_dependent and func is not aten.index.Tensor):
            raise WaitingError(f"{func}: {WAITS.get(func, 'the result depends on values')}")
        return func(*args, **(kwargs or {}))


class NoCopies(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.cpu, Tensor.numpy, Tensor.tolist):
            raise WaitingError(f"{func.__name__}: copies to the host")
        return func(*args, **(kwargs or {}))


def parts(package: Any, base: str) -> list[type]:
    found = [getattr(package, name) for name in package.__all__]
    kind = getattr(package, base)
    return [part for part in found if isinstance(part, type) and issubclass(part, kind) and not isabstract(part)]


MONTE_CARLO_EM = partial(objectives.MonteCarloEM, num_starts=3, transitions=4, leapfrog_steps=1, updates=2)
OBJECTIVES: dict[str, Callable[[], Any]] = {
    **{kind.__name__: kind for kind in parts(objectives, "Objective")},
    "MonteCarloEM": MONTE_CARLO_EM,
    "SGVB, all settings": partial(SGVB, beta=0.5, beta_warmup_samples=300, free_bits=0.1, kl="sampled"),
    "IWAE, dreg": partial(objectives.IWAE, gradient="dreg"),
    "ScoreFunction, learned": partial(objectives.ScoreFunction, baseline="learned"),
    "ScoreFunction, leave_one_out": partial(objectives.ScoreFunction, 2, baseline="leave_one_out"),
}
PRIORS = [kind for kind in parts(priors, "Prior") if kind not in (priors.Hierarchical, priors.TopDown)]
TWO = {"latent_dims": (1, 1)}
FIRST = partial(networks.FirstLayer, decoder=networks.MLPDecoder, **TWO)
STATE = partial(networks.LastState, decoder=networks.MLPDecoder, width=4)
LAYERED: dict[str, dict[str, Any]] = {
    "BottomUp": {"posterior": posteriors.BottomUp, "prior": priors.Hierarchical, "decoder": FIRST},
    "Ladder": {"posterior": posteriors.Ladder, "prior": priors.Hierarchical, "decoder": FIRST},
    "TopDown": {
        "posterior": partial(posteriors.TopDown, width=4),
        "prior": partial(priors.TopDown, width=4),
        "decoder": STATE,
    },
}
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    **{name: (make, {}) for name, make in OBJECTIVES.items()},
    **{kind.__name__: (SGVB, {"likelihood": kind}) for kind in parts(likelihoods, "Likelihood")},
    **{f"{kind.__name__} of z": (SGVB, {"posterior": kind}) for kind in parts(posteriors, "Posterior")},
    **{
        f"WakeSleep, {kind.__name__}": (objectives.WakeSleep, {"likelihood": kind})
        for kind in parts(likelihoods, "Likelihood")
    },
    **{f"WakeSleep, {kind.__name__} prior": (objectives.WakeSleep, {"prior": kind}) for kind in PRIORS},
    **{f"{kind.__name__} prior": (SGVB, {"prior": kind}) for kind in PRIORS},
    **{
        f"{name} of layers": (
            SGVB,
            model | {part: partial(model[part], **TWO) for part in ("posterior", "prior")},
        )
        for name, model in LAYERED.items()
    },
}
WAITING = {
    f"WakeSleep, {name}": "draws of a category are by multinomial"
    for name in ("Categorical", "DiscretizedLogisticMixture", "MixtureOfGaussians prior", "VampPrior prior")
}
"""Cases that do wait, and why."""

OPTIMIZERS = {
    "Adagrad": partial(torch.optim.Adagrad, lr=0.05),
    "Adam": partial(torch.optim.Adam, lr=0.01),
    "SGD": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
}


def take_steps(objective: Any, vae: Any, optimizer: Any, x: Tensor) -> None:
    for estimate in objective.estimates(vae.p, vae.q, x):
        optimizer.zero_grad()
        estimate.loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()


def capture(make: Callable[[], Any], model: dict[str, Any], optimizer: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    objective, vae = make(), small_model((1, 4, 4), **model)
    objective.connect(vae.p, vae.q)
    objective.num_data = 100
    x = torch.randint(2, (5, 1, 4, 4)).float()
    fused = optimizer([*vae.parameters(), *objective.parameters()], fused=True)
    with unvalidated_distributions():
        take_steps(objective, vae, fused, x)
        learning_rate = torch.tensor(fused.defaults["lr"])
        with NoCopies(), NoWaiting():
            take_steps(objective, vae, unfused(fused, [learning_rate]), x)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(raises=WaitingError, reason=WAITING[name]))
        if name in WAITING
        else name
        for name in CASES
    ],
)
def test_step_does_not_wait_for_the_device(name: str) -> None:
    capture(*CASES[name], OPTIMIZERS["Adagrad"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_does_not_wait_for_the_device(name: str) -> None:
    capture(SGVB, {}, OPTIMIZERS[name])


@pytest.mark.parametrize("waiting", [Tensor.item, Tensor.nonzero, Tensor.cpu, Tensor.tolist, lambda x: x[x > 0], bool])
def test_what_waits_is_refused(waiting: Callable[[Tensor], Any]) -> None:
    x = torch.ones(1)
    with pytest.raises(WaitingError), NoCopies(), NoWaiting():
        waiting(x)
