"""Adam (Kingma and Ba 2015) in one pass over memory, for steps that XLA does not compile."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Keras' Adam, each variable's update by TensorFlow's one kernel for it instead of a dozen operations.

    The maths is that of Keras' own, up to rounding; so are its variables. It is for one device, and without amsgrad. A
    recipe's layers may have weights that are not float32: for those it is Keras' own.
    """

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """See keras.optimizers.Adam."""
        if tf.as_dtype(variable.dtype) != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        made = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self.beta_1**made,
            beta2_power=self.beta_2**made,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )


def _handle(variable: Any) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
