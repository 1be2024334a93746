from fastapi.testclient import TestClient

from main import app

client = TestClient(app)


def test_the_app_answers():
    assert client.get("/api/health").json() == {"status": "ok"}


def test_the_page_is_greeted():
    assert client.get("/api/greeting").json() == {"message": "Hello from FastAPI"}
