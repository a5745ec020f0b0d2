"""What a command leaves behind: files, and what it says of an error."""

from pathlib import Path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_one_sentence(errors: str) -> None:
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in errors
    assert errors.rstrip().endswith(".")
