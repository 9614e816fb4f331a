"""The client in docs/howto/explore.md works as it is printed."""

import re
import threading
import time
from pathlib import Path

import uvicorn

from sparring.serve.app import create_app
from sparring.serve.safety import Access

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "explore.md"


def test_the_client(workspace, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    config = uvicorn.Config(create_app(workspace, Access()), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    query = '"head": "Iceland", "relation": "spoken_language"'
    assert query in code
    code = code.replace("8642", str(port)).replace(query, '"head": "e005", "relation": "next"')
    try:
        exec(code, {})
    finally:
        server.should_exit = True
        thread.join()
    assert len(capsys.readouterr().out.splitlines()) == 3
