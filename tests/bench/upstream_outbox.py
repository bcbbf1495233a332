"""The outbox of learning-loop-node 0.27, full of pictures, sent to a Loop until it is empty. Run as a script.

It runs in an environment of its own that has learning-loop-node, and knows nothing of this project. The last line of
output is JSON.
"""

# mypy: disable-error-code="import-not-found, misc"
# The library is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path


async def main() -> None:
    """Read the arguments, save the pictures, send them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="data folder of the node")
    parser.add_argument("--loop", required=True, help="HOST:PORT")
    parser.add_argument("--pictures", type=int, required=True)
    parser.add_argument("--bytes", type=int, default=200_000)
    arguments = parser.parse_args()
    os.environ |= {
        "DATA_FOLDER": str(arguments.data),
        "LOOP_HOST": arguments.loop,
        "LOOP_ORGANIZATION": "acme",
        "LOOP_PROJECT": "kitchens",
    }
    from learning_loop_node.detector.outbox import Outbox

    outbox = Outbox()
    picture = os.urandom(arguments.bytes)
    for _ in range(arguments.pictures):
        await outbox.save(picture)
    began, used = time.perf_counter(), time.process_time()
    outbox.ensure_continuous_upload()
    while outbox.get_upload_folders():
        await asyncio.sleep(0.02)
    told = {"sent": outbox.upload_counter, "seconds": time.perf_counter() - began}
    print(json.dumps({**told, "cpu_seconds": time.process_time() - used}))


if __name__ == "__main__":
    asyncio.run(main())
