"""What can go wrong through no fault of the program: each error is one sentence that says what to do.

The command line prints the sentence and exits with `exit_code`; library users catch `FacerefError`.
"""


class FacerefError(Exception):
    """Something the user can mend; str(error) is one sentence naming the file or value and the remedy."""

    exit_code = 1


class UsageError(FacerefError):
    """The request itself is wrong: an unknown model or scheduler, zero steps, options that contradict each other."""

    exit_code = 2


class PhotoError(FacerefError):
    """A photograph cannot be read: missing, empty, not a picture, or truncated through the face."""


class NoFaceError(FacerefError):
    """No face was found where one is needed."""


class CheckpointError(FacerefError):
    """A checkpoint is damaged, of another model family, or holds something that is not a tensor."""


class DataError(FacerefError):
    """A data set or mapping is inconsistent: files missing, an identity without photographs, an empty split."""


class OutputError(FacerefError):
    """A result cannot be written: the folder is not writable or the disk is full."""
