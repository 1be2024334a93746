"""The app's API, and its page once that has been built."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

PAGE = Path(__file__).parent.parent / "frontend" / "dist"


class Greeting(BaseModel):
    """What the page shows first."""

    message: str


api = APIRouter(prefix="/api")


@api.get("/health")
def health() -> dict[str, str]:
    """Says that the app answers."""
    return {"status": "ok"}


@api.get("/greeting")
def greeting() -> Greeting:
    """Greets whoever opens the page."""
    return Greeting(message="Hello from FastAPI")


app = FastAPI(title="App", docs_url="/api/docs", openapi_url="/api/openapi.json")
app.include_router(api)
if PAGE.is_dir():
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
