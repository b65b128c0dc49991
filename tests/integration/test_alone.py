"""The library as a stranger uses it: what its README shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import sandbox


@pytest.mark.docker
@pytest.mark.usefixtures("image")
async def test_the_readme_of_the_library_does_what_it_shows() -> None:
    readme = (Path(sandbox.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    imports, _, body = code.partition("\n\n")
    seen: list[Any] = []
    names: dict[str, Any] = {"print": seen.append}

    exec(f"{imports}\nasync def shown():\n{textwrap.indent(body, '    ')}", names)
    await names["shown"]()

    assert [type(event).__name__ for event in seen] == ["Output", "Outcome"]
    assert (seen[0].text, seen[1].status) == ("42\n", "ok")
