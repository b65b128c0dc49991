"""What a bot may have to say, for Hypothesis: replies of any blocks, with the marks of both platforms in them."""

from __future__ import annotations

from hypothesis import strategies as st

from bot.model import Artifact, Code, File, Notice, Picture, Printed, Reply, Text

TURN = "0123456789abcdef-00000001"
PNG = Artifact(id="a" * 32, name="plot.png", mime="image/png", size=10)

words = st.text(alphabet=st.sampled_from("ach `~\n<>@!#&*[]()|.:/-\u200b"), max_size=2_000)
long_words = st.builds(lambda text, times: text * times, words, st.integers(1, 40))
blocks = st.one_of(
    st.builds(Text, markdown=long_words),
    st.builds(Code, language=st.sampled_from(["python", "bash", ""]), source=long_words, hidden=st.booleans()),
    st.builds(Printed, text=long_words),
    st.builds(Notice, text=long_words, level=st.sampled_from(["info", "warning", "error"])),
    st.just(Picture(artifact=PNG)),
    st.just(File(artifact=PNG)),
)
replies = st.builds(
    Reply,
    turn_id=st.just(TURN),
    part=st.integers(0, 99),
    blocks=st.lists(blocks, max_size=24).map(tuple),
    final=st.booleans(),
    actions=st.lists(st.sampled_from(["retry", "rerun", "reset", "feedback"]), unique=True).map(tuple),
)
