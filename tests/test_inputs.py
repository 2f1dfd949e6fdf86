"""What enters a model is converted, or refused in one line; the same in training and afterwards."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from aevb.inputs import as_batch, as_block, as_condition, as_latents, block_of_conditions
from aevb.likelihoods import Categorical, Gaussian, Likelihood, Poisson

from .small import small_model

LIKE = torch.zeros(())
GREY = torch.arange(2 * 16, dtype=torch.uint8).view(2, 1, 4, 4)


@pytest.mark.parametrize(
    "x",
    [
        GREY,
        GREY.numpy(),
        GREY.squeeze(1),
        GREY.numpy()[:, 0],
        GREY / 255,
        GREY.double() / 255,
        (GREY.double() / 255).numpy(),
        (GREY / 255).tolist(),
    ],
)
def test_the_same_images_in_any_form_are_the_same_batch(x):
    batch = as_batch(x, (1, 4, 4), LIKE)
    assert batch.dtype == torch.float32
    assert torch.equal(batch, GREY / 255)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int8, torch.float16, torch.bfloat16, torch.float64])
def test_zeros_and_ones_of_any_type_are_zeros_and_ones(dtype):
    x = torch.tensor([[0, 1, 1], [1, 0, 0]])
    assert torch.equal(as_batch(x.to(dtype), (1, 1, 3), LIKE), x.view(2, 1, 1, 3).float())


@pytest.mark.parametrize(
    "x",
    [
        GREY.double().numpy().astype(">f8"),
        GREY.numpy().astype(np.longdouble),
        GREY.double().numpy()[::-1][::-1],
        GREY.double().to_sparse(),
        [*GREY.double()],
        np.broadcast_to(GREY.double().numpy(), GREY.shape),  # read-only, as of a memory map
    ],
    ids=["big-endian", "longdouble", "reversed", "sparse tensor", "list of tensors", "read-only"],
)
@pytest.mark.filterwarnings("error")
def test_arrays_that_torch_does_not_take_are_converted(x):
    assert torch.equal(as_batch(x, (1, 4, 4), LIKE), GREY.float())


def test_tables_and_sparse_matrices_are_converted():
    pandas = pytest.importorskip("pandas")
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    for values in (pandas.DataFrame(x.numpy(), columns=["a", "b", "c"]), csr_array(x.numpy())):
        assert torch.equal(as_batch(values, (1, 1, 3), LIKE), x.view(2, 1, 1, 3))


def test_masked_values_are_refused_and_a_mask_of_none_is_not():
    x = np.ma.masked_greater(np.array([[0.0, 1.0, 2.0]]), 1)
    with pytest.raises(ValueError, match=r"^x has masked values; fill them in, or leave out their rows$"):
        as_batch(x, (3,), LIKE)
    assert torch.equal(as_batch(x.filled(0), (3,), LIKE), as_batch(np.ma.masked_greater(x.filled(0), 9), (3,), LIKE))


def test_a_model_in_double_precision_keeps_it():
    x = torch.rand(2, 3, dtype=torch.float64)
    assert torch.equal(as_batch(x, (3,), LIKE.double()), x)


@pytest.mark.parametrize(
    "shape", [(), (4,), (4, 4), (0, 1, 4, 4), (2, 16), (2, 4, 4, 1), (2, 3, 4, 4), (2, 1, 4, 5), (2, 2, 1, 4, 4)]
)
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"^x must have the shape \(B, 1, 4, 4\) .*got \([^)]*\)$"):
        as_batch(torch.zeros(shape), (1, 4, 4), LIKE)


@pytest.mark.parametrize("x", [None, "images", {"x": 1}, np.array(["a"]), object()])
def test_values_that_are_not_numbers_are_refused(x):
    with pytest.raises(ValueError, match=r"^x must be a tensor or an array of numbers, got "):
        as_batch(x, (1, 4, 4), LIKE)


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"^x has parts of unequal length; pad sequences to one length, and give "):
        as_batch([[1, 2], [3]], (1, 4, 4), LIKE)


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match=r"^x must hold real numbers, got torch\.complex64$"):
        as_batch(torch.zeros(1, 3, dtype=torch.complex64), (3,), LIKE)


def test_blocks_and_batches_differ_by_their_dimensions():
    x, y = torch.rand(5, 1, 4, 4), torch.zeros(5)
    for batch in (x, [x, y], (x,), x.squeeze(1)):
        assert torch.equal(as_block(batch, (1, 4, 4), LIKE), x[None])
    block = torch.rand(3, 5, 1, 4, 4)
    assert torch.equal(as_block((block, torch.zeros(3, 5)), (1, 4, 4), LIKE), block)
    for shape in [(5, 3, 4, 4), (3, 5, 4, 4), (2, 3, 5, 1, 4, 4), (5, 16), (0, 1, 4, 4), (3, 0, 1, 4, 4)]:
        with pytest.raises(ValueError, match=r"^a batch must have the shape \(B, 1, 4, 4\), or \(K, B, 1, 4, 4\)"):
            as_block([torch.zeros(shape)], (1, 4, 4), LIKE)
    for other in ({"x": x}, "x"):
        with pytest.raises(ValueError, match=r"^a batch must be a tensor or an array of numbers, got "):
            as_block(other, (1, 4, 4), LIKE)


def test_latent_variables_are_checked():
    z = np.zeros((2, 5, 3))
    assert as_latents(z, 3, LIKE).dtype == torch.float32
    for shape in [(3,), (2, 5, 2), (0, 3)]:
        with pytest.raises(ValueError, match=r"^z must have the shape \(\.\.\., 3\)"):
            as_latents(np.zeros(shape), 3, LIKE)
    z[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"^z must be finite, got inf in 1 of 30 values$"):
        as_latents(z, 3, LIKE)


METHODS = {
    "elbo": lambda vae, x: vae.elbo(x, 3),
    "log_marginal": lambda vae, x: vae.log_marginal(x, 3),
    "encode": lambda vae, x: vae.encode(x).mean,
    "reconstruct": lambda vae, x: vae.reconstruct(x),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_a_model_converts_its_input(name):
    vae, results = small_model((1, 4, 4)), []
    for x in (GREY, GREY.numpy(), GREY[:, 0], GREY.double() / 255):
        torch.manual_seed(0)
        results.append(METHODS[name](vae, x))
    assert all(torch.equal(results[0], result) for result in results)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_a_model_refuses_what_its_likelihood_cannot_score(name):
    grey = GREY.float()
    for likelihood, x, message in [
        (None, grey, r"^likelihood Bernoulli needs data in \[0, 1\], got 2 among values from 0 to 31; "),
        (None, torch.full((1, 1, 4, 4), 1.0000001), r"got 1\.0000001 among"),
        (None, torch.full((1, 1, 4, 4), torch.nan), r"^x must be finite, got nan in 16 of 16 values$"),
        (Gaussian, torch.full((1, 1, 4, 4), -torch.inf), r"^x must be finite, got -inf in 16 of 16 values$"),
        (Poisson, grey + 0.5, r"^likelihood Poisson needs data in whole numbers from 0, got 0\.5 among"),
        (Categorical, grey / 100, r"^likelihood Categorical needs data in "),
        (None, torch.zeros(1, 3, 4, 4), r"^x must have the shape \(B, 1, 4, 4\)"),
    ]:
        vae = small_model((1, 4, 4), **({} if likelihood is None else {"likelihood": likelihood}))
        with pytest.raises(ValueError, match=message) as error:
            METHODS[name](vae, x)
        assert "\n" not in str(error.value)


def test_counts_are_scored_as_they_are():
    vae = small_model((1, 1, 3), likelihood=Poisson)
    x = torch.tensor([[0, 7, 300]])
    torch.manual_seed(0)
    found = vae.elbo(x)
    torch.manual_seed(0)
    assert torch.equal(found, vae.elbo(x.view(1, 1, 1, 3).float()))


@pytest.mark.parametrize("number", [0, -1, 2.5, True, None])
def test_the_number_of_samples_is_a_positive_integer(number):
    vae = small_model((1, 4, 4))
    for call in (lambda: vae.sample(number), lambda: vae.elbo(GREY, number), lambda: vae.log_marginal(GREY, number)):
        with pytest.raises(ValueError, match=r"^num_samples must be a whole number"):
            call()


def test_decode_takes_any_batch_of_latent_variables():
    vae = small_model((1, 4, 4))
    assert vae.decode(np.zeros((2, 5, 2))).mean.shape == (2, 5, 1, 4, 4)
    assert vae.decode([[0, 1]]).mean.shape == (1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"^z must have the shape \(\.\.\., 2\)"):
        vae.decode(torch.zeros(5, 3))


def test_a_head_of_ones_own_is_checked_by_its_support():
    class Mine(Likelihood):
        support = torch.distributions.constraints.positive

        def __init__(self, in_shape, data_shape):
            super().__init__(in_shape, data_shape, parameters_per_value=1)

        def distribution(self, raw):
            return torch.distributions.Exponential(raw.exp(), validate_args=False)

    with pytest.raises(ValueError, match="likelihood Mine needs data in"):
        small_model((1, 4, 4), likelihood=Mine).elbo(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float64])
def test_conditions_of_any_type_are_the_numbers_that_they_are(dtype):
    c = torch.eye(3)
    assert torch.equal(as_condition(c.to(dtype), (3,), 3, torch.zeros(())), c)
    lengths = torch.tensor([1, 1, 1], dtype=dtype)
    assert as_condition(lengths, (), 3, torch.zeros(())).tolist() == [1.0] * 3


def test_conditions_of_a_batch_become_a_block():
    x, c = torch.rand(3, 5, 1, 4, 4), torch.rand(3, 5, 2)
    assert torch.equal(block_of_conditions((x, None, c), (2,), x), c)
    one = torch.rand(1, 5, 1, 4, 4)
    assert torch.equal(block_of_conditions((one[0], None, c[0]), (2,), one), c[:1])
    lengths = torch.tensor([[1, 2, 3, 4, 5]])
    assert torch.equal(block_of_conditions([one, None, lengths[0]], (), one), lengths.float())
    assert torch.equal(block_of_conditions([one, None, lengths], (), one), lengths.float())
    for batch in (x, (x,), (x, torch.zeros(3, 5)), (x, None, None)):
        with pytest.raises(ValueError, match=r"^the model needs a condition of shape \[2\] .*, but none is given$"):
            block_of_conditions(batch, (2,), x)
    with pytest.raises(ValueError, match=r", got c of shape \(4, 2\)$"):
        block_of_conditions((one[0], None, torch.zeros(4, 2)), (2,), one)
