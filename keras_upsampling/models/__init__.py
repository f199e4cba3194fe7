"""Autoencoders for inputs of any size, built from the layers."""

from keras_upsampling.models.autoencoders import Autoencoder, autoencoder
from keras_upsampling.models.tutorial import tutorial_autoencoder
from keras_upsampling.models.variational import VariationalAutoencoder, variational_autoencoder

__all__ = [
    "Autoencoder",
    "VariationalAutoencoder",
    "autoencoder",
    "tutorial_autoencoder",
    "variational_autoencoder",
]
