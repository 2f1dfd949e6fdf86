"""Training steps are such that a CUDA graph can capture them, and graphs of blocks have the results of eager steps.

CUDA graphs are emulated on the CPU, see emulation.py; tests/training/steps/test_all_gpu.py has those of a GPU.
"""

import logging
from collections.abc import Callable
from functools import partial
from inspect import isabstract
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from aevb import likelihoods, networks, objectives, posteriors, priors
from aevb.data import BatchLoader
from aevb.objectives import SGVB
from aevb.sequences import SequenceVAE
from aevb.training import module, readings
from aevb.training.callbacks import Metrics
from aevb.training.readings import Readings
from aevb.training.steps import capture, compiled
from aevb.training.steps.capture import MAX_GRAPHS, Captured, CapturedProgram
from aevb.training.steps.eager import Eager
from aevb.training.steps.runner import TrainingStep, unvalidated_distributions
from aevb.training.steps.updates import with_tensor_rates
from aevb.vae import VAE

from ...codes import code_model, token_model
from ...small import quiet_trainer, small_model
from . import fitting
from .emulation import EmulatedGraphs, NoCopies, NoWaiting, WaitingError

OF_OTHER_MODELS = (
    "ConditionalGaussian", "ConvTopDown", "Hierarchical", "IndependentSteps", "Markov", "PerStep", "Recurrent",
    "RecurrentTokens", "SemiSupervised", "TopDown",
)  # fmt: skip
"""Parts of models with layers, steps or conditions."""


def parts(package: Any, base: str) -> list[type]:
    """Of a kind, for the small model."""
    found = [getattr(package, name) for name in package.__all__]
    kind = getattr(package, base)
    classes = [part for part in found if isinstance(part, type) and part.__name__ not in OF_OTHER_MODELS]
    return [part for part in classes if issubclass(part, kind) and not isabstract(part)]


MONTE_CARLO_EM = partial(objectives.MonteCarloEM, num_starts=3, transitions=4, leapfrog_steps=1, updates=2)
OBJECTIVES: dict[str, Callable[[], Any]] = {
    **{kind.__name__: kind for kind in parts(objectives, "Objective")},
    "MonteCarloEM": MONTE_CARLO_EM,
    "SGVB, all settings": partial(SGVB, beta=0.5, beta_warmup_samples=300, free_bits=0.1, kl="sampled"),
    "IWAE, dreg": partial(objectives.IWAE, gradient="dreg"),
    "ScoreFunction, learned": partial(objectives.ScoreFunction, baseline="learned"),
    "ScoreFunction, leave_one_out": partial(objectives.ScoreFunction, 2, baseline="leave_one_out"),
}
PRIORS = [kind for kind in parts(priors, "Prior") if kind.support == "real"]
POSTERIORS = [kind for kind in parts(posteriors, "Posterior") if kind.support == "real"]
CONSTRAINED = {
    kind.__name__: partial(small_model, (1, 4, 4), posterior=kind, prior=getattr(priors, kind.__name__))
    for kind in parts(posteriors, "Posterior")
    if kind.support != "real" and hasattr(priors, kind.__name__)
} | {
    "PowerSpherical": partial(small_model, (1, 4, 4), posterior=posteriors.PowerSpherical, prior=priors.UniformSphere),
    "Concrete": partial(
        small_model,
        (1, 4, 4),
        posterior=partial(posteriors.Concrete, categories=2),
        prior=partial(priors.Categorical, categories=2),
    ),
}
LIKELIHOODS = parts(likelihoods, "Likelihood")
MODEL = partial(small_model, (1, 4, 4))
TWO = {"latent_dims": (1, 1)}
FIRST = partial(networks.FirstLayer, decoder=networks.MLPDecoder, **TWO)
MAPS: dict[str, Any] = {"halvings": (1, 2), "width": 4}
SHAPES: dict[str, Any] = {"data_shape": (1, 4, 4), "latent_channels": (1, 2), **MAPS}
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


def sequences(part: str, recurrent_width: int | None = None) -> SequenceVAE:
    """Two steps of three values."""
    posterior: Any = partial(getattr(posteriors, part), step_dim=2)
    prior = partial(getattr(priors, part), step_dim=2)
    encoder, decoder = (partial(kind, hidden=[5]) for kind in (networks.MLPEncoder, networks.MLPDecoder))
    bernoulli = likelihoods.Bernoulli
    return SequenceVAE(4, 2, (2, 3), encoder, posterior, prior, decoder, bernoulli, recurrent_width)


def of_labels() -> VAE:
    """Given one of three labels, of which objectives for few labels see two in five."""
    encoder, decoder = (
        partial(kind, hidden=[5], condition_shape=(3,)) for kind in (networks.MLPEncoder, networks.MLPDecoder)
    )
    classifier = partial(networks.Classifier, backbone=partial(networks.MLPEncoder, hidden=[5]))
    heads = (posteriors.DiagonalGaussian, priors.StandardNormal)
    return VAE(
        2, (1, 4, 4), encoder, *heads, decoder, likelihoods.Bernoulli, condition_shape=(3,), classifier=classifier
    )


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    **{name: (make, MODEL) for name, make in OBJECTIVES.items()},
    **{kind.__name__: (SGVB, partial(MODEL, likelihood=kind)) for kind in LIKELIHOODS},
    **{f"{kind.__name__} of z": (SGVB, partial(MODEL, posterior=kind)) for kind in POSTERIORS},
    **{f"{name} of z": (SGVB, model) for name, model in CONSTRAINED.items()},
    **{f"WakeSleep, {name} of z": (objectives.WakeSleep, model) for name, model in CONSTRAINED.items()},
    **{f"{kind.__name__} prior": (SGVB, partial(MODEL, prior=kind)) for kind in PRIORS},
    **{f"WakeSleep, {kind.__name__}": (objectives.WakeSleep, partial(MODEL, likelihood=kind)) for kind in LIKELIHOODS},
    **{f"WakeSleep, {kind.__name__} prior": (objectives.WakeSleep, partial(MODEL, prior=kind)) for kind in PRIORS},
    **{
        f"{name} of layers": (
            SGVB,
            partial(MODEL, **(model | {part: partial(model[part], **TWO) for part in ("posterior", "prior")})),
        )
        for name, model in LAYERED.items()
    },
    **{
        f"{kind.__name__} of maps": (
            SGVB,
            partial(
                MODEL,
                latent_dim=4 + 2,
                encoder=partial(networks.ConvPyramid, **MAPS),
                posterior=partial(kind, **SHAPES),
                prior=partial(priors.ConvTopDown, **SHAPES),
                decoder=partial(networks.LastMaps, **MAPS),
            ),
        )
        for kind in (posteriors.ConvTopDown, posteriors.ConvLadder)
    },
    "Tokens": (SGVB, token_model),
    "Codes": (SGVB, code_model),
    "Codes, fsq": (SGVB, partial(code_model, "fsq")),
    "IndependentSteps": (SGVB, partial(sequences, "IndependentSteps")),
    "Markov": (SGVB, partial(sequences, "Markov")),
    "Recurrent": (SGVB, partial(sequences, "Markov", 5)),
    "labels": (SGVB, of_labels),
    "SemiSupervised": (objectives.SemiSupervised, of_labels),
}
WAITING = {
    f"WakeSleep, {name}": "how often each component is drawn is a number of Python's"
    for name in ("MixtureOfGaussians prior", "VampPrior prior")
}
"""Cases that do wait, and why."""

OPTIMIZERS = {
    "Adagrad": partial(torch.optim.Adagrad, lr=0.05),
    "Adam": partial(torch.optim.Adam, lr=0.01),
    "SGD": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
}


def take_steps(objective: Any, vae: Any, optimizer: Any, x: Tensor, c: Tensor | None) -> None:
    for estimate in objective.estimates(vae.p.given(c), vae.q.given(c), x):
        optimizer.zero_grad()
        estimate.loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()


def capture_steps(make: Callable[[], Any], model: Callable[[], Any], optimizer: Callable[..., Any]) -> None:
    """Capture two steps, and compare a replay with launching them."""
    torch.manual_seed(0)
    objective, vae = make(), model()
    objective.connect(vae.p, vae.q)
    objective.num_data, objective.num_labels = 100, 40
    x = torch.randint(2, (5, *vae.p.data_shape)).float()
    c = None if vae.q.classifier is None else torch.eye(3).repeat(2, 1)[: len(x)]
    if c is not None and objective.hidden_conditions:
        c[2:] = torch.nan
    weights = [*vae.parameters(), *objective.parameters()]
    given = optimizer(weights, fused=True)
    captured = with_tensor_rates(given, [torch.tensor(given.defaults["lr"])], {"fused": False, "capturable": True})
    graphs = EmulatedGraphs()

    def steps() -> None:
        for _ in range(2):
            take_steps(objective, vae, captured, x, c)

    with unvalidated_distributions():
        steps()  # the optimizer's state is made
        replay, _ = graphs.capture(steps)
        slots = [value for state in given.state.values() for value in state.values()]
        state, noise = [*weights, *vae.buffers(), *objective.buffers(), *slots], torch.get_rng_state()
        before = [tensor.detach().clone() for tensor in state]
        replay()
        found = [tensor.detach().clone() for tensor in state]
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        torch.set_rng_state(noise)
        steps()
    assert not all(map(torch.equal, found, before))
    assert all(map(torch.equal, found, state))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(raises=WaitingError, reason=WAITING[name]))
        if name in WAITING
        else name
        for name in CASES
    ],
)
def test_steps_can_be_captured(name: str) -> None:
    capture_steps(*CASES[name], OPTIMIZERS["Adagrad"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_can_be_captured(name: str) -> None:
    capture_steps(SGVB, MODEL, OPTIMIZERS[name])


@pytest.mark.parametrize("waiting", [Tensor.item, Tensor.nonzero, Tensor.cpu, Tensor.tolist, lambda x: x[x > 0], bool])
def test_waiting_operations_are_refused(waiting: Callable[[Tensor], Any]) -> None:
    x = torch.ones(1)
    with pytest.raises(WaitingError), NoCopies(), NoWaiting():
        waiting(x)


# Whole blocks


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> EmulatedGraphs:
    """Let training capture blocks in emulated graphs."""
    emulated = EmulatedGraphs()

    def make(steps: str, step: TrainingStep) -> Any:
        captured = Captured(step, Eager(step), emulated)
        return {"eager": Eager(step), "auto": captured, "compiled": CapturedProgram(step, captured, emulated)}[steps]

    monkeypatch.setattr(module, "make_runner", make)
    return emulated


def both(objective: Callable[[], Any] = SGVB, optimizer: str = "adagrad", **settings: Any) -> list[Any]:
    """Training by captured blocks, and by eager steps."""
    return [fitting.train(objective(), MODEL, optimizer, steps, **settings) for steps in ("auto", "eager")]


@pytest.mark.parametrize("optimizer", fitting.OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"gradient_clip_val": 0.5}, {"precision": "bf16-mixed"}])
def test_captured_blocks_are_the_eager_steps(optimizer: str, options: dict[str, Any], graphs: EmulatedGraphs) -> None:
    results = both(optimizer=optimizer, options=options)
    assert results[0][1].runner.active.name == "captured"
    assert graphs.captured == 1
    fitting.assert_near(*results)


@pytest.mark.parametrize("objective", [partial(SGVB, beta_warmup_samples=300), MONTE_CARLO_EM])
def test_graphs_count_samples_and_updates(objective: Callable[[], Any], graphs: EmulatedGraphs) -> None:
    results = both(objective)
    assert graphs.captured == 1
    fitting.assert_near(*results)


def test_graphs_follow_the_learning_rate(graphs: EmulatedGraphs) -> None:
    results = both(schedule=fitting.HALVED)
    assert graphs.captured == 1
    fitting.assert_near(*results)


class Refuse(pl.Callback):
    """Blocks of the second epoch may not wait for the device, from their start to the end of other callbacks."""

    def __init__(self) -> None:
        self.modes: list[Any] = []

    def on_train_batch_start(self, trainer: Any, *arguments: Any) -> None:
        self.modes = [NoCopies(), NoWaiting()] if trainer.current_epoch else []
        for mode in self.modes:
            mode.__enter__()

    def on_train_batch_end(self, *arguments: Any) -> None:
        while self.modes:
            self.modes.pop().__exit__(None, None, None)


class OnTheHost(Readings):
    """Values that have arrived are not on the device."""

    def settle(self) -> None:
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            super().settle()


def test_replayed_blocks_do_not_wait(graphs: EmulatedGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "ASYNCHRONOUS", ("cpu",))
    monkeypatch.setattr(readings, "start_copy", lambda values: values.detach().clone)
    monkeypatch.setattr(module, "Readings", OnTheHost)
    x = torch.randint(2, (200, 1, 4, 4), dtype=torch.uint8)  # loaders of other data are checked at each block
    loader = BatchLoader(x, batch_size=10, shuffle=True, block_size=5)
    trained = module.AEVB(MODEL(), SGVB(), fitting.OPTIMIZERS["adam"], schedule=fitting.HALVED)
    metrics = Metrics(1)
    quiet_trainer(max_epochs=2, callbacks=[metrics, Refuse()]).fit(trained, loader)
    assert graphs.captured == 1
    assert trained.samples_seen == metrics.every.last == 400


def test_an_epochs_last_block_has_a_graph_of_its_own(graphs: EmulatedGraphs) -> None:
    results = both(last=7)
    assert graphs.captured == 2
    fitting.assert_near(*results)


def test_long_blocks_are_several_graphs(graphs: EmulatedGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "STEPS", 2)
    results = both(partial(SGVB, beta_warmup_samples=300))
    assert graphs.captured == 2
    fitting.assert_near(*results)


def test_changed_settings_give_new_graphs(graphs: EmulatedGraphs) -> None:
    class Freeze(pl.Callback):
        """The second epoch trains the generative model alone, with another β."""

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 1:
                module.vae.q.requires_grad_(False)
                module.objective.beta = 0.5
                trainer.optimizers[0].param_groups[0]["weight_decay"] = 0.1

    results = both(partial(SGVB, beta=2.0), callbacks=[Freeze()])
    assert graphs.captured == 2
    fitting.assert_near(*results)


def test_memory_is_kept_for_some_shapes_only(graphs: EmulatedGraphs) -> None:
    class Shrink(pl.Callback):
        """Each block has minibatches of its own size."""

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            batch[0] = batch[0][:, : 9 - batch_idx - 4 * trainer.current_epoch]

    results = both(callbacks=[Shrink()])
    assert graphs.captured == 0
    assert len(results[0][1].runner.blocks) == MAX_GRAPHS
    fitting.assert_near(*results)


class Waiting(SGVB):
    """Python looks at the loss."""

    def estimate(self, p: Any, q: Any, x: Tensor) -> Any:
        estimate = super().estimate(p, q, x)
        return estimate._replace(loss=estimate.loss * 2) if estimate.loss > 20 else estimate


class Drawing(SGVB):
    """Noise that is not torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = iter(range(1000))

    def estimate(self, p: Any, q: Any, x: Tensor) -> Any:
        estimate = super().estimate(p, q, x)
        return estimate._replace(loss=estimate.loss * (1.0 + next(self.draws)))


class Rounding(Drawing):
    """Results that differ by rounding each time, as those of kernels that add in any order."""

    def estimate(self, p: Any, q: Any, x: Tensor) -> Any:
        estimate = SGVB.estimate(self, p, q, x)
        return estimate._replace(loss=estimate.loss * (1.0 + 1e-6 * next(self.draws)))


class Counting(SGVB):
    """Something that only Python knows changes in each step."""

    count = 0

    def estimate(self, p: Any, q: Any, x: Tensor) -> Any:
        self.count += 1
        estimate = super().estimate(p, q, x)
        return estimate._replace(loss=estimate.loss * (1 + self.count))


REFUSED = {
    Waiting: "aten._local_scalar_dense.default: the result depends on values",
    Drawing: "a graph's results differ",
    Counting: "an attribute of the model or the objective changes in each step",
}


@pytest.mark.parametrize("objective", REFUSED)
def test_what_cannot_be_captured_is_eager(objective: type[SGVB], graphs: EmulatedGraphs, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "aevb")
    results = both(objective)
    assert [line for line in caplog.messages if line.startswith("training steps")] == [
        f"training steps are eager, not captured: {REFUSED[objective]}"
    ]
    assert all(step.device.type == "cpu" for step in counters(results[0][2]))
    if objective is not Drawing:  # whose steps see other numbers where a block is executed twice
        fitting.assert_near(*results)


def counters(trainer: pl.Trainer) -> list[Tensor]:
    return [state["step"] for state in trainer.optimizers[0].state.values()]


def test_kernels_that_are_not_deterministic_are_captured(graphs: EmulatedGraphs, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "aevb")
    results = both(Rounding)
    assert results[0][1].runner.active.name == "captured"
    assert "kernels of this device are not deterministic: results are reproduced up to rounding" in caplog.messages


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(graphs: EmulatedGraphs, tmp_path: Path) -> None:
    whole = fitting.train(SGVB(), MODEL, "adam", "auto", options={"max_epochs": 3})
    half = fitting.train(SGVB(), MODEL, "adam", "auto", options={"max_epochs": 1})
    half[2].save_checkpoint(tmp_path / "last.ckpt")
    resumed = fitting.train(SGVB(), MODEL, "adam", "auto", options={"max_epochs": 3}, resume=tmp_path / "last.ckpt")
    assert graphs.captured == 3
    resumed[1].metrics[:0] = half[1].metrics
    fitting.assert_same(whole, resumed)


@pytest.mark.parametrize("options", [{}, {"gradient_clip_val": 0.5}, {"precision": "bf16-mixed"}])
def test_programs_are_captured(
    options: dict[str, Any], graphs: EmulatedGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "compile_graph", lambda program, *others: program)
    results = [
        fitting.train(SGVB(), MODEL, "adam", steps, options=options, schedule=fitting.HALVED)
        for steps in ("compiled", "eager")
    ]
    assert results[0][1].runner.active.name == "compiled"
    assert graphs.captured == 1
    fitting.assert_near(*results)


def test_blocks_are_captured_without_a_compiler(
    graphs: EmulatedGraphs, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def missing(*arguments: Any) -> None:
        raise RuntimeError("no compiler")

    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(compiled, "compile_graph", lambda *arguments: missing)
    results = [fitting.train(SGVB(), MODEL, "adagrad", steps) for steps in ("compiled", "eager")]
    assert "training steps are captured, not compiled: no compiler" in caplog.messages
    assert results[0][1].runner.active.name == "captured"
    fitting.assert_near(*results)


def test_wrong_programs_are_not_captured(graphs: EmulatedGraphs, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def wrong(program: Any, *others: Any) -> Any:
        def run(x: Tensor, *state: Tensor) -> Any:
            metrics = program(x, *state)
            state[0].mul_(1.01)
            return metrics

        return run

    caplog.set_level(logging.INFO, "aevb")
    monkeypatch.setattr(compiled, "compile_graph", wrong)
    results = [fitting.train(SGVB(), MODEL, "adagrad", steps) for steps in ("compiled", "eager")]
    assert (
        "training steps are captured, not compiled: a program's results differ from those of a step" in caplog.messages
    )
    fitting.assert_near(*results)
