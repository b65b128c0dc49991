"""The address of the application's database, as operators write it; pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

POSTGRES, SQLITE = "postgresql+asyncpg", "sqlite+aiosqlite"
DRIVERS = {"postgres": POSTGRES, "postgresql": POSTGRES, POSTGRES: POSTGRES, "sqlite": SQLITE, SQLITE: SQLITE}
_PARAMETERS = {POSTGRES: {"host": "host", "port": "port", "ssl": "ssl", "sslmode": "ssl"}, SQLITE: {}}
"""What may follow a question mark, and how the driver calls it: hosts of databases hand out libpq's `sslmode`."""


def with_driver(url: str) -> str:
    """The address with the driver that is used. Raises ValueError, which quotes nothing of the password."""
    scheme, _, rest = url.partition("://")
    driver = DRIVERS.get(scheme)
    if driver is None or not rest:
        raise ValueError("it must begin with postgresql:// or sqlite:///")
    place, _, query = rest.partition("?")
    known = _PARAMETERS[driver]
    parameters = parse_qsl(query)
    unknown = sorted({name for name, _ in parameters} - set(known))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} after the question mark is not supported")
    renamed = urlencode([(known[name], value) for name, value in parameters], safe="/")
    return f"{driver}://{place}" + (f"?{renamed}" if renamed else "")
