"""Adam (Kingma and Ba 2015) with one pass over memory per variable, for steps that XLA does not compile."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Keras' Adam, but each variable is updated by one TensorFlow kernel instead of a dozen operations.

    The updates and the variables of the optimizer equal those of Keras' Adam, up to rounding. FusedAdam works
    on one device only, and does not support amsgrad. The kernel updates float32 weights only. A weight of
    another type is updated by the method of Keras' Adam.
    """

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient; see `keras.optimizers.Adam`."""
        if tf.as_dtype(variable.dtype) != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        updates = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self.beta_1**updates,
            beta2_power=self.beta_2**updates,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )


def _handle(variable: Any) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
