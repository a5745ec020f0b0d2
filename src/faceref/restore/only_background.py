"""Photographs of a folder in which nobody can be restored as it was asked: their backgrounds are drawn all the same."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from faceref.errors import FaceNotThereError, NoOtherPhotographError
from faceref.people.person import Identity
from faceref.pictures.photo import PhotoSource
from faceref.restore.left_alone import LeftAlone
from faceref.restore.options import RestoreOptions
from faceref.restore.result import Result


def made_in_folder(
    make: Callable[[PhotoSource, Sequence[Identity[Any]], RestoreOptions], Result],
    photo: PhotoSource,
    people: Sequence[Identity[Any]],
    options: RestoreOptions,
) -> Result:
    """What `make` (`Restorer.restore`, or `match`) makes of one of many photographs; raises as it does.

    With a background those that are all of the references, and those without the face that was chosen, are no error,
    which they are for whoever gives one photograph: their faces are left alone.

        >>> made_in_folder(restorer.restore, photo, people, RestoreOptions(face=2, background="clean"))
    """
    try:
        return make(photo, people, options)
    except (NoOtherPhotographError, FaceNotThereError) as error:
        if options.background is None:
            raise
        why = LeftAlone.NOT_CHOSEN if isinstance(error, FaceNotThereError) else LeftAlone.OWN_REFERENCE
    nobody = RestoreOptions(background=options.background, scale=options.scale, strength=0.0)
    result = make(photo, (), nobody)
    left = tuple(replace(one, left_alone=why) for one in result.assignments)
    return replace(result, assignments=left, choice=options.face)
