"""Importance sampling of log p(x) against the decoder's matrix products alone, on the paper's MNIST model.

    python benchmarks/importance_sampling.py

Both are timed in turn, and medians compared: a ratio of 1 would mean that nothing but the matrix products costs time.
The weights and the images are random; neither matters to the time.
"""

import argparse
import statistics
import time
from functools import partial

import torch

from aevb.estimators import ImportanceSampling
from aevb.estimators.elbo import parts
from aevb.estimators.runner import rows_at_once
from aevb.likelihoods import Bernoulli
from aevb.networks import MLPDecoder, MLPEncoder
from aevb.posteriors import DiagonalGaussian
from aevb.priors import StandardNormal
from aevb.vae import VAE


def paper_model(latent_dim: int, hidden: int) -> VAE:
    """784 pixels, one hidden layer on either side."""
    return VAE(
        latent_dim,
        (1, 28, 28),
        partial(MLPEncoder, hidden=[hidden]),
        DiagonalGaussian,
        StandardNormal,
        partial(MLPDecoder, hidden=[hidden]),
        Bernoulli,
    )


@torch.inference_mode()
def matrix_products(model: VAE, num_images: int, sizes: list[int]) -> None:
    """The two layers of the decoder, for as many z, in pieces of the same sizes, into memory that is reused."""
    layers = [model.p.decoder.layers[0], model.p.head.layer]
    buffers = [torch.zeros(max(sizes), width) for width in (layers[0].in_features, *(m.out_features for m in layers))]
    for _ in range(num_images):
        for size in sizes:
            for layer, source, target in zip(layers, buffers, buffers[1:], strict=False):
                torch.addmm(layer.bias, source[:size], layer.weight.T, out=target[:size])


def seconds(work, *arguments) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000, help="K")
    parser.add_argument("--images", type=int, default=20, help="in one timing")
    parser.add_argument("--latent-dim", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--max-batch-values", type=int, default=None)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = paper_model(arguments.latent_dim, arguments.hidden)
    x = torch.rand(arguments.images, 1, 28, 28)
    rows = rows_at_once(model.p, arguments.max_batch_values)
    estimator = ImportanceSampling(arguments.samples)
    per_chunk = max(1, rows // arguments.samples)
    sizes = [size * per_chunk for size in parts(arguments.samples, rows // per_chunk)]
    chunks = -(-arguments.images // per_chunk)

    def estimate() -> None:
        for chunk in x.split(per_chunk):
            estimator.estimate(model, chunk, rows)

    estimate()
    matrix_products(model, chunks, sizes)
    timings = [(seconds(estimate), seconds(matrix_products, model, chunks, sizes)) for _ in range(arguments.repeats)]
    sampling, products = (statistics.median(column) for column in zip(*timings, strict=True))
    per_row = 1e6 / (arguments.images * arguments.samples)
    print(f"{torch.get_num_threads()} threads, K = {arguments.samples}, {rows} samples of z at once")
    print(f"importance sampling  {sampling * per_row:.2f} µs per sample of z")
    print(f"matrix products      {products * per_row:.2f} µs")
    print(f"ratio                {products / sampling:.2f}")
    print(f"10,000 images        {sampling / arguments.images * 10_000:.0f} s")


if __name__ == "__main__":
    main()
