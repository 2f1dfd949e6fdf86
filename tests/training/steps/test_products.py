"""Matrix products by oneDNN: those of torch, and in place of them where they are faster."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from aevb.training.steps import products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")

ONEDNN = set(products.FASTER.values())


def operands(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (7,), (5, 3), (3, 7)
    bias, a, b = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return bias, a, b


def transposed(x: Tensor) -> Tensor:
    return x.t().contiguous().t()


@pytest.mark.parametrize("a_layout", [torch.clone, transposed])
@pytest.mark.parametrize("b_layout", [torch.clone, transposed])
def test_products_are_those_of_torch(a_layout: Any, b_layout: Any) -> None:
    bias, a, b = operands()
    a, b = a_layout(a), b_layout(b)
    torch.testing.assert_close(torch.ops.aevb.mm(a, b), (a.double() @ b.double()).float())
    torch.testing.assert_close(torch.ops.aevb.addmm(bias, a, b), (a.double() @ b.double() + bias).float())


def traced(*arguments: Tensor) -> Any:
    def both(bias: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return torch.mm(a, b), torch.addmm(bias, a, b)

    return make_fx(both)(*arguments)


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_product_is_used(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "seconds", lambda compute, _: 1.0 if (compute in ONEDNN) == faster else 2.0)
    graph = traced(*operands())
    assert products.use_onednn(graph) == (2 if faster else 0)
    torch.testing.assert_close(graph(*operands()), (torch.mm(*operands()[1:]), torch.addmm(*operands())))


def test_a_small_gain_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "seconds", lambda compute, _: 1.0 if compute in ONEDNN else 1.2)
    assert products.use_onednn(traced(*operands())) == 0


def test_other_precisions_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "seconds", lambda compute, _: 1.0 if compute in ONEDNN else 2.0)
    assert products.use_onednn(traced(*operands(torch.float64))) == 0


def test_products_are_timed() -> None:
    _, a, b = operands()
    assert 0 < products.seconds(torch.mm, [a, b]) < 0.1
