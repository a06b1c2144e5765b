"""What an S3 request asks for, by method, path and query, and the right that it needs, see
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
and https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from tests.stand.signatures import Headers

# (method, marker in the query) → operation, for buckets and for objects; first match counts.
BUCKET = {
    ("GET", "location"): "GetBucketLocation",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "policy"): "GetBucketPolicy",
    ("PUT", "policy"): "PutBucketPolicy",
    ("GET", "encryption"): "GetEncryptionConfiguration",
    ("PUT", "encryption"): "PutEncryptionConfiguration",
    ("GET", "publicAccessBlock"): "GetBucketPublicAccessBlock",
    ("GET", "lifecycle"): "GetLifecycleConfiguration",
    ("GET", "object-lock"): "GetBucketObjectLockConfiguration",
    ("GET", "tagging"): "GetBucketTagging",
    ("POST", "delete"): "DeleteObjects",
    ("GET", ""): "ListObjectsV2",
    ("HEAD", ""): "HeadBucket",
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
}
OBJECT = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploadId"): "ListParts",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("GET", "retention"): "GetObjectRetention",
    ("PUT", "retention"): "PutObjectRetention",
    ("GET", "legal-hold"): "GetObjectLegalHold",
    ("PUT", "legal-hold"): "PutObjectLegalHold",
    ("GET", "attributes"): "GetObjectAttributes",
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
}
RIGHTS = {  # where the right is not called like the operation
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
}
VERSIONED = {  # rights on one named version
    "GetObject": "GetObjectVersion",
    "HeadObject": "GetObjectVersion",
    "DeleteObject": "DeleteObjectVersion",
}


@dataclass(frozen=True)
class S3Operation:
    """One request, understood."""

    name: str
    action: str
    resource: dict[str, str]


def understand(method: str, target: str, headers: Headers) -> S3Operation:
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    resource = {"Bucket": bucket, "Key": key} if key else {"Bucket": bucket}
    if not bucket:
        return S3Operation("ListBuckets", "s3:ListAllMyBuckets", {})
    table = OBJECT if key else BUCKET
    name = next(
        (found for (verb, mark), found in table.items() if verb == method and _has(query, mark)),
        f"{method} {target}",
    )
    if "x-amz-copy-source" in headers:
        name = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(name, name)
    right = RIGHTS.get(name, name)
    if "versionId" in query:
        right = VERSIONED.get(name, right)
    return S3Operation(name, f"s3:{right}", resource)


def _has(query: dict[str, list[str]], mark: str) -> bool:
    return not mark or mark in query
