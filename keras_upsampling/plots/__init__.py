"""Plots of audits and scores. They need matplotlib; `import keras_upsampling` does not.

Every function returns a new figure. It does not show the figure, open a window or change a setting
of matplotlib.
"""

try:
    import matplotlib as matplotlib
except ImportError as error:
    raise ImportError(
        "keras_upsampling.plots needs matplotlib, which is not installed. Install it with: "
        'pip install "keras_upsampling[plot]"'
    ) from error

from keras_upsampling.plots._audits import audit, overlap
from keras_upsampling.plots._images import image

__all__ = ["audit", "image", "overlap"]
