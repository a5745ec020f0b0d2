"""What can go wrong through no fault of the program. Each error knows what it is about, what is wrong and what helps.

Whoever shows an error words it: the command, the page and the API each have their own words for a hint (`code` tells
which), since an option has another name in each. str(error) is the sentence for users of the library.
"""


def printable(name: object) -> str:
    """A file's name for people: bytes that are not UTF-8, line ends and other control characters as escapes (\\xff)."""
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FacerefError(Exception):
    """Something the user can mend.

    reason: what is wrong; it continues the subject's sentence ("is empty") or is a sentence of its own.
    subject: the file or value that it is about, if it is about one.
    hint: what to do, as it continues the sentence behind a semicolon; None where the reason says it.
    code: stable, for programs; the class's own unless an error is told from others of its class.
    warnings: beside it, a sentence for all that is wrong with a photograph that it is not about.
    """

    code = "error"
    warnings: tuple[str, ...] = ()
    exit_code = 1  # of the command

    def __init__(
        self, reason: str, *, subject: object = None, hint: str | None = None, code: str | None = None
    ) -> None:
        self.reason = reason.removesuffix(".")
        self.subject = None if subject is None else printable(subject)
        self.hint = hint and hint.removesuffix(".")
        if code is not None:
            self.code = code
        super().__init__(self.sentence())

    def sentence(self, hint: str | None = None) -> str:
        """Subject, reason and hint in one sentence; `hint` says what to do in somebody else's words."""
        hint = self.hint if hint is None else hint
        about = f"{self.subject} {self.reason}" if self.subject is not None else self.reason
        return f"{about}; {hint}." if hint else f"{about}."


class UsageError(FacerefError):
    """The request itself is wrong: an unknown model or scheduler, zero steps, options that contradict each other."""

    code = "usage"
    exit_code = 2


class FaceNotThereError(UsageError):
    """The photograph has no face of the number, or in the box, that was chosen."""


class PhotoError(FacerefError):
    """A photograph cannot be read: missing, empty, not a picture, or truncated through the face."""

    code = "photo"


class NoFaceError(FacerefError):
    """No face was found in the photograph to be restored."""

    code = "no_face"


class NoReferenceError(FacerefError):
    """References were given, and not one of them can be used."""

    code = "no_reference"


class NoOtherPhotographError(NoReferenceError):
    """All references are the photograph to be restored."""


class OtherPersonError(FacerefError):
    """No face of the photograph may be the person whose references were given."""

    code = "not_the_person"


class LoneFaceError(OtherPersonError):
    """The only face that may be meant is not surely the person whose references were given."""


class CheckpointError(FacerefError):
    """A checkpoint is damaged, of another model family, or holds something that is not a tensor."""

    code = "checkpoint"


class DataError(FacerefError):
    """A data set or mapping is inconsistent: files missing, an identity without photographs, an empty split."""

    code = "data"


class OutputError(FacerefError):
    """A result cannot be written: the folder is not writable or the disk is full."""

    code = "output"
