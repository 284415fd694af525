"""The loop that people write first: pandas, Jinja2, one `requests.post` a row, and a CSV of what came back."""

import sys

import pandas as pd
import requests
from jinja2 import Environment, FileSystemLoader, select_autoescape


def main(folder: str, url: str) -> None:
    """Send every row of the folder's recipients.csv."""
    templates = Environment(loader=FileSystemLoader(folder), autoescape=select_autoescape())
    text, html = templates.get_template("receipt.txt"), templates.get_template("receipt.html")
    table = pd.read_csv(f"{folder}/recipients.csv", dtype=str, keep_default_na=False)
    statuses, messages = [], []
    for _, row in table.iterrows():
        email = {
            "from": "Acme Receipts <receipts@acme.example>",
            "to": f"{row['name']} <{row['email']}>",
            "subject": f"Your Acme receipt {row['order_id']}",
            "content": text.render(row),
            "html_content": html.render(row),
        }
        answer = requests.post(
            f"{url}/mail/send", data=email, headers={"authuser": "user", "authpass": "pass"}, timeout=60
        )
        statuses.append(answer.status_code)
        messages.append(answer.json()["message"])
    table.assign(status=statuses, message=messages).to_csv(f"{folder}/results.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
