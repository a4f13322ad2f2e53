"""One training step, and a compiled function that makes a chunk of many steps in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import cast

import tensorflow as tf

from .augment import diff_augment, flip
from .ema import update_average
from .losses import LOSSES, Loss, gradient_penalty, zero_centred_penalty
from .networks import Networks
from .random_numbers import Purpose, StepRandom
from .recipe import Recipe, Schedule

METRICS = ("d_loss", "g_loss", "d_accuracy")
CHUNK_STEPS = 100  # largest number of steps in a chunk

Chunk = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
# Return value of the schedule functions, which make the updates of a step: logits of the real images, logits
# of the generated images, and the generator's loss.
Outputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def compile_chunk(recipe: Recipe, networks: Networks, images: int, strategy: tf.distribute.Strategy) -> Chunk:
    """Return a compiled function that makes many training steps in one call.

    The function takes five arguments: the images, uint8 (n, height, width, channels); the indices of the
    images that each step uses, int32 (CHUNK_STEPS, batch_size); the label indices of those images, with the
    same shape; the first step, an int32 scalar; and the number of steps, an int32 scalar. It returns the
    means of METRICS over these steps, float32 (3,).

    The number of steps is an argument and not a constant of the compiled program. So calls with any number of
    steps run the same compiled code, and their results are equal bit for bit. A call with 0 steps only
    compiles the program; its means are NaN.

    Args:
        recipe: The settings.
        networks: The networks, built in the strategy's scope.
        images: Number of images in the data set.
        strategy: TensorFlow's strategy whose devices share each batch. XLA is used only if there is one
            device.
    """
    shards = strategy.num_replicas_in_sync

    def on_device(
        pixels: tf.Tensor, order: tf.Tensor, labels: tf.Tensor, first: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        shard = tf.distribute.get_replica_context().replica_id_in_sync_group
        rng = StepRandom(recipe.seed, step, recipe.batch_size, shard, shards)
        # If this were written as order[step - first], XLA would treat the index as a constant of the program,
        # and compile the program again for every chunk.
        indices = tf.gather(order, step - first)
        real = tf.gather(pixels, rng.part(indices))  # (batch, height, width, channels)
        return train_step(recipe, networks, real, rng, images, rng.part(tf.gather(labels, step - first)))

    def chunk(
        pixels: tf.Tensor, order: tf.Tensor, labels: tf.Tensor, first: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        def body(step: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            metrics = strategy.run(on_device, args=(pixels, order, labels, first, step))
            return step + 1, totals + strategy.reduce(tf.distribute.ReduceOp.MEAN, metrics, axis=None)

        _, totals = tf.while_loop(lambda step, _: step < first + count, body, (first, tf.zeros(len(METRICS))))
        return totals / tf.cast(count, tf.float32)

    return cast(Chunk, tf.function(chunk, jit_compile=recipe.jit and shards == 1, autograph=False))


def train_step(
    recipe: Recipe,
    networks: Networks,
    real: tf.Tensor,
    rng: StepRandom,
    images: int,
    labels: tf.Tensor | None = None,
) -> tf.Tensor:
    """Make a step of the recipe's schedule, update the averaged generator, and return METRICS, float32 (3,).

    d_loss is the mean of the discriminator's losses for real and for generated images, without the penalties;
    for a relativistic loss it is half the loss of the pairs. d_accuracy is the share of images, or of pairs,
    that the discriminator classifies correctly. d_loss and d_accuracy are computed from the logits before the
    update.

    Args:
        recipe: The settings.
        networks: The networks; the step changes them.
        real: Real images, uint8, this device's part of the batch.
        rng: The random numbers of this step.
        images: Number of images in the data set.
        labels: Label index of each real image, int32 (batch,), for a recipe with labels.
    """
    for index, state in enumerate(networks.layer_states()):
        state.assign(tf.cast(rng.layer_state(index), state.dtype))
    real = tf.cast(real, tf.float32) / 127.5 - 1.0
    if recipe.flip:
        real = flip(real, rng)
    one_hot = tf.one_hot(labels, len(recipe.labels)) if recipe.labels else None
    updates = Updates(recipe, networks, rng, one_hot)
    if recipe.schedule == "alternating":
        real_logits, fake_logits, g_loss = _alternating(updates, real, -(-images // recipe.batch_size))
    else:
        real_logits, fake_logits, g_loss = _SCHEDULES[recipe.schedule](updates, real)
    if recipe.ema_decay:
        update_average(networks.average, networks.generator, recipe.ema_decay, rng.step)
    d_loss = updates.loss.of_discriminator(real_logits, fake_logits, recipe.label_smoothing) / 2
    return tf.stack([d_loss, g_loss, updates.loss.accuracy(real_logits, fake_logits)])


@dataclasses.dataclass(frozen=True)
class Updates:
    """The operations of which the schedules consist: generate, discriminate, update a network.

    Attributes:
        recipe: The settings.
        networks: The networks; updates change them.
        rng: The random numbers of this step.
        labels: One-hot labels of the real images, float32 (batch, labels). The generated images have the same
            labels. None for an unconditional recipe.
    """

    recipe: Recipe
    networks: Networks
    rng: StepRandom
    labels: tf.Tensor | None = None

    @property
    def loss(self) -> Loss:
        """The losses of both networks, as chosen in the recipe."""
        return LOSSES[self.recipe.loss]

    def generate(self, purpose: Purpose, training: bool) -> tf.Tensor:
        """Return a batch of generated images, float32.

        Args:
            purpose: Purpose of the latents. In one step, different purposes have different latents.
            training: Whether the generator's layers run in training mode.
        """
        inputs = self.rng.normal(purpose, self.recipe.latent_dim)
        if self.labels is not None:
            inputs = tf.concat([inputs, self.labels], axis=1)
        return tf.cast(self.networks.generator(inputs, training=training), tf.float32)

    def discriminate(self, images: tf.Tensor, copies: int = 1) -> tf.Tensor:
        """Return the discriminator's logits of augmented images, float32 (batch, 1).

        For a recipe with labels, the discriminator returns a logit for each label. The logit of the image's
        label is selected.

        Args:
            images: `copies` batches, concatenated along the first axis.
            copies: Number of batches in `images`.
        """
        images = diff_augment(images, self.recipe.diff_augment, self.rng, copies)
        logits = tf.cast(self.networks.discriminator(images, training=True), tf.float32)
        if self.labels is None:
            return logits
        return tf.reduce_sum(logits * tf.tile(self.labels, [copies, 1]), axis=1, keepdims=True)

    def discriminate_both(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the logits of real and of generated images, computed in one batch."""
        real_logits, fake_logits = tf.split(self.discriminate(tf.concat([real, fake], axis=0), copies=2), 2)
        return real_logits, fake_logits

    def generator_loss(self, fake: tf.Tensor, real_logits: tf.Tensor) -> tf.Tensor:
        """Return the generator's loss for generated images. Only relativistic losses use `real_logits`."""
        return self.loss.of_generator(self.discriminate(fake), real_logits)

    def update_generator(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """Update the generator with the gradients of a loss that the tape recorded."""
        generator = self.networks.generator
        gradients = self._mean_over_devices(tape.gradient(loss, generator.trainable_variables))
        self.networks.generator_optimizer.apply(gradients, generator.trainable_variables)

    def update_discriminator(self, gradients: list[tf.Tensor]) -> None:
        """Update the discriminator with the gradients of its variables."""
        variables = self.networks.discriminator.trainable_variables
        self.networks.discriminator_optimizer.apply(self._mean_over_devices(gradients), variables)

    def gradients_of_both(
        self, real: tf.Tensor, fake: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Return the discriminator's gradients for real and generated images, and the logits of both.

        The gradients include those of the penalties. The logits of the real images come first.
        """
        with tf.GradientTape() as tape:
            real_logits, fake_logits = self.discriminate_both(real, fake)
            loss = self.loss.of_discriminator(real_logits, fake_logits, self.recipe.label_smoothing)
        return self.discriminator_gradients(tape, loss, real, fake), real_logits, fake_logits

    def gradients_of_real(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the discriminator's gradients for the real images only, and the logits of the real images.

        The gradients include those of the penalties. The WGAN-GP penalty also uses the generated images.
        """
        with tf.GradientTape() as tape:
            logits = self.discriminate(real)
            loss = self.loss.real(logits, self.recipe.label_smoothing)
        return self.discriminator_gradients(tape, loss, real, fake), logits

    def gradients_of_fake(self, fake: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the discriminator's gradients for generated images only, and the logits of these images."""
        with tf.GradientTape() as tape:
            logits = self.discriminate(fake)
            loss = self.loss.fake(logits)
        return self._gradients(tape, loss), logits

    def discriminator_gradients(
        self, tape: tf.GradientTape, loss: tf.Tensor, real: tf.Tensor, fake: tf.Tensor
    ) -> list[tf.Tensor]:
        """Return the discriminator's gradients of a loss that the tape recorded, including the penalties."""
        return self._with_penalties(self._gradients(tape, loss), real, fake)

    def _gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> list[tf.Tensor]:
        return cast(list[tf.Tensor], tape.gradient(loss, self.networks.discriminator.trainable_variables))

    def _with_penalties(
        self, gradients: list[tf.Tensor], real: tf.Tensor, fake: tf.Tensor
    ) -> list[tf.Tensor]:
        """Return the gradients, with those of the penalties added in every `penalty_interval`-th step.

        The penalties are multiplied by this interval, so that their mean over all steps does not depend on
        it.
        """
        recipe = self.recipe
        if not (recipe.r1_weight or recipe.r2_weight or recipe.gradient_penalty_weight):
            return gradients

        def with_penalties() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                penalty = tf.constant(0.0)
                if recipe.r1_weight:
                    penalty += recipe.r1_weight / 2 * zero_centred_penalty(self.discriminate, real)
                if recipe.r2_weight:
                    penalty += recipe.r2_weight / 2 * zero_centred_penalty(self.discriminate, fake)
                if recipe.gradient_penalty_weight:
                    mix = self.rng.uniform(Purpose.MIX, 1)
                    penalty += recipe.gradient_penalty_weight * gradient_penalty(
                        self.discriminate, real, fake, mix
                    )
                penalty *= float(recipe.penalty_interval)
            # The penalties are functions of dD/dx, which does not depend on the bias of the last layer. So
            # the gradient of the penalties with respect to this bias is None.
            extra = self._gradients(tape, penalty)
            return [
                gradient if e is None else gradient + e for gradient, e in zip(gradients, extra, strict=True)
            ]

        return tf.cond(self.rng.step % recipe.penalty_interval == 0, with_penalties, lambda: gradients)

    def _mean_over_devices(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return the gradients divided by the number of devices.

        Keras' optimizers sum the gradients over the devices. The sum of the divided gradients is the mean.
        """
        if self.rng.shards == 1:
            return gradients
        return [gradient / self.rng.shards for gradient in gradients]


def _joint(updates: Updates, real: tf.Tensor) -> Outputs:
    with tf.GradientTape() as tape:
        fake = updates.generate(Purpose.LATENTS, training=True)
        with tape.stop_recording():
            gradients, real_logits, fake_logits = updates.gradients_of_both(real, fake)
            updates.update_discriminator(gradients)
        # The generator's loss uses the updated discriminator, and the images that were generated above.
        g_loss = updates.generator_loss(fake, real_logits)
    updates.update_generator(tape, g_loss)
    return real_logits, fake_logits, g_loss


def _simultaneous(updates: Updates, real: tf.Tensor) -> Outputs:
    with tf.GradientTape() as generator_tape:
        fake = updates.generate(Purpose.LATENTS, training=True)
        with tf.GradientTape() as tape:
            # Both losses use the same logits of the generated images. The discriminator processes the real
            # images in a separate call. If one call processed all images, the generator's gradient would be
            # propagated back through the real images too, which takes time and has no effect.
            real_logits, fake_logits = updates.discriminate(real), updates.discriminate(fake)
            d_loss = updates.loss.of_discriminator(real_logits, fake_logits, updates.recipe.label_smoothing)
        g_loss = updates.loss.of_generator(fake_logits, real_logits)
    gradients = updates.discriminator_gradients(tape, d_loss, real, fake)
    updates.update_generator(generator_tape, g_loss)
    updates.update_discriminator(gradients)
    return real_logits, fake_logits, g_loss


def _stacked(updates: Updates, real: tf.Tensor) -> Outputs:
    fake = updates.generate(Purpose.LATENTS, training=False)
    with tf.GradientTape() as tape:
        real_logits, fake_logits = updates.discriminate_both(real, fake)
        # `of_discriminator` returns the mean loss of the real images plus that of the generated images. The
        # mean over the whole batch is half of this sum.
        d_loss = updates.loss.of_discriminator(real_logits, fake_logits, updates.recipe.label_smoothing) / 2
    updates.update_discriminator(updates.discriminator_gradients(tape, d_loss, real, fake))
    return real_logits, fake_logits, _update_generator_on_new_latents(updates, real_logits)


def _separate(updates: Updates, real: tf.Tensor) -> Outputs:
    fake = updates.generate(Purpose.LATENTS, training=False)
    gradients, real_logits = updates.gradients_of_real(real, fake)
    updates.update_discriminator(gradients)
    gradients, fake_logits = updates.gradients_of_fake(fake)
    updates.update_discriminator(gradients)
    return real_logits, fake_logits, _update_generator_on_new_latents(updates, real_logits)


def _update_generator_on_new_latents(updates: Updates, real_logits: tf.Tensor) -> tf.Tensor:
    """Update the generator on images generated from new latents, and return the generator's loss."""
    with tf.GradientTape() as tape:
        g_loss = updates.generator_loss(
            updates.generate(Purpose.GENERATOR_LATENTS, training=True), real_logits
        )
    updates.update_generator(tape, g_loss)
    return g_loss


def _alternating(updates: Updates, real: tf.Tensor, epoch: int) -> Outputs:
    """Update either the generator or the discriminator, depending on the position of the step in a cycle.

    Args:
        updates: The operations of this step.
        real: Real images in [-1, 1].
        epoch: Number of batches in an epoch. A cycle has `epoch` updates of the generator, followed by
            `epoch - 1` updates of the discriminator.
    """

    def generator() -> Outputs:
        with tf.GradientTape() as tape:
            fake_logits = updates.discriminate(updates.generate(Purpose.LATENTS, training=True))
            with tape.stop_recording():
                real_logits = updates.discriminate(real)
            g_loss = updates.loss.of_generator(fake_logits, real_logits)
        updates.update_generator(tape, g_loss)
        return real_logits, fake_logits, g_loss

    def discriminator() -> Outputs:
        fake = updates.generate(Purpose.LATENTS, training=True)
        gradients, real_logits, fake_logits = updates.gradients_of_both(real, fake)
        updates.update_discriminator(gradients)
        return real_logits, fake_logits, updates.loss.of_generator(fake_logits, real_logits)

    return cast(Outputs, tf.cond(updates.rng.step % (2 * epoch - 1) < epoch, generator, discriminator))


_SCHEDULES: Mapping[Schedule, Callable[[Updates, tf.Tensor], Outputs]] = {
    "joint": _joint,
    "simultaneous": _simultaneous,
    "stacked": _stacked,
    "separate": _separate,
}
