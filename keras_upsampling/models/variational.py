"""`variational_autoencoder`: an autoencoder with a Gaussian code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_upsampling._arguments import positive_int, positive_number
from keras_upsampling._shapes import channel_axis
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.models.autoencoders import Autoencoder
from keras_upsampling.models.plan import LayerFactory, Plan

# Logarithm of the largest power of two in float16. The bound is the same in all dtypes, so that a
# model computes the same in each.
LOG_VARIANCE_BOUND = 15 * math.log(2)


@keras.saving.register_keras_serializable(package="keras_upsampling")
class VariationalAutoencoder(Autoencoder):
    """An autoencoder with a Gaussian code, whose divergence from the normal distribution is a loss.

    `variational_autoencoder` builds the encoder and the decoder, and describes the loss.

    Args:
        encoder: Model from inputs to the means of the code and the logarithms of its variances,
            concatenated along the channels. `variational_autoencoder` describes the bound of the
            variances.
        decoder: Model from codes to maps, at least as large as the inputs.
        beta: Weight of the divergence, above 0.
        seed: Seed of the noise in training.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Model`, such as `name`.

    Raises:
        TypeError: If `beta` is not a number, and as in `Autoencoder`.
        ValueError: If `beta` is not above 0, and as in `Autoencoder`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        beta: float = 1.0,
        seed: int | None = None,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ) -> None:
        # Before the base class, which builds the model: no state can be added afterwards.
        self.beta = positive_number(beta, "beta")
        self.seed = seed
        self.noise = keras.random.SeedGenerator(seed)
        # Half precision cannot hold sums over an epoch.
        dtype = _float32_at_least(keras.config.floatx())
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction", dtype=dtype)
        self.divergence_tracker = keras.metrics.Mean(name="kl", dtype=dtype)
        super().__init__(encoder, decoder, data_format=data_format, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the reconstructions of `inputs`: in training from drawn codes, else from means."""
        means, log_variances = self._statistics(self.encoder(inputs, training=training))
        codes = means
        if training:
            noise = keras.random.normal(ops.shape(means), dtype=means.dtype, seed=self.noise)
            codes = means + ops.cast(ops.exp(log_variances / 2), means.dtype) * noise
        outputs = self._crop_to_inputs(inputs, self.decoder(codes, training=training))
        # Divided by the number of values, because Keras's losses are means over values: with beta=1
        # the total loss is the negative evidence lower bound per value.
        divergence = _divergence(means, log_variances)
        loss = divergence * (self.beta / _values_per_input(outputs, divergence.dtype))
        # The dtype of Keras's losses: TensorFlow cannot add losses of different dtypes.
        self.add_loss(ops.cast(loss, keras.config.floatx()))
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss, and update the metrics of its two terms."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        added_losses = self.losses
        if added_losses:  # empty when Keras tries the loss out without calling the model
            # A model's own losses come before those of its layers: the first is the divergence.
            dtype = self.divergence_tracker.dtype
            terms = [ops.cast(term, dtype) for term in added_losses]
            divergence = terms[0] * (_values_per_input(y_pred, dtype) / self.beta)
            # `loss` is scaled by the share of this replica, `added_losses` are not.
            reconstruction = ops.cast(loss, dtype) / _replica_share(dtype) - sum(terms)
            count = ops.shape(y_pred)[0]
            self.reconstruction_tracker.update_state(reconstruction, sample_weight=count)
            self.divergence_tracker.update_state(divergence, sample_weight=count)
        return loss

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the means of the codes of `inputs`."""
        return self._statistics(super().encode(inputs))[0]

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """Return the output of the decoder for `n` codes drawn from the normal distribution.

        The same seed returns the same samples, on the same backend.

        Args:
            n: Number of samples.
            seed: Seed of the draw, or None.

        Raises:
            TypeError: If `n` is not an integer.
            ValueError: If `n` is below 1, or the size of the code is unknown. In that case, draw
                codes and call `decode`.
        """
        shape = (positive_int(n, "n"), *self.decoder.input_shape[1:])
        if None in shape:
            raise ValueError(
                "The size of the code must be known to draw samples. Received a model for inputs "
                f"of shape {self.input_shape}. Draw codes with keras.random.normal, of shape "
                f"{shape} with a number in place of each None, and pass them to `decode`."
            )
        return self.decode(keras.random.normal(shape, seed=seed))

    def _statistics(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log-variances in the output of the encoder."""
        means, log_variances = ops.split(outputs, 2, axis=self._code_axis(outputs.shape))
        # Half precision cannot hold large variances, nor their gradients.
        return means, _bounded(ops.cast(log_variances, _float32_at_least(log_variances.dtype)))

    def _code_shape(self, outputs: Shape) -> Shape:
        axis = self._code_axis(outputs)
        statistics = outputs[axis]
        if statistics is None or statistics % 2:
            raise ValueError(
                "The encoder must return a mean and a logarithm of the variance for each number "
                f"of the code, so axis {axis} of its output must have an even length. Received: an "
                f"encoder with outputs of shape {tuple(outputs)}. Use an even number of filters or "
                "units in its last layer."
            )
        return (*outputs[:axis], statistics // 2, *outputs[axis + 1 :])

    def _code_axis(self, shape: Shape) -> int:
        rank = len(shape) - 2
        return channel_axis(rank, self.data_format) if rank else 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}


def _float32_at_least(dtype: Any) -> str:
    """Return the result type of `dtype` and float32, as Keras has it."""
    return keras.backend.result_type(dtype, "float32")


def _bounded(log_variances: Tensor) -> Tensor:
    """Return log-variances whose exponentials continue along the tangent above the bound.

    Clipping would remove the gradient that brings a variance back.
    """
    excess = ops.relu(log_variances - LOG_VARIANCE_BOUND)
    return ops.minimum(log_variances, LOG_VARIANCE_BOUND) + ops.log1p(excess)


def _divergence(means: Tensor, log_variances: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence from the normal distribution, in nats per input."""
    means = ops.cast(means, log_variances.dtype)
    terms = (ops.square(means) + ops.exp(log_variances) - 1 - log_variances) / 2
    return ops.mean(ops.sum(terms, axis=tuple(range(1, len(terms.shape)))))


def _replica_share(dtype: str) -> Tensor:
    """Return the factor by which Keras scales the loss of one replica of `tf.distribute`.

    It is measured by a loss of 1. Without `tf.distribute`, it is 1.
    """
    ones = ops.ones((1, 1), dtype)
    return keras.losses.MeanSquaredError(dtype=dtype)(ones, ops.zeros_like(ones))


def _values_per_input(x: Tensor, dtype: Any) -> Tensor:
    """Return the number of values of each entry of a batch."""
    return ops.cast(math.prod(ops.shape(x)[1:]), dtype)


def variational_autoencoder(
    input_shape: Sequence[int | None],
    *,
    filters: Sequence[int] = (32, 64),
    bottleneck: int | None = 16,
    beta: float = 1.0,
    kernel_size: IntPerAxis = 3,
    upsampling: str | LayerFactory = "upsample_conv",
    downsampling: str | LayerFactory = "max_pool",
    activation: Any = "relu",
    normalization: str | None = None,
    output_activation: Any = "sigmoid",
    data_format: DataFormat | None = None,
    seed: int | None = None,
    name: str = "variational_autoencoder",
) -> VariationalAutoencoder:
    """Return a variational autoencoder: its code is Gaussian, so new examples can be drawn.

    Built like the models of `autoencoder`, with the same arguments. The encoder computes a mean and
    a variance for each number of the code. In training, the decoder receives a random draw from
    this distribution; otherwise it receives the mean.

    The loss is the loss passed to `compile`, plus `beta` times the divergence of the code from the
    normal distribution, divided by the number of values of an input (Keras's losses are means over
    values). With `loss="binary_crossentropy"` and `beta=1` this is the negative evidence lower
    bound per value, estimated by one draw. `evaluate` decodes the means and returns a lower loss.
    With `"mse"`, choose a `beta` well below 1. Sample weights apply to the loss passed to `compile`
    only.

    `fit` and `evaluate` report both terms: `reconstruction`, the loss passed to `compile`, and
    `kl`, the divergence per input in nats, before it is multiplied by `beta`. On several devices
    they are the same as on one, if the batches divide evenly among the devices.

    Scale inputs to a range of about 0 to 1, which is the range of the final sigmoid: divide images
    from 0 to 255 by 255. Larger inputs cause larger variances. Up to 2 ** 15, the largest power of
    two in float16, the variance is the exponential of the encoder's output. Above, it continues
    along the tangent, so it stays finite in every dtype and has a gradient that brings it back.

    Args:
        input_shape: Shape of an input without the batch, as in `autoencoder`.
        filters: Output channels of each encoder stage, as in `autoencoder`.
        bottleneck: Length of the code, or `None` for a map of `filters[-1]` channels.
        beta: Weight of the divergence, above 0. Higher values make the code simpler and the
            reconstructions less accurate (Higgins et al. 2017).
        kernel_size: Kernel size of every convolution.
        upsampling: As in `autoencoder`.
        downsampling: As in `autoencoder`.
        activation: Activation of every stage.
        normalization: `"batch"`, `"layer"` or None.
        output_activation: Activation of the last convolution.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        seed: Seed of the noise in training.
        name: Name of the model.

    Returns:
        A `VariationalAutoencoder`: an `Autoencoder` with `.sample(n, seed)`, whose `.encode(x)`
        returns the means.

    Raises:
        TypeError: If `beta` is not a number, and as in `autoencoder`.
        ValueError: If `beta` is not above 0, and as in `autoencoder`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import variational_autoencoder
        >>> model = variational_autoencoder((28, 28, 1), filters=(4, 8), bottleneck=2)
        >>> model.compile("adam", "binary_crossentropy")
        >>> digits = np.zeros((4, 28, 28, 1))
        >>> sorted(model.fit(digits, digits, verbose=0).history)
        ['kl', 'loss', 'reconstruction']
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 28, 28, 1)

    Reference:
        Kingma, Welling 2014, arXiv:1312.6114.
    """
    plan = Plan(
        input_shape,
        filters=filters,
        bottleneck=bottleneck,
        kernel_size=kernel_size,
        upsampling=upsampling,
        downsampling=downsampling,
        activation=activation,
        normalization=normalization,
        data_format=data_format,
    )
    return VariationalAutoencoder(
        plan.encoder(statistics=2),
        plan.decoder(output_activation),
        beta=beta,
        seed=seed,
        data_format=plan.data_format,
        name=name,
    )
