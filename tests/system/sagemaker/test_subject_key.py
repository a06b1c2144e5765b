"""A subject key that lies in Git encrypted, and is decrypted by AWS KMS for who may."""

from __future__ import annotations

import base64

from tests.system.people import SUBJECTS, make_people
from tests.system.sagemaker.cloud import Cloud

FILE = "subject.key.kms"


def test_a_key_under_kms(cloud: Cloud) -> None:
    make_people(cloud)
    arn = cloud.stand.boto3("kms").create_key()["KeyMetadata"]["Arn"]
    making = ("subject", "key", "--file", FILE, "--kms", arn, "--region", cloud.stand.region)
    made = cloud.clew(*making)
    assert made.returncode == 0, made.stderr
    assert cloud.clew(*making).returncode == 2  # never overwritten
    cloud.edit("pipeline.yaml", "key_file: ../home/subject.key", f"kms_key_file: {FILE}")
    cloud.commit("A key under KMS")
    unseen = cloud.clew("subject", "token", SUBJECTS[0])
    assert (unseen.returncode, unseen.stdout) == (1, "The vault has never seen this subject.\n")

    key = cloud.work / FILE
    whole = key.read_text()
    key.write_text(base64.b64encode(b"another blob").decode())
    refused = cloud.clew("subject", "token", SUBJECTS[0])
    assert refused.returncode == 4
    assert "AWS KMS did not decrypt the subject key" in refused.stderr
    key.write_text("{not base64}")
    assert cloud.clew("subject", "token", SUBJECTS[0]).returncode == 2
    key.write_text(whole)
    assert cloud.clew("subject", "token", SUBJECTS[0]).returncode == 1
