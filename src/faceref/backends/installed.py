"""Whether the packages that a backend or a format of exports needs are here."""

from collections.abc import Sequence
from importlib.util import find_spec

from faceref.errors import UsageError

Package = str
TO_RUN: dict[str, Sequence[Package]] = {"onnxruntime": ("onnxruntime",), "openvino": ("openvino",)}
TO_EXPORT: dict[str, Sequence[Package]] = {
    "onnx": ("onnx", "onnxscript"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


def check_installed(packages: Sequence[Package]) -> None:
    """Raises UsageError if one of them is not installed; the extras of faceref bring all that belong together."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        extra = "openvino" if "openvino" in packages else "onnxruntime"
        hint = f"pip install 'faceref[{extra}]'"  # which brings the others too
        raise UsageError("is not installed", subject=missing[0], hint=hint, code="no_backend")
