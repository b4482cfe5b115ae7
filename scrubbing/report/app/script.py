"""What Streamlit runs for each click. (A folder `pages` beside it would be read as pages of Streamlit's own kind.)"""

from scrubbing.report.app.served import handed_over
from scrubbing.report.app.views import show

if __name__ == "__main__":
    show(handed_over())
