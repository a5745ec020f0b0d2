"""The page: the files of `faceref.app.page`, sent so that a browser loads nothing from elsewhere."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # after an upgrade no old script meets a new one
}


class Page(StaticFiles):
    """It holds nothing of anybody, so that it needs no token; what it asks of the API does."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not self._has(path):  # whatever is to be done with it
            raise HTTPException(404)
        answer = await super().get_response(path, scope)
        answer.headers.update(HEADERS)
        return answer

    def _has(self, path: str) -> bool:
        try:
            return self.lookup_path(path)[1] is not None
        except (OSError, ValueError):  # longer than the name of any file, or with a zero in it
            return False
