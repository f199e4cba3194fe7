"""The checkerboards of layers and models: found, measured, explained and repaired."""

from keras_upsampling.auditing.kernels import audit_kernel
from keras_upsampling.auditing.repairing import Move, Repaired, repair
from keras_upsampling.auditing.report import Audit, LayerAudit, audit
from keras_upsampling.auditing.response import Response
from keras_upsampling.maths.ripple import Ripple

__all__ = [
    "Audit",
    "LayerAudit",
    "Move",
    "Repaired",
    "Response",
    "Ripple",
    "audit",
    "audit_kernel",
    "repair",
]
