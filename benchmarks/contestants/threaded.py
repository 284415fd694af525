"""The naive loop on a pool of threads, each with a session of its own that keeps its connection."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import requests
from jinja2 import Environment, FileSystemLoader, select_autoescape

_own = threading.local()


def _session() -> requests.Session:
    if not hasattr(_own, "session"):
        _own.session = requests.Session()
        _own.session.headers.update({"authuser": "user", "authpass": "pass"})
    session: requests.Session = _own.session
    return session


def main(folder: str, url: str, threads: int) -> None:
    """Send every row of the folder's recipients.csv."""
    templates = Environment(loader=FileSystemLoader(folder), autoescape=select_autoescape())
    text, html = templates.get_template("receipt.txt"), templates.get_template("receipt.html")
    table = pd.read_csv(f"{folder}/recipients.csv", dtype=str, keep_default_na=False)

    def send(row: dict[Any, Any]) -> tuple[int, str]:
        email = {
            "from": "Acme Receipts <receipts@acme.example>",
            "to": f"{row['name']} <{row['email']}>",
            "subject": f"Your Acme receipt {row['order_id']}",
            "content": text.render(row),
            "html_content": html.render(row),
        }
        answer = _session().post(f"{url}/mail/send", data=email, timeout=60)
        return answer.status_code, answer.json()["message"]

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(send, table.to_dict("records")))
    statuses, messages = zip(*answers, strict=True)
    table.assign(status=statuses, message=messages).to_csv(f"{folder}/results.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
