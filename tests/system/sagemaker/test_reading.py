"""What is read of S3 is read through one client, however many files there are."""

from __future__ import annotations

import sys

from tests.system.sagemaker.cloud import Cloud

READ = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from clew.adapters.dvc import DvcStore

def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

store = DvcStore(Path(), None)
with ThreadPoolExecutor(16) as pool:
    for count in (16, 800):
        before = megabytes()
        found = set(pool.map(lambda _: store.read("md5", sys.argv[1], "a file"), range(count)))
        assert found == {b"raw data\\n"}
print(megabytes() - before)
"""


def test_many_files_take_no_more_memory_than_some(cloud: Cloud) -> None:
    (cloud.work / "note.txt").write_text("raw data\n")
    cloud.dvc("add", "note.txt")
    cloud.dvc("push", "note.txt")
    md5 = (cloud.work / "note.txt.dvc").read_text().partition("md5: ")[2][:32]
    cached = cloud.work / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    cached.chmod(0o600)
    cached.unlink()
    grown = float(cloud.call(sys.executable, "-c", READ, md5).stdout)
    assert grown < 50  # MB; a client for each takes more than twice that
