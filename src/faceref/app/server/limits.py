"""What the server takes on at most, in one place; `faceref serve --limit NAME=VALUE` sets one of them."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceref.errors import UsageError


class Limits(BaseModel):
    """Bounds of one request and of the whole server."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    megabytes: int = Field(default=64, gt=0, description="of a request, all its pictures together (2**20 bytes)")
    arriving: int = Field(default=64, gt=0, description="requests that are being sent at once")
    arriving_seconds: float = Field(default=300, gt=0, description="until a request has arrived")
    megapixels: float = Field(default=50, gt=0, description="of each picture")
    references: int = Field(default=20, gt=0, description="photographs of a person, in a request or kept")
    people: int = Field(default=20, gt=0, description="enrolled people looked for in a request")
    waiting: int = Field(
        default=64, gt=0, description="jobs of one token in the queue; and requests for /v1/faces or /v1/people"
    )
    kept: int = Field(default=256, gt=0, description="jobs of one token, results not yet deleted among them")
    seconds: float = Field(default=600, gt=0, description="of restoring one photograph, or looking at some")
    keep_seconds: float = Field(default=3600, gt=0, description="until a result that nobody fetched is deleted")
    fetched_seconds: float = Field(default=60, ge=0, description="until a fetched one is: downloads may break off")
    wait_seconds: float = Field(default=120, ge=0, description="that Prefer: wait=N may ask for")

    @classmethod
    def of(cls, settings: list[str]) -> Self:
        """From NAME=VALUE, as typed. Raises UsageError for the first that is wrong."""
        values = {name: value for name, _, value in (setting.partition("=") for setting in settings)}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            known = ", ".join(cls.model_fields)
            raise UsageError(f"The limit {name} cannot be set: {first['msg']}", hint=f"there are {known}") from error
