"""Matrix products by oneDNN: those of torch, and in place of them where they are faster."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from aevb.training.steps import products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


@pytest.fixture(params=[True, False])
def faster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether oneDNN is faster; all products are large."""
    monkeypatch.setattr(products, "is_faster", lambda: request.param)
    monkeypatch.setattr(products, "SIZE", 100)
    return bool(request.param)


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The products that oneDNN has computed."""
    calls: list[str] = []
    for name in ("mm", "addmm"):
        compute = getattr(products, name)
        monkeypatch.setattr(products, name, lambda *given, n=name, c=compute: calls.append(n) or c(*given))
    return calls


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


def test_the_faster_product_is_used_in_graphs(faster: bool) -> None:
    graph = traced(*operands())
    assert products.use_onednn(graph) == (2 if faster else 0)
    torch.testing.assert_close(graph(*operands()), (torch.mm(*operands()[1:]), torch.addmm(*operands())))


def test_the_faster_product_is_used_by_torch(faster: bool, by_onednn: list[str]) -> None:
    bias, a, b = operands()
    layer = torch.nn.Linear(3, 7)
    with products.fast_products():
        with products.fast_products():  # as `aevb.train` within `aevb.fit` would
            found = torch.mm(a, b), torch.addmm(bias, a, b), layer(a)
        gradient = torch.autograd.grad(found[2].sum(), layer.weight)[0]
    assert by_onednn == (["mm", "addmm", "addmm", "mm"] if faster else [])
    torch.testing.assert_close(found, (torch.mm(a, b), torch.addmm(bias, a, b), layer(a)))
    torch.testing.assert_close(gradient, a.sum(0).expand(7, 3))
    assert len(by_onednn) == (4 if faster else 0)


@pytest.mark.parametrize("faster", [True], indirect=True)
def test_other_products_are_those_of_torch(faster: bool, by_onednn: list[str]) -> None:
    bias, a, b = operands()
    double = operands(torch.float64)

    def others() -> list[Tensor]:
        return [
            torch.mm(*double[1:]),
            torch.addmm(*double),
            torch.mm(a[:, :2], b[:2]),
            torch.addmm(torch.ones(5, 7), a, b),
            torch.addmm(torch.ones(1), a, b),
            torch.addmm(bias, a, b, beta=2, alpha=3),
        ]

    expected = others()
    with products.fast_products():
        assert all(map(torch.equal, expected, others()))
        wide = torch.ones(20, 30)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            torch.mm(wide, wide)
        with pytest.raises(RuntimeError, match="expanded size"):
            torch.addmm(torch.ones(4), a, b)
        with pytest.raises(RuntimeError, match="must be a matrix"):
            torch.mm(a[0], b)
    assert not by_onednn
    assert products.use_onednn(traced(*double)) == 0
    assert products.use_onednn(traced(torch.ones(1), a, b)) == 1  # the product without a bias


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_f": False}, False),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_onednn_is_for_processors_of_amd(processor: dict[str, Any], expected: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert products.is_faster.__wrapped__() is expected
