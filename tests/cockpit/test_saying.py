"""What a page says of a press: once, and not lost when the page draws itself again."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _saying() -> None:
    import streamlit as st

    from cockpit.frame import saying

    saying.drawn_anew()
    saying.said_now("k")
    if st.session_state.pop("ended", False):
        saying.draw_again()


def test_what_was_said_stays_when_the_page_draws_itself_again_and_goes_with_the_next_press() -> None:
    at = AppTest.from_function(_saying)
    at.session_state["_said:k"] = "somebody was first"
    at.session_state["ended"] = True
    assert [i.value for i in at.run().info] == ["somebody was first"]
    assert not at.run().info
