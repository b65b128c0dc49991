"""Properties are tried without a deadline: these machines are noisy, and the first example pays for imports."""

from hypothesis import settings

from tests.quick import rounds

settings.register_profile("ours", deadline=None, max_examples=rounds(100))
settings.load_profile("ours")
