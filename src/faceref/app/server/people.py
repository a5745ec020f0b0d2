"""The routes beside restoring: looking for faces, people who are kept, models, limits."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Response

from faceref.app.server.errors import RefusedError
from faceref.app.server.jobs import PICTURE, Names, Options, Photo, References
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture, face, preview
from faceref.app.server.request import PHOTOGRAPH, JobRequest, check_count, check_pictures, numbered
from faceref.app.server.schema import (
    AddedPhotos,
    EnrolledPerson,
    NewName,
    NewPerson,
    PersonDetails,
    SamePerson,
    read_options,
)
from faceref.app.server.service import PROBLEMS, Caller, CallerOf, Check, as_response, read_all
from faceref.checkpoints.info import ModelInfo
from faceref.people.library import check_name
from faceref.people.names import name_now
from faceref.people.person import Person, distinct
from faceref.people.references import poor_references
from faceref.restore.account import Account, ReferenceLeftOut

router = APIRouter(prefix="/v1", responses=PROBLEMS)


@router.post("/faces", tags=["restore"])
async def faces(
    caller: CallerOf,
    photo: Photo,
    references: References = [],  # noqa: B006 (FastAPI copies it)
    people: Names = [],  # noqa: B006
    options: Options = "{}",
) -> Account:
    """Find the faces of a photograph and who they are, without restoring any."""
    asked = JobRequest((await read_all([photo]))[0], await read_all(references), tuple(people), read_options(options))

    def match(check: Check) -> Account:
        asked.check(caller.service.limits)
        known = [caller.person(name) for name in distinct(asked.people)]
        people, options = known or asked.references, asked.options
        return caller.service.restorer.match(asked.photo, people, options, on_photo=check).account()

    return await caller.look(match, (asked.photo, *asked.references))


@router.post("/preview", tags=["restore"], response_class=Response, responses={200: PICTURE})
async def show(caller: CallerOf, photo: Photo) -> Response:
    """A photograph as a JPEG: browsers show neither HEIC nor TIFF."""
    (data,) = await read_all([photo])

    def shown(_: Check) -> Picture:
        check_pictures({PHOTOGRAPH: data}, caller.service.limits)
        return preview(data)

    return as_response(await caller.look(shown, (data,)))


@router.post("/people", status_code=201, tags=["people"])
async def enroll(
    caller: CallerOf, photos: References, name: Annotated[str, Form(max_length=1000, examples=["Grandma"])]
) -> NewPerson:
    """Keep a new person: the aligned faces of the photographs, and how they are recognised; not the photographs."""
    pictures = await read_all(photos)

    def read_and_keep(check: Check) -> NewPerson:
        known_as = check_name(name)
        caller.library.check_free(known_as)  # said before the photographs are read
        person = _read(caller, pictures, check)
        caller.library.enroll(known_as, person)
        return NewPerson(name=known_as, references=len(person.references), **_said(person, caller.person(known_as)))

    return await caller.look(read_and_keep, pictures)


@router.post("/people/{name}/photos", tags=["people"])
async def add_photos(caller: CallerOf, name: str, photos: References) -> AddedPhotos:
    """Keep more photographs of a person; those that are there already do not count again."""
    pictures = await read_all(photos)

    def read_and_add(check: Check) -> AddedPhotos:
        kept = caller.person(name)  # an unknown one is said before the photographs are read
        person = _read(caller, pictures, check)
        _check_room(caller, kept, person)
        called = name_now(caller.library, name, [one.digest for one in kept.references])  # reading takes a while
        new, known = caller.library.add(called, person), caller.person(called)
        return AddedPhotos(new=new, references=len(known.references), **_said(person, known))

    return await caller.look(read_and_add, pictures)


@router.get("/people", tags=["people"])
def list_people(caller: CallerOf) -> list[EnrolledPerson]:
    """Everybody who is kept, by name."""
    return [EnrolledPerson(**vars(one)) for one in caller.library.everybody()]


@router.get("/people/{name}", tags=["people"])
def read_person(caller: CallerOf, name: str) -> PersonDetails:
    """What is known of a person, but for their faces."""
    person = caller.person(name)
    references = [reference.name for reference in person.references]
    return PersonDetails(name=str(person.name), references=references, warnings=list(person.warnings))


@router.get("/people/{name}/faces/{number}", tags=["people"], response_class=Response, responses={200: PICTURE})
def read_face(caller: CallerOf, name: str, number: Annotated[int, Path(ge=1)]) -> Response:
    """The aligned face of one of a person's references, as a JPEG; the first is number 1."""
    references = caller.person(name).references
    if number > len(references):
        raise RefusedError(404, "no_face", f"{name} has {len(references)} references")
    return as_response(face(references[number - 1].face))


@router.patch("/people/{name}", status_code=204, tags=["people"])
def rename(caller: CallerOf, name: str, new: NewName) -> None:
    """Call a person something else."""
    with caller.service.queue.renaming(caller.owner, name, new.name):
        caller.library.rename(name, new.name)


@router.post("/people/{name}/merge", status_code=204, tags=["people"])
def merge(caller: CallerOf, name: str, same: SamePerson) -> None:
    """Two names are one person: the references of the other become this one's, and the other goes."""
    _check_room(caller, caller.person(name), caller.person(same.other))
    with caller.service.queue.renaming(caller.owner, same.other, name):
        caller.library.merge(name, same.other)


@router.delete("/people/{name}", status_code=204, tags=["people"])
def remove(caller: CallerOf, name: str) -> None:
    """Forget a person, and what was seen in albums, where they may be; nothing of them stays on disk or in memory."""
    caller.service.owners.forget(caller.owner, name)
    caller.service.people.forget(caller.owner)


@router.get("/limits", tags=["server"])
async def read_limits(caller: CallerOf) -> Limits:
    """What the server takes on at most."""
    return caller.service.limits


@router.get("/models", tags=["server"])
async def list_models(caller: CallerOf) -> list[ModelInfo]:
    """The model in memory, and the one for photographs without references, if that is another."""
    restorer = caller.service.restorer
    return [model.info for model in dict.fromkeys((restorer.model, restorer.blind))]


def _read(caller: Caller, pictures: Sequence[bytes], check: Check) -> Person:
    """The person on photographs that were sent. Raises UsageError, PhotoError, NoReferenceError, and as `check`."""
    check_count("photographs", len(pictures), caller.service.limits.references)
    check_pictures(numbered("Photograph", pictures), caller.service.limits)
    return caller.service.restorer.person(pictures, on_photo=check)


def _check_room(caller: Caller, person: Person, more: Person) -> None:
    """Raises UsageError where a person's photographs would be too many with those that are not theirs yet."""
    known, given = ({one.digest for one in who.references} for who in (person, more))
    if given - known:
        check_count("photographs of one person", len(known | given), caller.service.limits.references)


def _said(person: Person, known: Person) -> dict[str, Any]:
    """What is said of photographs that were read, and of all by which the person is known now."""
    left_out = [ReferenceLeftOut(name=one.name, reason=one.reason) for one in person.skipped]
    damaged = [warning for reference in person.references for warning in reference.warnings]
    given = {one.digest for one in person.references}
    poor = poor_references([one for one in known.references if one.digest in given])  # by the numbers of their faces
    return {"references_left_out": left_out, "warnings": [*damaged, *poor, *known.warnings]}
