"""One training step: the maths, testable alone, and the same whether called once or compiled into a chunk of many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import cast

import tensorflow as tf

from .augment import diff_augment, flip
from .draws import Draws, Purpose
from .ema import update_average
from .losses import LOSSES, Loss, gradient_penalty, r1_penalty
from .networks import Networks
from .recipe import Recipe, Schedule

METRICS = ("d_loss", "g_loss", "d_accuracy")
CHUNK_STEPS = 100  # at most; so many rows of an order go into a chunk

Chunk = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
Played = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # logits of real images, logits of fakes, cost of the generator


def compile_chunk(recipe: Recipe, networks: Networks, images: int, strategy: tf.distribute.Strategy) -> Chunk:
    """Return a function that makes many steps in one call.

    It takes the pictures, uint8 (n, height, width, channels); the order, int32 (CHUNK_STEPS, batch_size): which of them each
    step sees; the classes of those, of the same shape; the first step and the number of steps, both int32 scalars. It returns
    the mean of METRICS over these steps, float32 (3,). The number of steps is data, not part of the program: chunks of any
    length run the same compiled code, and so give the same bits; one of length 0 compiles it, and its means are NaN.

    Args:
        recipe: its settings.
        networks: made in the strategy's scope.
        images: in the whole set.
        strategy: whose devices share each batch. XLA compiles for one device only.
    """
    shards = strategy.num_replicas_in_sync

    def on_device(pictures: tf.Tensor, order: tf.Tensor, classes: tf.Tensor, first: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        shard = tf.distribute.get_replica_context().replica_id_in_sync_group
        draws = Draws(recipe.seed, step, recipe.batch_size, shard, shards)
        # Not order[...]: XLA would take such a place for a part of the program, and compile it anew for every chunk.
        places = tf.gather(order, step - first)
        real = tf.gather(pictures, draws.part(places))  # (batch, height, width, channels)
        return train_step(recipe, networks, real, draws, images, draws.part(tf.gather(classes, step - first)))

    def chunk(pictures: tf.Tensor, order: tf.Tensor, classes: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            metrics = strategy.run(on_device, args=(pictures, order, classes, first, step))
            return step + 1, totals + strategy.reduce(tf.distribute.ReduceOp.MEAN, metrics, axis=None)

        _, totals = tf.while_loop(lambda step, _: step < first + count, body, (first, tf.zeros(len(METRICS))))
        return totals / tf.cast(count, tf.float32)

    return cast(Chunk, tf.function(chunk, jit_compile=recipe.jit and shards == 1, autograph=False))


def train_step(
    recipe: Recipe, networks: Networks, real: tf.Tensor, draws: Draws, images: int, classes: tf.Tensor | None = None
) -> tf.Tensor:
    """Make one step of the recipe's schedule, update the average; return METRICS, float32 (3,).

    d_loss is the mean of the costs of real and of fake images, without the penalty, and half the cost of pairs for a loss that
    compares; d_accuracy is the share of images, or of pairs, that the discriminator told apart. Both are those before the
    update.

    Args:
        recipe: its settings.
        networks: are changed.
        real: uint8, this device's part of the batch.
        draws: of this step.
        images: in the whole set.
        classes: of the real images, int32 (batch,), for a recipe with labels.
    """
    for index, state in enumerate(networks.layer_states()):
        state.assign(tf.cast(draws.layer_state(index), state.dtype))
    real = tf.cast(real, tf.float32) / 127.5 - 1.0
    if recipe.flip:
        real = flip(real, draws)
    asked = tf.one_hot(classes, len(recipe.labels)) if recipe.labels else None
    game = Game(recipe, networks, draws, asked)
    if recipe.schedule == "alternating":
        real_logits, fake_logits, g_loss = _alternating(game, real, -(-images // recipe.batch_size))
    else:
        real_logits, fake_logits, g_loss = _SCHEDULES[recipe.schedule](game, real)
    if recipe.ema_decay:
        update_average(networks.average, networks.generator, recipe.ema_decay, draws.step)
    d_loss = game.loss.of_discriminator(real_logits, fake_logits, recipe.label_smoothing) / 2
    return tf.stack([d_loss, g_loss, game.loss.told_apart(real_logits, fake_logits)])


@dataclasses.dataclass(frozen=True)
class Game:
    """The two players of one step, and their moves. Attributes: `asked`, the classes as float32 (batch, classes)."""

    recipe: Recipe
    networks: Networks
    draws: Draws
    asked: tf.Tensor | None = None

    @property
    def loss(self) -> Loss:
        """The recipe's loss."""
        return LOSSES[self.recipe.loss]

    def draw_fakes(self, purpose: Purpose, training: bool) -> tf.Tensor:
        """Return fakes, float32, for latents of their own for each purpose."""
        inputs = self.draws.normal(purpose, self.recipe.latent_dim)
        if self.asked is not None:
            inputs = tf.concat([inputs, self.asked], axis=1)
        return tf.cast(self.networks.generator(inputs, training=training), tf.float32)

    def judge(self, images: tf.Tensor, copies: int = 1) -> tf.Tensor:
        """Return the discriminator's logits, float32 (batch, 1), of augmented images; `copies` as in `diff_augment`."""
        images = diff_augment(images, self.recipe.diff_augment, self.draws, copies)
        logits = tf.cast(self.networks.discriminator(images, training=True), tf.float32)
        if self.asked is None:
            return logits
        return tf.reduce_sum(logits * tf.tile(self.asked, [copies, 1]), axis=1, keepdims=True)

    def judge_both(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the logits of real images and of fakes, judged in one batch."""
        real_logits, fake_logits = tf.split(self.judge(tf.concat([real, fake], axis=0), copies=2), 2)
        return real_logits, fake_logits

    def generator_cost(self, fake: tf.Tensor, real_logits: tf.Tensor) -> tf.Tensor:
        """Return what the generator is to make small; it may look at the logits that real images had in this step."""
        return self.loss.of_generator(self.judge(fake), real_logits)

    def update_generator(self, tape: tf.GradientTape, cost: tf.Tensor) -> None:
        """Go down the gradient of a cost that the tape has seen."""
        generator = self.networks.generator
        gradients = self._mean_over_devices(tape.gradient(cost, generator.trainable_variables))
        self.networks.generator_optimizer.apply(gradients, generator.trainable_variables)

    def update_discriminator(self, gradients: list[tf.Tensor]) -> None:
        """Go down a gradient."""
        variables = self.networks.discriminator.trainable_variables
        self.networks.discriminator_optimizer.apply(self._mean_over_devices(gradients), variables)

    def both_gradients(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Return the discriminator's gradients for real images and fakes together, and the logits of each."""
        with tf.GradientTape() as tape:
            real_logits, fake_logits = self.judge_both(real, fake)
            cost = self.loss.of_discriminator(real_logits, fake_logits, self.recipe.label_smoothing)
        return self.discriminator_gradients(tape, cost, real, fake), real_logits, fake_logits

    def real_gradients(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the discriminator's gradients for real images alone, and their logits; the penalty may look at fakes."""
        with tf.GradientTape() as tape:
            logits = self.judge(real)
            cost = self.loss.real(logits, self.recipe.label_smoothing)
        return self.discriminator_gradients(tape, cost, real, fake), logits

    def fake_gradients(self, fake: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the discriminator's gradients for fakes alone, and their logits."""
        with tf.GradientTape() as tape:
            logits = self.judge(fake)
            cost = self.loss.fake(logits)
        return self._gradients(tape, cost), logits

    def discriminator_gradients(
        self, tape: tf.GradientTape, cost: tf.Tensor, real: tf.Tensor, fake: tf.Tensor
    ) -> list[tf.Tensor]:
        """Return the discriminator's gradients of a cost that the tape has seen, with the penalties that are due."""
        return self._penalised(self._gradients(tape, cost), real, fake)

    def _gradients(self, tape: tf.GradientTape, cost: tf.Tensor) -> list[tf.Tensor]:
        return cast(list[tf.Tensor], tape.gradient(cost, self.networks.discriminator.trainable_variables))

    def _penalised(self, gradients: list[tf.Tensor], real: tf.Tensor, fake: tf.Tensor) -> list[tf.Tensor]:
        """Add the gradients of the penalties on the steps that are due, scaled up for those that are not."""
        recipe = self.recipe
        if not recipe.r1_weight and not recipe.gradient_penalty_weight:
            return gradients

        def with_penalty() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                penalty = tf.constant(0.0)
                if recipe.r1_weight:
                    penalty += recipe.r1_weight / 2 * r1_penalty(self.judge, real)
                if recipe.gradient_penalty_weight:
                    mix = self.draws.uniform(Purpose.MIX, 1)
                    penalty += recipe.gradient_penalty_weight * gradient_penalty(self.judge, real, fake, mix)
                penalty *= float(recipe.penalty_interval)
            # The last bias has no part in dD/dx, so its gradient is None.
            extra = self._gradients(tape, penalty)
            return [gradient if e is None else gradient + e for gradient, e in zip(gradients, extra, strict=True)]

        return tf.cond(self.draws.step % recipe.penalty_interval == 0, with_penalty, lambda: gradients)

    def _mean_over_devices(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return the gradients so scaled that their sum over the devices, which Keras' optimisers take, is their mean."""
        if self.draws.shards == 1:
            return gradients
        return [gradient / self.draws.shards for gradient in gradients]


def _joint(game: Game, real: tf.Tensor) -> Played:
    with tf.GradientTape() as tape:
        fake = game.draw_fakes(Purpose.LATENTS, training=True)
        with tape.stop_recording():
            gradients, real_logits, fake_logits = game.both_gradients(real, fake)
            game.update_discriminator(gradients)
        # The generator answers the discriminator that has just learned; its images are still the ones drawn above.
        g_loss = game.generator_cost(fake, real_logits)
    game.update_generator(tape, g_loss)
    return real_logits, fake_logits, g_loss


def _simultaneous(game: Game, real: tf.Tensor) -> Played:
    with tf.GradientTape() as generator_tape:
        fake = game.draw_fakes(Purpose.LATENTS, training=True)
        with tf.GradientTape() as tape:
            # One look at the fakes serves both; apart from the real images, so that no gradient goes back through those.
            real_logits, fake_logits = game.judge(real), game.judge(fake)
            cost = game.loss.of_discriminator(real_logits, fake_logits, game.recipe.label_smoothing)
        g_loss = game.loss.of_generator(fake_logits, real_logits)
    gradients = game.discriminator_gradients(tape, cost, real, fake)
    game.update_generator(generator_tape, g_loss)
    game.update_discriminator(gradients)
    return real_logits, fake_logits, g_loss


def _stacked(game: Game, real: tf.Tensor) -> Played:
    fake = game.draw_fakes(Purpose.LATENTS, training=False)
    with tf.GradientTape() as tape:
        real_logits, fake_logits = game.judge_both(real, fake)
        # The mean over one batch of both, so half the sum of the two means.
        cost = game.loss.of_discriminator(real_logits, fake_logits, game.recipe.label_smoothing) / 2
    game.update_discriminator(game.discriminator_gradients(tape, cost, real, fake))
    return real_logits, fake_logits, _generator_turn(game, real_logits)


def _separate(game: Game, real: tf.Tensor) -> Played:
    fake = game.draw_fakes(Purpose.LATENTS, training=False)
    gradients, real_logits = game.real_gradients(real, fake)
    game.update_discriminator(gradients)
    gradients, fake_logits = game.fake_gradients(fake)
    game.update_discriminator(gradients)
    return real_logits, fake_logits, _generator_turn(game, real_logits)


def _generator_turn(game: Game, real_logits: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        g_loss = game.generator_cost(game.draw_fakes(Purpose.GENERATOR_LATENTS, training=True), real_logits)
    game.update_generator(tape, g_loss)
    return g_loss


def _alternating(game: Game, real: tf.Tensor, epoch: int) -> Played:
    """Make one update of an epoch that has `epoch` of the generator, then `epoch - 1` of the discriminator."""

    def generator() -> Played:
        with tf.GradientTape() as tape:
            fake_logits = game.judge(game.draw_fakes(Purpose.LATENTS, training=True))
            with tape.stop_recording():
                real_logits = game.judge(real)
            g_loss = game.loss.of_generator(fake_logits, real_logits)
        game.update_generator(tape, g_loss)
        return real_logits, fake_logits, g_loss

    def discriminator() -> Played:
        gradients, real_logits, fake_logits = game.both_gradients(real, game.draw_fakes(Purpose.LATENTS, training=True))
        game.update_discriminator(gradients)
        return real_logits, fake_logits, game.loss.of_generator(fake_logits, real_logits)

    return cast(Played, tf.cond(game.draws.step % (2 * epoch - 1) < epoch, generator, discriminator))


_SCHEDULES: Mapping[Schedule, Callable[[Game, tf.Tensor], Played]] = {
    "joint": _joint,
    "simultaneous": _simultaneous,
    "stacked": _stacked,
    "separate": _separate,
}
