import keras
import numpy as np
import pytest
import tensorflow as tf

from ganport.trainer.adam import FusedAdam

START = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)


def train(optimizer, compiled: bool) -> list[np.ndarray]:
    """Return weights and the optimizer's variables after 50 steps on gradients of every size."""
    weights = [keras.Variable(START), keras.Variable(np.zeros(5), dtype="float64")]
    optimizer.build(weights)
    gradients = np.random.default_rng(0).normal(size=(50, 65)) * np.geomspace(1e-6, 1e3, 65)

    @tf.function(jit_compile=compiled)
    def step(gradient: tf.Tensor) -> None:
        optimizer.apply([tf.reshape(gradient[:60], (20, 3)), gradient[60:]], weights)

    for gradient in gradients.astype(np.float32):
        step(tf.constant(gradient))
    return [variable.numpy() for variable in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("compiled", [False, True])
def test_fused_adam_is_keras_adam(compiled):
    settings = {"beta_1": 0.5, "beta_2": 0.99}
    decay = keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=80)
    plain = train(keras.optimizers.Adam(decay, **settings), compiled)
    fused = train(FusedAdam(decay, **settings), compiled)
    assert len(plain) == len(fused) == 7  # two weights, two moments of each weight, and the step
    for expected, found in zip(plain, fused, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert np.abs(fused[0] - START).mean() > 1e-2
