"""What computes a model beside PyTorch."""

import pytest

from faceref.compute import Backend


@pytest.fixture(scope="session", params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> Backend:
    pytest.importorskip(request.param, reason=f"needs {request.param}: pip install 'faceref[{request.param}]'")
    return request.param
