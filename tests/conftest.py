"""What several files of tests begin with."""

import pytest
import small_course


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The folder of a small course, with common and tools working on it."""
    return small_course.work_on(small_course.make(tmp_path / "course"), monkeypatch)
