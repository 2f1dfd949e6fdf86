"""train.py with TF32 emulated on a CPU: operands of all matrix products are cut to ten bits of mantissa.

    python benchmarks/tf32.py data=mnist model.latent_dim=20 max_samples=2000000 seed=0

The arguments are those of train.py. A GPU adds the products in float32, as here; it cuts or rounds, which errs less.
"""

import torch
from torch import Tensor

from aevb.apps.program import start
from aevb.training.steps import products

LOWEST_BITS = 0x1FFF
"""Of the 23 of float32's mantissa, those that TF32 has not."""

mm, addmm = products.mm_of_torch, products.addmm_of_torch


def cut(x: Tensor) -> Tensor:
    """x with the mantissa of TF32, if it is of float32."""
    return (x.contiguous().view(torch.int32) & ~LOWEST_BITS).view(torch.float32) if x.dtype == torch.float32 else x


def cut_mm(a: Tensor, b: Tensor) -> Tensor:
    return mm(cut(a), cut(b))


def cut_addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return addmm(bias, cut(a), cut(b), beta=beta, alpha=alpha)


if __name__ == "__main__":
    products.is_faster = lambda: True  # so that products of training are those of this module
    products.mm_of_torch, products.addmm_of_torch = cut_mm, cut_addmm
    start("train")
