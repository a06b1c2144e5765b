"""The code that runs inside jobs, `clew.container`, as one file that Python can run."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

START = "import sys\nfrom clew.container.__main__ import main\nsys.exit(main())\n"
CONTAINER_FIELDS = (  # of a JobSpec, for what runs inside
    *("bundle", "bundle_sha256", "workdir", "stages", "remote", "pull", "push"),
    *("force", "params", "channels", "model", "collect"),
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first day: the same code is the same bytes


def job_code() -> bytes:
    """Return a Python zip application (docs.python.org/3/library/zipapp.html), always the same."""
    package = Path(__file__).parent.parent / "container"
    files = {
        f"clew/container/{path.name}": path.read_text() for path in sorted(package.glob("*.py"))
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {"__main__.py": START, "clew/__init__.py": "", **files}.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    return buffer.getvalue()
