"""Why a face of a photograph is not restored."""

from enum import StrEnum
from typing import Self


class LeftAlone(StrEnum):
    """Why a face is not restored: a code for programs, and a `reason` that continues the sentence "left alone: "."""

    NOT_CHOSEN = "not_chosen", "another face was chosen"
    SAID_SO = "said_so", "you said so"
    OWN_REFERENCE = "own_reference", "all references are this photograph itself"
    NOBODY = "nobody", "it is not surely anybody whose references were given"
    NOT_SURE = "not_sure", "it is not sure which of the people it is"
    BACKGROUND = "background", "it is in the background"
    CUT_OFF = "cut_off", "it is cut off by the border"
    GOOD = "good", "it is good already"
    SMALL = "small", "it is as good as so few pixels can be"
    CLEANED = "cleaned", "cleaning was all that it needed"
    NO_STRENGTH = "no_strength", "a strength of 0 leaves it as it is"

    reason: str

    def __new__(cls, code: str, reason: str) -> Self:
        one = str.__new__(cls, code)
        one._value_, one.reason = code, reason
        return one
