"""What is shown and recorded of URLs: where they lead, never who may go there."""

from __future__ import annotations

import re

USER_INFO = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)[^/\s'\"]*@")
QUERY = re.compile(r"(?P<url>\b[a-zA-Z][\w+.-]*://[^\s'\"?]*)\?[^\s'\"]*")


def without_secrets(text: str) -> str:
    """Return a text with the user names, passwords and queries of its URLs left out."""
    return QUERY.sub(r"\g<url>", without_credentials(text))


def without_credentials(text: str) -> str:
    """Return a text with the user names and passwords of its URLs left out."""
    return USER_INFO.sub(r"\g<scheme>", text)
