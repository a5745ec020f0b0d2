"""The pipeline of each family of models, as faceref.json names it."""

from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline

PIPELINES: dict[str, type[FacePipeline]] = {"refldm": ReFLDMPipeline, "ldbfr": LDBFRPipeline}
