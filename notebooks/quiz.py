"""Questions at the end of a notebook whose answers come from the numbers of its own run."""

from html import escape


def ask(question: str, answer: str) -> None:
    """Show a question; its answer is folded below it."""
    from IPython.display import HTML, display

    display(HTML(f"<details><summary>{escape(question)}</summary><p>{escape(answer)}</p></details>"))
