"""Everything that can be made to go wrong on demand."""

from __future__ import annotations

import fnmatch
import random
import threading
from dataclasses import dataclass

from tests.stand.errors import AwsError, denied, throttled
from tests.stand.identity import Principal


@dataclass
class Failure:
    """The next calls of an action get this answer."""

    action: str
    code: str
    message: str
    status: int
    times: int


@dataclass
class JobFault:
    """The next jobs whose name matches have this trouble."""

    kind: str  # capacity, internal, slow
    job: str
    times: int
    seconds: float = 0.0


class Faults:
    """Actions are written as in IAM policies (`sagemaker:CreateTrainingJob`); `*` is a wildcard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(0)
        self.clear()

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._throttled: dict[str, float] = {}
        self._failures: list[Failure] = []
        self._denied: dict[str, str] = {}
        self._jobs: list[JobFault] = []

    def throttle(self, rate: float, action: str = "*") -> None:
        """Refuse so large a share of calls as too many."""
        with self._lock:
            self._throttled[action] = rate

    def fail(
        self, action: str, code: str, message: str = "", status: int = 400, times: int = 1
    ) -> None:
        """The next `times` calls of the action are answered with this error."""
        with self._lock:
            self._failures.append(Failure(action, code, message or code, status, times))

    def deny(self, action: str, principal: str = "*") -> None:
        """The action is not allowed to principals whose ARN matches."""
        with self._lock:
            self._denied[action] = principal

    def no_capacity(self, job: str = "*", times: int = 1) -> None:
        """The next jobs end with SageMaker's CapacityError."""
        self._add_job_fault(JobFault("capacity", job, times))

    def internal_error(self, job: str = "*", times: int = 1) -> None:
        """The next jobs end with SageMaker's InternalServerError (retried by RetryStrategy)."""
        self._add_job_fault(JobFault("internal", job, times))

    def slow_start(self, seconds: float, job: str = "*", times: int = 1) -> None:
        """The next jobs stay in Starting for so long."""
        self._add_job_fault(JobFault("slow", job, times, seconds))

    def _add_job_fault(self, fault: JobFault) -> None:
        with self._lock:
            self._jobs.append(fault)

    def job_fault(self, kind: str, job: str) -> JobFault | None:
        """The trouble that this job has; it counts as had."""
        with self._lock:
            for fault in self._jobs:
                if fault.kind == kind and fault.times and fnmatch.fnmatchcase(job, fault.job):
                    fault.times -= 1
                    return fault
        return None

    def check(self, service: str, operation: str, principal: Principal | None) -> None:
        """Raise the error that this call is to get."""
        action = f"{service.removesuffix('-runtime')}:{operation}"
        with self._lock:
            for pattern, rate in self._throttled.items():
                if _matches(action, pattern) and self._random.random() < rate:
                    raise throttled(service)
            for failure in self._failures:
                if failure.times and _matches(action, failure.action):
                    failure.times -= 1
                    raise AwsError(failure.code, failure.message, failure.status)
        if self.denies(action, principal.arn if principal else ""):
            caller = principal.session_arn if principal else "anonymous"
            raise denied(caller, action, "*")

    def denies(self, action: str, arn: str) -> bool:
        """Whether a principal was denied an action."""
        with self._lock:
            return any(
                _matches(action, pattern) and fnmatch.fnmatchcase(arn, who)
                for pattern, who in self._denied.items()
            )


def _matches(action: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(action.lower(), pattern.lower())
