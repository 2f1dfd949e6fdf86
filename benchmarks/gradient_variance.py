"""How noisy each estimator's gradient for the recognition model is, along the training of a small model.

    python benchmarks/gradient_variance.py

trains a model of the 8x8 digits by SGVB. At stops along the way it draws the gradient ∇_φ of one fixed minibatch many
times for each estimator and reports the total variance, the trace of the gradient's covariance, so that the only noise
is that of z. All estimators see the same number of samples of z per datapoint. It writes gradient_variance.csv and
gradient_variance.png, and takes about a minute.
"""

import argparse
import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from aevb.data import Digits
from aevb.files import atomic_write
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.objectives import IWAE, SGVB, Objective, ScoreFunction
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE

NUM_SAMPLES = 2
"""Of z per datapoint, for every estimator: the fewest that a leave-one-out baseline can do with."""
STOPS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
BATCH_SIZE = 100


class Estimator(NamedTuple):
    """An estimator of the gradient; with `copies`, it sees so many copies of the minibatch, a sample of z each."""

    objective: Objective
    style: str
    copies: int = 1


class Row(NamedTuple):
    """A measurement, in squared nats per squared weight, summed over φ."""

    samples: int
    estimator: str
    variance: float
    squared_norm: float


def make_estimators() -> dict[str, Estimator]:
    """By name, as the figure's legend says it."""
    make: dict[str, tuple[Callable[[], Objective], str, int]] = {
        "score function": (partial(ScoreFunction, NUM_SAMPLES), "C3-o", 1),
        "score function, learned baseline": (partial(ScoreFunction, NUM_SAMPLES, "learned"), "C1-s", 1),
        "score function, leave-one-out": (partial(ScoreFunction, NUM_SAMPLES, "leave_one_out"), "C8-^", 1),
        "SGVB A (eq. 6)": (partial(SGVB, NUM_SAMPLES, kl="sampled"), "C0-o", 1),
        "SGVB B (eq. 7)": (partial(SGVB, NUM_SAMPLES, kl="analytic"), "C9-s", 1),
        "sticking the landing": (partial(IWAE, 1, "stl"), "C2-^", NUM_SAMPLES),
        "IWAE, doubly reparameterized": (partial(IWAE, NUM_SAMPLES, "dreg"), "C4-v", 1),
    }
    return {name: Estimator(objective(weight_prior=False), *rest) for name, (objective, *rest) in make.items()}


def gradient(estimator: Estimator, model: VAE, x: Tensor) -> Tensor:
    """One draw of ∇_φ of the loss, flat."""
    loss = estimator.objective(model.p, model.q, x.repeat(estimator.copies, 1, 1, 1)).loss
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.q.parameters()))])


def measure(estimator: Estimator, model: VAE, x: Tensor, draws: int) -> tuple[float, float]:
    """The total variance of the gradient, and the squared norm of its mean, over `draws` draws."""
    mean, squares = torch.zeros(()), torch.zeros(())
    state = {name: value.clone() for name, value in estimator.objective.state_dict().items()}
    for _ in range(draws):
        estimator.objective.load_state_dict(state)  # the learned baseline's running averages stay as training left them
        value = gradient(estimator, model, x).double()
        mean, squares = mean + value / draws, squares + value.square().sum() / draws
    variance = (squares - mean.square().sum()) * draws / (draws - 1)
    return float(variance), float(mean.square().sum() - variance / draws)


def run(draws: int, seed: int) -> list[Row]:
    """Train, and stop to measure."""
    torch.manual_seed(seed)
    data = Digits()
    train = data.splits.train.x.float() / 255
    model = VAE(
        latent_dim=10,
        data_shape=data.shape,
        encoder=partial(MLPEncoder, hidden=[200]),
        posterior=DiagonalGaussian,
        prior=StandardNormal,
        decoder=partial(MLPDecoder, hidden=[200]),
        likelihood=Bernoulli,
    )
    training, estimators = SGVB(), make_estimators()
    training.num_data = len(train)
    optimizer = torch.optim.Adagrad([*model.p.parameters(), *model.q.parameters()], lr=0.02)
    baseline = estimators["score function, learned baseline"].objective
    baseline.connect(model.p, model.q)
    baseline_optimizer = torch.optim.Adagrad(baseline.parameters(), lr=0.02)
    fixed, rows = train[:BATCH_SIZE], []
    for samples in range(BATCH_SIZE, STOPS[-1] + 1, BATCH_SIZE):
        x = train[torch.randperm(len(train))[:BATCH_SIZE]]
        baseline_optimizer.zero_grad()
        baseline(model.p, model.q, x).loss.backward(inputs=list(baseline.parameters()))
        baseline_optimizer.step()
        optimizer.zero_grad()
        training(model.p, model.q, x).loss.backward()
        optimizer.step()
        if samples in STOPS:
            for name, estimator in estimators.items():
                rows.append(Row(samples, name, *measure(estimator, model, fixed, draws)))
                print(f"{samples:>9,}  {name:34}  variance {rows[-1].variance:.3e}", flush=True)
    return rows


def write(rows: list[Row], folder: Path) -> None:
    """The table and the figure."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows([row.samples, row.estimator, f"{row.variance:.4e}", f"{row.squared_norm:.4e}"] for row in rows)
    atomic_write(folder / "gradient_variance.csv", table.getvalue())

    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for name, estimator in make_estimators().items():
        chosen = [row for row in rows if row.estimator == name]
        axes.loglog(
            [r.samples for r in chosen], [r.variance for r in chosen], estimator.style, ms=4, lw=1.5, label=name
        )
    signal = [row for row in rows if row.estimator == "SGVB B (eq. 7)"]
    squared_norms = [max(row.squared_norm, 0) for row in signal]
    axes.loglog([r.samples for r in signal], squared_norms, "k--", lw=1, label="squared norm of the ELBO's gradient")
    axes.set_xlabel("training samples")
    axes.set_ylabel("total variance of ∇φ")
    axes.set_title(f"8×8 digits, 10 latents, M = {BATCH_SIZE}, {NUM_SAMPLES} samples of z per datapoint", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    plt.close(figure)
    atomic_write(folder / "gradient_variance.png", picture.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="draws of each gradient (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the results (default: %(default)s)")
    arguments = parser.parse_args()
    write(run(arguments.draws, arguments.seed), arguments.out)


if __name__ == "__main__":
    main()
