"""What to do about an error in the words of the command: the library knows no options."""

from faceref.errors import FacerefError, LoneFaceError
from faceref.restore.account import FaceAccount
from faceref.restore.left_alone import LeftAlone
from faceref.restore.options import FaceChoice

# code of an error -> hint
HINTS: dict[str, str] = {
    "not_the_person": "say which with --face N, or give more photographs of the person",
    "no_face": "cut the photograph closer to the face, or give the aligned face itself (--aligned)",
    "not_square": "align it first (faceref data align)",
    "no_index": "make it with faceref data align, or with the columns file and person",
    "empty_index": "align some first (faceref data align)",
    "split_and_mapping": "give either --split or --mapping: a mapping is of one split already",
    "nothing_to_check": "give some with --mapping",
    "lq_and_degradation": "give either --lq or --degradation: LQ pictures are read or made, not both",
    "mapping_and_index": "give either --mapping, a CSV of targets and references, or --index, a CSV of people",
    "no_groups": "give --index or --labels for --group-by",
    "no_column": "name one of their columns with --group-by",
    "impossible_count": "give --reference-counts from 1 to that, or more --references",
    "nothing_to_measure": "name a model, --restored NAME=FOLDER or --restorer FILE.onnx",
    "no_product": "name a model, or leave --product out",
    "no_people": "give --mapping or --index",
    "no_identities": "run faceref data identities first",
    "threshold_joins_all": "give a lower --threshold",
    "no_distance": "give a --min-distance below --max-distance",
    "no_number": "give an --at-least no larger than --at-most",
    "run_exists": "add --resume, or choose another folder with --run-dir",
    "nothing_to_resume": "leave out --resume to start",
    "worker_ended": "run the command again with fewer --workers",
    "no_ray": "pip install 'faceref[ray]', or leave --ray out",
    "no_upscaler": "give clean, lanczos, realesrgan, or the file of a model (.pth, .safetensors) with --background",
    "scale": "give another --scale or another --background",
    "model_not_here": "faceref models download refldm-512",
    "hub_refuses": "look at its name, and set HF_TOKEN (or hf auth login) if it is private or gated",
    "out_of_memory": "add --memory low, or --device cpu",
    "no_room_to_export": "free some space or choose another folder (-o, or XDG_CACHE_HOME for --backend)",
    "torch_only": "leave that out, or give --backend torch",
    "other_shape": "leave --backend out",
    "exported": "give another --backend, or the model that it was exported from",
    "licence": "add --accept-licence if you agree",
    "wrong_digest": "download it again, or give its digest with --sha256 if you trust the file",
    "no_room": "free some space or choose another folder (-o, or FACEREF_HOME for models)",
    "ray_failed": "run the command again, with fewer --workers or without --ray",
}
LONE_FACE = "if it is them, give --face 1, or give more photographs of the person"
# where `faceref restore FOLDER`, whose processes are --jobs, has other words
FOLDER_HINTS: dict[str, str] = {
    "other_settings": "choose another folder, or do all of it again with --again",
    "worker_ended": "run the command again with fewer --jobs",
    "ray_failed": "run the command again, with fewer --jobs or without --ray",
}
# where nobody knows for what the memory was
OUT_OF_MEMORY = (
    "The device has too little memory; take fewer faces at a time (--batch, --batch-size, loop.batch_size), "
    "add --memory low, or choose --device cpu."
)
# why a face was left alone -> how it would not be
NOT_LEFT_ALONE: dict[LeftAlone, str] = {
    LeftAlone.BACKGROUND: "--face N or --always restores it",
    LeftAlone.CUT_OFF: "--face N or --always restores it",
    LeftAlone.SMALL: "--background lanczos --scale 4 makes it larger, and restores it",
}
# the same of one that was chosen, where several people are looked for
CHOSEN_AND_OPEN = "give that person's photographs or --person alone, or --unknown blind"


def sentence(error: FacerefError) -> str:
    """An error as the command says it."""
    return error.sentence(LONE_FACE if isinstance(error, LoneFaceError) else HINTS.get(error.code))


def left_alone(face: FaceAccount, choice: FaceChoice | None = None) -> str:
    """Why a face was left alone, and how it would not be; nothing of a face that was restored.

    choice: which face was chosen, if any was.
    """
    if face.left_alone is None:
        return ""
    how = NOT_LEFT_ALONE.get(face.left_alone_code) if face.left_alone_code else None
    if choice not in (None, "all") and face.left_alone_code in (LeftAlone.NOBODY, LeftAlone.NOT_SURE):
        how = CHOSEN_AND_OPEN
    return f"left alone: {face.left_alone}" + (f" ({how})" if how else "")
