"""iam:SimulatePrincipalPolicy, which moto lacks: everything is allowed but what a fault denies, see
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from html import escape

from moto.iam.models import iam_backends
from werkzeug.wrappers import Response

from tests.stand.errors import AwsError
from tests.stand.identity import ACCOUNT
from tests.stand.world import World

NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def simulate(world: World, form: dict[str, str]) -> Response:
    """One verdict for each action; policies themselves are not evaluated."""
    arn = form["PolicySourceArn"]
    known = iam_backends[ACCOUNT]["aws"].roles.values()
    if ":role/" in arn and arn not in {role.arn for role in known}:
        raise AwsError("NoSuchEntity", f"The role {arn} does not exist.", 404)
    actions = [value for name, value in form.items() if name.startswith("ActionNames.member.")]
    results = "".join(_result(action, world.faults.denies(action, arn)) for action in actions)
    return Response(
        f'<SimulatePrincipalPolicyResponse xmlns="{NAMESPACE}"><SimulatePrincipalPolicyResult>'
        f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
        "</SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>stand</RequestId>"
        "</ResponseMetadata></SimulatePrincipalPolicyResponse>",
        content_type="text/xml",
    )


def _result(action: str, denied: bool) -> str:
    verdict = "implicitDeny" if denied else "allowed"
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>*</EvalResourceName><EvalDecision>{verdict}</EvalDecision></member>"
    )
