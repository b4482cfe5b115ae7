"""Pictures and pages: what there is to look at of hypotheses and scores."""

from scrubbing.report.page import write_report
from scrubbing.report.picture import Picture, draw
from scrubbing.report.walk import Walk, walk

__all__ = ["Picture", "Walk", "draw", "walk", "write_report"]
