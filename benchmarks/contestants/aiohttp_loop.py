"""The same with asyncio and aiohttp: as many POSTs at a time as a semaphore lets through."""

import asyncio
import sys
from typing import Any

import aiohttp
import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape


async def main(folder: str, url: str, concurrency: int) -> None:
    """Send every row of the folder's recipients.csv."""
    templates = Environment(loader=FileSystemLoader(folder), autoescape=select_autoescape())
    text, html = templates.get_template("receipt.txt"), templates.get_template("receipt.html")
    table = pd.read_csv(f"{folder}/recipients.csv", dtype=str, keep_default_na=False)
    slots = asyncio.Semaphore(concurrency)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency), headers={"authuser": "user", "authpass": "pass"}
    )

    async def send(row: dict[Any, Any]) -> tuple[int, str]:
        async with slots:
            email = {
                "from": "Acme Receipts <receipts@acme.example>",
                "to": f"{row['name']} <{row['email']}>",
                "subject": f"Your Acme receipt {row['order_id']}",
                "content": text.render(row),
                "html_content": html.render(row),
            }
            async with session.post(f"{url}/mail/send", data=email) as answer:
                return answer.status, (await answer.json())["message"]

    async with session:
        answers = await asyncio.gather(*map(send, table.to_dict("records")))
    statuses, messages = zip(*answers, strict=True)
    table.assign(status=statuses, message=messages).to_csv(f"{folder}/results.csv", index=False)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
