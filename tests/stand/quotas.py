"""service-quotas:ListServiceQuotas for SageMaker, which moto lacks, see
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from __future__ import annotations

import hashlib
import json

from werkzeug.wrappers import Response

from tests.stand.api import Record, cut
from tests.stand.identity import ACCOUNT, REGION

PAGE = 20  # at most, whatever was asked for: AWS may give less too
USAGES = (
    *("training job usage", "spot training job usage", "training warm pool usage"),
    *("processing job usage", "endpoint usage"),
)
INSTANCES = {  # what a young account has: nothing of what is scarce
    "ml.t3.medium": 20,
    "ml.m5.large": 15,
    "ml.m5.xlarge": 15,
    "ml.c5.xlarge": 10,
    "ml.g5.xlarge": 1,
    "ml.p4d.24xlarge": 0,
}


def list_quotas(request: Record) -> Response:
    names = [f"{kind} for {usage}" for usage in USAGES for kind in INSTANCES]
    asked = {"NextToken": request.get("NextToken"), "MaxResults": PAGE}
    page, token = cut([_quota(name) for name in names], asked, PAGE)
    answer = {"Quotas": page} | ({"NextToken": token} if token else {})
    return Response(json.dumps(answer), content_type="application/x-amz-json-1.1")


def _quota(name: str) -> Record:
    code = f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:sagemaker/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": float(INSTANCES[name.partition(" ")[0]]),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
