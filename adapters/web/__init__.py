"""The local web chat: a platform like the others, whose server is ours."""

from adapters.web.config import WebConfig
from adapters.web.security import Sessions
from adapters.web.server import make_platform, serving

__all__ = ["Sessions", "WebConfig", "make_platform", "serving"]
