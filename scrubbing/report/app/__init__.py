"""`scrubbing app`: a suite's network live in the browser, a page for each question that one asks of it.

The modules beside this one are plain functions of a suite and a row; `views/` shows what they find with Streamlit,
which nothing outside of this room imports.
"""
