"""`variational_autoencoder`: an autoencoder whose codes can be drawn."""

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
from keras_upsampling.models.plan import MakesLayer, Plan
from keras_upsampling.ops.inputs import sum_dtype

# Of the largest power of two that float16 holds: the bound is the same in all dtypes, so that a
# model means the same in each.
LOG_VARIANCE_BOUND = 15 * math.log(2)


@keras.saving.register_keras_serializable(package="keras_upsampling")
class VariationalAutoencoder(Autoencoder):
    """An autoencoder with a Gaussian code, whose divergence from the normal is part of its loss.

    `variational_autoencoder` makes them to measure.

    Args:
        encoder: From inputs to the code's means and logarithms of its variances, one after the
            other on the axis of channels. Variances above 2 ** 15 are bounded: see
            `variational_autoencoder`.
        decoder: From codes to maps, as large as the inputs or larger.
        beta: Weight of the divergence, above 0.
        seed: Of the noise while training.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name` and the like, for `keras.Model`.

    Raises:
        TypeError: `beta` is not a number; and as `Autoencoder`.
        ValueError: `beta` is not above 0; and as `Autoencoder`.
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
        # First: the base builds the model, after which no state can be added.
        self.beta = positive_number(beta, "beta")
        self.seed = seed
        self.noise = keras.random.SeedGenerator(seed)
        # Sums over an epoch do not fit into half precision.
        wide = sum_dtype(keras.config.floatx())
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction", dtype=wide)
        self.divergence_tracker = keras.metrics.Mean(name="kl", dtype=wide)
        super().__init__(encoder, decoder, data_format=data_format, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the reconstructions of `inputs`; while training, from codes that are drawn."""
        means, log_variances = self._statistics(self.encoder(inputs, training=training))
        codes = means
        if training:
            noise = keras.random.normal(ops.shape(means), dtype=means.dtype, seed=self.noise)
            codes = means + ops.cast(ops.exp(log_variances / 2), means.dtype) * noise
        outputs = self._like(inputs, self.decoder(codes, training=training))
        # Keras's losses are means over values, so this is divided by their number: with beta=1
        # the whole is minus the evidence's lower bound, for each value.
        divergence = _divergence(means, log_variances)
        loss = divergence * (self.beta / _values(outputs, divergence.dtype))
        # Keras computes losses in this dtype, and TensorFlow cannot add one of another.
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
        """Return the loss, and note the two parts of it that the metrics show."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        added = self.losses
        if added:  # and not when Keras only tries the loss out, without a call before
            # A model's own losses come before those of its layers: the first is the divergence.
            wide = self.divergence_tracker.dtype
            terms = [ops.cast(term, wide) for term in added]
            divergence = terms[0] * (_values(y_pred, wide) / self.beta)
            # `loss` is this replica's share of the whole batch's, `added` its own.
            reconstruction = ops.cast(loss, wide) / _share(wide) - sum(terms)
            count = ops.shape(y_pred)[0]
            self.reconstruction_tracker.update_state(reconstruction, sample_weight=count)
            self.divergence_tracker.update_state(divergence, sample_weight=count)
        return loss

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the means of the codes of `inputs`."""
        return self._statistics(super().encode(inputs))[0]

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """Return what the decoder makes of `n` codes from the normal distribution.

        With a seed they are the same every time, on one backend: each draws numbers of its own.

        Raises:
            TypeError: `n` is not an integer.
            ValueError: `n` is below 1, or the codes have no size of their own: then draw them, and
                call `decode`.
        """
        shape = (positive_int(n, "n"), *self.decoder.input_shape[1:])
        if None in shape:
            raise ValueError(
                "The size of the samples is not known: the model was made for inputs of shape "
                f"{self.input_shape}. Draw codes of the size you want, of shape {shape}, with "
                "keras.random.normal, and decode them."
            )
        return self.decode(keras.random.normal(shape, seed=seed))

    def _statistics(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        means, log_variances = ops.split(outputs, 2, axis=self._code_axis(outputs.shape))
        # Half precision cannot hold large variances, nor their gradients.
        return means, _bounded(ops.cast(log_variances, sum_dtype(log_variances.dtype)))

    def _code_shape(self, outputs: Shape) -> Shape:
        axis = self._code_axis(outputs)
        statistics = outputs[axis]
        if statistics is None or statistics % 2:
            raise ValueError(
                "The encoder must give a mean and a logarithm of the variance for each number of "
                f"the code, one after the other on axis {axis}. Received an encoder with outputs "
                f"of shape {tuple(outputs)}."
            )
        return (*outputs[:axis], statistics // 2, *outputs[axis + 1 :])

    def _code_axis(self, shape: Shape) -> int:
        rank = len(shape) - 2
        return channel_axis(rank, self.data_format) if rank else 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}


def _bounded(log_variances: Tensor) -> Tensor:
    """Return logarithms whose exponentials go on from the bound along their tangent.

    Clipped, a logarithm would have no gradient to bring it back.
    """
    excess = ops.relu(log_variances - LOG_VARIANCE_BOUND)
    return ops.minimum(log_variances, LOG_VARIANCE_BOUND) + ops.log1p(excess)


def _divergence(means: Tensor, log_variances: Tensor) -> Tensor:
    """Return how far the codes' distributions are from the normal, in nats for each input."""
    means = ops.cast(means, log_variances.dtype)
    terms = (ops.square(means) + ops.exp(log_variances) - 1 - log_variances) / 2
    return ops.mean(ops.sum(terms, axis=tuple(range(1, len(terms.shape)))))


def _share(dtype: str) -> Tensor:
    """Return what Keras multiplies losses by, so that those of TensorFlow's replicas sum to one.

    A loss of one shows it: outside of `tf.distribute`, it is 1.
    """
    one = ops.ones((1, 1), dtype)
    return keras.losses.MeanSquaredError(dtype=dtype)(one, ops.zeros_like(one))


def _values(x: Tensor, dtype: Any) -> Tensor:
    """Return how many values each entry of a batch has."""
    return ops.cast(math.prod(ops.shape(x)[1:]), dtype)


def variational_autoencoder(
    input_shape: Sequence[int | None],
    *,
    filters: Sequence[int] = (32, 64),
    bottleneck: int | None = 16,
    beta: float = 1.0,
    kernel_size: IntPerAxis = 3,
    upsampling: str | MakesLayer = "upsample_conv",
    downsampling: str | MakesLayer = "max_pool",
    activation: Any = "relu",
    normalization: str | None = None,
    output_activation: Any = "sigmoid",
    data_format: DataFormat | None = None,
    seed: int | None = None,
    name: str = "variational_autoencoder",
) -> VariationalAutoencoder:
    """Return an autoencoder with a Gaussian code, from which new examples can be drawn.

    Made as `autoencoder` makes them, and with its arguments. The encoder gives a mean and a
    variance for every number of the code; while training, the decoder gets a draw from them, and
    else the mean. What is fitted is the loss given to `compile`, plus `beta` times the divergence
    of the code from the normal distribution, divided by the number of values of an input, because
    Keras's losses are means over these. With `loss="binary_crossentropy"` and `beta=1` that is
    minus the evidence's lower bound for each value, estimated by one draw; `evaluate`, which
    decodes the means, gives less. With `"mse"` a `beta` well below 1 is wanted. Sample weights
    weigh the first part only.

    `fit` and `evaluate` show both parts: `reconstruction`, the loss given to `compile`, and `kl`,
    the divergence in nats for each input, before `beta`. Over several devices they are those of
    one, if batches divide evenly over the devices.

    Inputs should be scaled to about 0 to 1, as the sigmoid at the end gives them: divide pictures
    from 0 to 255 by 255. Larger inputs give larger variances. Up to 2 ** 15, the largest power of
    two in float16, a variance is the exponential of what the encoder gives, and past it goes on
    along the tangent: so it stays finite in every dtype, and its gradient brings it back.

    Args:
        input_shape: Without the batch, as in `autoencoder`.
        filters: Channels of each of the encoder's blocks.
        bottleneck: Length of the code, or `None` for a map of `filters[-1]` channels.
        beta: Weight of the divergence, above 0. More of it makes codes plainer and pictures less
            like the inputs (Higgins et al. 2017).
        kernel_size: Of every convolution.
        upsampling: As in `autoencoder`.
        downsampling: As in `autoencoder`.
        activation: Of every block.
        normalization: `"batch"`, `"layer"` or None.
        output_activation: Of the last convolution.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        seed: Of the noise while training.
        name: The model's name.

    Returns:
        A `VariationalAutoencoder`: an `Autoencoder` with `.sample(n, seed)`, whose `.encode(x)`
        gives the means.

    Raises:
        TypeError: `beta` is not a number; and as in `autoencoder`.
        ValueError: `beta` is not above 0; and as in `autoencoder`.

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
