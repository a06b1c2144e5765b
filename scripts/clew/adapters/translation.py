"""What an outside system raises, in clew's own errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from clew.errors import ClewError

P = ParamSpec("P")
R = TypeVar("R")
Explain = Callable[[Exception, Any], ClewError | None]


def translating(explain: Explain) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate an adapter's methods: `explain(error, self)` says what to raise instead.

    None lets the error through as it is.
    """

    def decorate(call: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(call)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return call(*args, **kwargs)
            except ClewError:
                raise
            except Exception as error:
                explained = explain(error, args[0])
                if explained is None:
                    raise
                raise explained from error

        return wrapper

    return decorate
