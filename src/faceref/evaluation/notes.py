"""How to read the table: what each number is and what it is not, for this evaluation."""

from collections.abc import Sequence

from faceref.evaluation.cases import Case
from faceref.evaluation.conditions import STAGE_1, Plan
from faceref.evaluation.groups import ITA
from faceref.evaluation.measurement import Instruments
from faceref.evaluation.metrics import MS_SSIM_WEIGHTS, SHARPNESS_SIZE, ms_ssim_weights
from faceref.evaluation.request import Request
from faceref.evaluation.restorer import MeasuredRestorer
from faceref.evaluation.run import name_device

FEW_PHOTOGRAPHS = 2000  # below some ten for each of a recogniser's dimensions a Fréchet distance is mostly their number


def notes_of(
    request: Request,
    plan: Plan,
    instruments: Instruments,
    chosen: Sequence[Case],
    restorers: Sequence[MeasuredRestorer],
) -> list[str]:
    """How to read the table."""
    centre, size = instruments.centre, instruments.describer.size
    notes = [
        "identity (cosine): of dlib's embeddings of result and truth after subtracting their mean over "
        f"{centre.photographs} photographs ({centre.source}); identity (distance): Euclidean, as dlib defines it; "
        "below 0.6 is the same person. No restorer of this project has dlib's network in its loss; one that is told "
        "who the references show (`identity_size`) is told by a network that has learnt from it, so that the two are "
        "no strangers. Every result is cut out at the landmarks of the truth, so that no picture drops out because no "
        "face is found in it; only the nearest reference, in another pose, is cut out at landmarks of its own",
        "face PSNR: within the convex hull of the truth's landmarks; sharpness: variance of the Laplacian there at "
        f"{SHARPNESS_SIZE} px, to which smaller pictures are enlarged; noise raises it, too",
        f"seconds per face: of a batch of up to {plan.batch_size} faces on {name_device(instruments.device)}, shared "
        "by them, and of encoding each one's references; reading and writing of pictures not counted",
        "no references: an empty cache, or a model that takes no references; zero references: as many zero latents as "
        "there are references, which is what guidance subtracts",
    ]
    if plan.most:
        notes.append(
            f"to own references: mean embedding distance to the first {plan.most} references of the person, whether "
            "they are shown or not; to shown references: to those that the model was given"
        )
        notes.append(f"a case with fewer than {plan.most} references is shown all it has (mean in the second column)")
    notes += [note for one in restorers for note in one.notes]
    if any(STAGE_1 in one.conditions(plan) for one in restorers):
        notes.append("stage 1 alone: LD-BFR's vector-quantised restoration decoded as it is, without diffusion")
    if len(weights := ms_ssim_weights(size)) < len(MS_SSIM_WEIGHTS):
        notes.append(f"MS-SSIM has {len(weights)} scales, their weights renormalised: {size} px are too few for five")
    if request.lq is None:
        notes.append("there is no bicubic row: LQ inputs are made at full size (Eq. 4 ends with a bilinear resize)")
    if request.recogniser:
        notes.append(
            f"2nd recogniser: {request.recogniser.name}; for a model that had it in its loss this is no evidence of "
            "identity; its features: LPIPS without learned weights on its feature maps. Fréchet and kernel: distances "
            f"of the distributions of its embeddings ({request.recogniser.name}) of results and truths, as FID and KID "
            "are on Inception's: no FID, and comparable only within this table"
        )
        if len(chosen) < FEW_PHOTOGRAPHS:
            notes.append(
                f"{len(chosen)} photographs are few for a Fréchet distance, which grows as they get fewer: trust the "
                "kernel distance, which does not, and its interval"
            )
    if not plan.wrong_person:
        notes.append("there is only one identity, so that nobody else's references could be shown")
    if request.group_by == ITA:
        notes.append(
            "groups: thirds of the people by the median individual typology angle (ITA, from CIELAB) of the skin in "
            "their true photographs; light and camera shift it more than skin does, so that it takes some ten "
            "photographs of each person, and is no label of anybody"
        )
    elif request.group_by and (missing := sum(not case.group for case in chosen)):
        notes.append(f"{missing} of {len(chosen)} photographs have no {request.group_by} and are in no group")
    if plan.product:
        notes.append(
            "the product: the LQ face lies in a larger picture, in which it is found, aligned, restored, given the "
            "colours it had, and pasted back; that picture is measured where the face lay. Where no face is found, the "
            "LQ input is measured: the column face found says how often one was. Where the face is not surely the "
            "person's, so that it is left alone, the LQ input is measured as well, and counts as found"
        )
    if request.limit:
        notes.append(f"a sample of {len(chosen)} photographs, spread over people (--limit)")
    return notes
