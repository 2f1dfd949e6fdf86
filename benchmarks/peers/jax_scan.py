"""JAX: an epoch is one jitted `lax.scan` over minibatches, with the data on the device and optax's Adagrad."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import Arguments, Result, finish, images


def init(key: jax.Array, pixels: int, a: Arguments) -> dict[str, tuple[jax.Array, jax.Array]]:
    sizes = {
        "encoder": (pixels, a.hidden),
        "posterior": (a.hidden, 2 * a.latent),
        "decoder": (a.latent, a.hidden),
        "likelihood": (a.hidden, pixels),
    }
    keys = jax.random.split(key, len(sizes))
    return {
        name: (0.1 * jax.random.normal(k, shape), 0.1 * jax.random.normal(jax.random.fold_in(k, 1), shape[1:]))
        for k, (name, shape) in zip(keys, sizes.items(), strict=True)
    }


def linear(layer: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    return x @ layer[0] + layer[1]


def elbo(params, x: jax.Array, key: jax.Array, num_samples: int = 1) -> jax.Array:
    """(B,), in nats, by L samples of z."""
    mean, log_variance = jnp.split(linear(params["posterior"], jnp.tanh(linear(params["encoder"], x))), 2, axis=-1)
    z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, (num_samples, *mean.shape))
    logits = linear(params["likelihood"], jnp.tanh(linear(params["decoder"], z)))
    log_likelihood = -optax.sigmoid_binary_cross_entropy(logits, x).sum(-1).mean(0)
    kl = -0.5 * (1 + log_variance - mean**2 - jnp.exp(log_variance)).sum(-1)
    return log_likelihood - kl


def main(a: Arguments) -> Result:
    train, test = (jnp.asarray(x, jnp.float32).reshape(len(x), -1) / 255 for x in images(a))
    # optax adds eps under the root, torch beside it.
    optimizer = optax.adagrad(a.lr, initial_accumulator_value=0.0, eps=1e-20)
    params = init(jax.random.key(a.seed), train.shape[1], a)
    state = optimizer.init(params)

    def step(carry, index):
        params, state, key = carry
        key, noise = jax.random.split(key)
        value, gradient = jax.value_and_grad(lambda p: -elbo(p, train[index], noise, a.num_samples).mean())(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state, key), value

    @jax.jit
    def epoch(carry, order):
        return jax.lax.scan(step, carry, order)

    carry, seen = (params, state, jax.random.key(a.seed + 1)), 0
    rng = np.random.default_rng(a.seed)
    per_epoch = len(train) // a.batch
    warm = epoch.lower(carry, jnp.zeros((per_epoch, a.batch), jnp.int32)).compile()
    start = time.perf_counter()
    while seen < a.samples:
        order = rng.permutation(len(train))[: per_epoch * a.batch].reshape(per_epoch, a.batch)
        carry, losses = warm(carry, jnp.asarray(order, jnp.int32))
        seen += order.size
    losses.block_until_ready()
    seconds = time.perf_counter() - start
    value = float(jax.jit(elbo)(carry[0], test, jax.random.key(a.seed + 2)).mean())
    return Result(seen / seconds, value)


if __name__ == "__main__":
    finish(main)
