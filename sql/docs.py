"""dbt's documentation: every table, column and test, with their lineage, as one self-contained page."""

import argparse
import functools
import os
import shutil
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from sql.run_dbt import BUILD, run

PORT = 8090


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sql.docs", description=__doc__, epilog="example: python -m sql.docs --no-serve"
    )
    default = os.environ.get("TUGBOAT_STAGE", "local")
    parser.add_argument(
        "--stage", default=default, help="local, dev or prod (default: TUGBOAT_STAGE, or local)"
    )
    parser.add_argument("--port", type=int, default=PORT, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument("--no-serve", action="store_true", help="write build/dbt/docs/index.html and end")
    given = parser.parse_args(arguments)
    failed = run(given.stage, ["docs", "generate", "--static"])
    if failed:
        return failed
    page = BUILD / "docs" / "index.html"
    page.parent.mkdir(exist_ok=True)
    shutil.copyfile(BUILD / "static_index.html", page)
    sys.stdout.write(f"wrote {page}\n")
    if given.no_serve:
        return 0
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(page.parent))
    with ThreadingHTTPServer(("127.0.0.1", given.port), handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port} (Ctrl-C ends it)\n")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
