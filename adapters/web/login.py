"""The page where a person shows the operator's token."""

from __future__ import annotations

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from adapters.web.security import Sessions, cookie_header, is_token, session_of

STALE = "This page was from an earlier visit, or your browser keeps no cookies. Give the token once more."
WRONG = "That is not the token."


class Login:
    """The address of that page."""

    def __init__(self, environment: Environment, sessions: Sessions, token: str | None) -> None:
        self._template = environment.get_template("login.html")
        self._sessions = sessions
        self._token = token

    async def page(self, request: Request) -> Response:
        """The form, and what was filled in."""
        csrf = self._sessions.csrf(session_of(request))
        if request.method == "GET":
            return HTMLResponse(self._template.render(csrf=csrf, wrong=""))
        async with request.form(max_files=0, max_fields=2) as form:
            if form.get("csrf") != csrf:
                return HTMLResponse(self._template.render(csrf=csrf, wrong=STALE), 403)
            if not is_token(str(form.get("token")), self._token):
                return HTMLResponse(self._template.render(csrf=csrf, wrong=WRONG), 403)
        answer = RedirectResponse("/", 303)
        answer.headers["Set-Cookie"] = cookie_header(self._sessions.new(known=True))
        return answer
