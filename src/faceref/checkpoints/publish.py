"""A model folder to Hugging Face's hub: all its files and its card in one commit, or nothing."""

from pathlib import Path

from faceref.checkpoints.card import model_card
from faceref.checkpoints.hub import PATTERNS, HubName, endpoint, told_of
from faceref.checkpoints.info import find_model, read_blind, read_info
from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError

CARD = "README.md"


def push_model(name_or_path: str | Path, repository: str, *, token: str | None = None, public: bool = False) -> str:
    """Upload a model as org/name, made if it is not there; the URL of the commit.

    Its card is made of faceref.json unless the folder has a README.md. token: of somebody who may write; None: the one
    that this computer is logged in with. public: of a new repository.

    Raises UsageError for a name that is none or that may not be written to, CheckpointError for a folder that is no
    whole model, OutputError if the hub cannot be reached.
    """
    name = HubName.parse(repository)
    if name is None or name.revision is not None:
        raise UsageError("is no name of a repository", subject=repository, hint="write org/name")
    folder = find_model(name_or_path)
    load_pipeline(folder, backend="torch")  # what does not load here would not load anywhere
    info = read_info(folder)
    files: dict[str, Path | bytes] = {CARD: model_card(info, repository, read_blind(folder)).encode()}
    files |= {str(path.relative_to(folder)): path for pattern in PATTERNS for path in sorted(folder.rglob(pattern))}

    from huggingface_hub import CommitOperationAdd, HfApi  # here: it takes a second

    api = HfApi(endpoint(), token)
    with told_of(name):
        api.create_repo(repository, private=not public, exist_ok=True)
        done = api.create_commit(
            repository,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=f"{info.name}, pushed by faceref",
        )
    return str(done.commit_url)
