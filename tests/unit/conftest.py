"""Properties are tried without a deadline: these machines are noisy, and the first example pays for imports."""

from hypothesis import settings

settings.register_profile("noisy", deadline=None)
settings.load_profile("noisy")
