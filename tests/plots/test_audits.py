import keras
import numpy as np
import pytest
from keras import layers

from keras_upsampling import audit, plots
from tests.auditing.test_report import autoencoder, linear_decoder


def test_overlap_shows_the_counts():
    ax, *_ = plots.overlap(np.ones((3, 3, 1, 1)), 2).axes
    np.testing.assert_array_equal(ax.images[0].get_array(), np.tile([[4, 2], [2, 1]], (4, 4)))
    assert ax.get_title() == "Input samples per output sample: 1 to 4"
    assert [text.get_text() for text in ax.texts[:4]] == ["4", "2", "4", "2"]
    layer = layers.UpSampling1D(3, name="three")
    layer.build((None, 8, 1))
    figure = plots.overlap(layer)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), np.ones((1, 12)))
    assert figure.axes[0].get_title() == "Input samples per output sample: 1"
    assert figure.get_suptitle() == "three: power ripple 0.0%"
    with pytest.raises(ValueError, match="Received a layer with 3 spatial axes"):
        plots.overlap(np.ones((3, 3, 3, 1, 1)), 2)


def test_the_bars_have_the_ripples_of_the_audit():
    result = audit(autoencoder())
    figure = plots.audit(result)
    assert figure.get_suptitle() in str(result)
    titles = ["Layers that upsample", "Gradients of layers that downsample"]
    assert [ax.get_title() for ax in figure.axes] == titles
    for ax, enlarges in zip(figure.axes, (True, False), strict=True):
        expected = [layer for layer in result.layers if layer.enlarges == enlarges]
        names = [text.get_text().splitlines()[0] for text in ax.get_yticklabels()]
        assert names == [layer.layer for layer in expected]
        for bars, name in zip(ax.containers, ("gain", "ramp", "power"), strict=True):
            drawn = [bar.get_width() / 100 for bar in bars]
            ripples = [layer.ripple for layer in expected]
            values = [getattr(ripple, name) if ripple else 0 for ripple in ripples]
            np.testing.assert_allclose(drawn, values)
    assert figure.axes[1].get_xlabel() == "ripple, in percent of the mean"


def test_ripples_without_a_number_are_labelled_in_words():
    model = linear_decoder()
    kernel = np.zeros((4, 4, 1, 1))
    kernel[0, :2] = kernel[1, :2] = [[[1.0]], [[-1.0]]]
    model.set_weights([kernel, kernel])
    figure = plots.audit(audit(model))
    assert "no mean" in [text.get_text() for text in figure.axes[0].texts]
    empty = plots.audit(audit(keras.Sequential([keras.Input((8,)), layers.Dense(2)])))
    assert not empty.axes
    assert "not measured" in empty.get_suptitle()
