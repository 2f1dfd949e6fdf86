"""The precision of float32 matrix products."""

from typing import Literal

import torch

MatmulPrecision = Literal["auto", "highest", "high", "medium"]


def set_matmul_precision(
    precision: MatmulPrecision, trainer_precision: str | int | None, accelerator: str | None
) -> None:
    """Set torch's precision of the products of float32 matrices, on devices with shorter formats.

    `auto` is TF32 (`high`) on a GPU, which changes the ELBO by less than the seed does (docs/performance.md), and where
    `trainer.precision` has other products computed in 16 bits, which round more; elsewhere float32 (`highest`).
    """
    if precision == "auto":
        on_gpu = accelerator != "cpu" and torch.cuda.is_available()
        in_16_bits = str(trainer_precision).startswith(("16", "bf16"))
        precision = "high" if on_gpu or in_16_bits else "highest"
    torch.set_float32_matmul_precision(precision)
