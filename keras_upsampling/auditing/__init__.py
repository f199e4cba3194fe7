"""The audit of checkerboards: which layers make them, how strong they are, and how to fix them."""

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
