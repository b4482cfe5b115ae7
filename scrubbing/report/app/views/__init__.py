"""The pages of the app, with Streamlit: what is asked for on them, and how the answer is shown."""

from scrubbing.report.app.views.navigation import PAGES, show

__all__ = ["PAGES", "show"]
