"""Pictures of what the measures say. They need matplotlib, and `import keras_upsampling` does not.

Every function returns a figure of its own: nothing is shown, no window is opened, and no setting
of matplotlib is changed.
"""

try:
    import matplotlib as matplotlib
except ImportError as error:
    raise ImportError(
        "keras_upsampling.plots draws with matplotlib, which is missing: pip install "
        '"keras_upsampling[plot]"'
    ) from error

from keras_upsampling.plots._audits import audit, overlap
from keras_upsampling.plots._images import image

__all__ = ["audit", "image", "overlap"]
