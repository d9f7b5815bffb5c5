"""Serve the boards on this machine, or post them to another Superset.

    python -m dashboards --stage local                    # a Superset of this machine on http://127.0.0.1:8088
    SUPERSET_URL=https://... python -m dashboards --stage prod

Both import the same bundle of dashboards/assets, which replaces what Superset has under the same uuids and leaves the rest.
Both read Snowflake as the stage's user for dashboards, whose role is the reader's: marts, check results and loads.

The login of SUPERSET_URL is in SUPERSET_USER and SUPERSET_PASSWORD, or in SUPERSET_TOKEN.
For Preset it is an API token, in PRESET_TOKEN and PRESET_SECRET.
docs/dashboards.md describes the boards.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from dashboards import access, assets
from dashboards.server import PORT, REPOSITORY, Server
from dashboards.superset_api import Superset, SupersetError
from deploy import reader_login, warehouse_setup
from deploy.command import DeployError, Progress, Say, exit_status, stage_parser
from deploy.stages import Stage, account_of, read_stage
from deploy.warehouse_setup import SetUpError
from functions.platform import warehouse
from functions.platform.warehouse import Credentials

# Snowflake's error for an object that is missing, or that the role may not see.
DOES_NOT_EXIST = 2003
ROWS = "select count(*) from MARTS.DAILY_KPIS"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("dashboards", __doc__, "--stage local")
    parser.add_argument("--port", type=int, default=PORT, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument(
        "--serve", action="store_true", help="run a Superset here although the stage is not local"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be imported, and change nothing"
    )
    parser.add_argument(
        "--export", action="store_true", help="write what Superset has now to dashboards/assets, and end"
    )
    parser.add_argument(
        "--login", metavar="SHOP", help="create a user who sees this shop only, print it, and end"
    )
    args = parser.parse_args(arguments)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    stage, say = read_stage(args.stage), Progress()
    url = os.environ.get("SUPERSET_URL", "")
    server = Server(state_folder(stage), args.port)
    if args.dry_run:
        return _dry_run(stage, url or server.url)
    if not url and stage.name != "local" and not args.serve:
        raise DeployError(
            f"SUPERSET_URL is not set. Set it to the Superset or the Preset workspace that is to show stage {stage.name}, "
            "with its login (python -m dashboards --help). Or run a Superset on this machine against the stage: "
            f"make dashboards STAGE={stage.name} ARGS=--serve"
        )
    if args.export or args.login:
        superset = connected(url, os.environ) if url else _own(server)
        return _export(superset) if args.export else _add_login(superset, args.login)
    login = reader(stage, say)
    if url:
        superset = connected(url, os.environ)
        post(superset, login, stage, say)
        return 0
    return _serve(server, login, stage, say)


def state_folder(stage: Stage) -> Path:
    """Return the folder of this machine's Superset for a stage, beside the state of the local stack."""
    root = Path(os.environ.get("TUGBOAT_LOCAL_STATE", REPOSITORY / ".local"))
    return root / ("superset" if stage.name == "local" else f"superset-{stage.name}")


def reader(stage: Stage, say: Say) -> Credentials:
    """Return the login of dashboards, after a query with it.

    Raises:
        DeployError: the stage does not run, has no login, or has no tables yet.
    """
    import boto3

    session = boto3.Session(region_name=stage.region)
    try:
        account_id = account_of(stage, session.client("sts"))
        login = reader_login.ensure(stage, account_id, session.client("secretsmanager"), say)
    except (EndpointConnectionError, DeployError) as error:
        if isinstance(error, DeployError) and "Could not connect" not in str(error):
            raise
        raise DeployError(
            f"stage {stage.name} does not answer. Start it with make up, and fill it with make demo. "
            "Then run make dashboards again"
        ) from error
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise DeployError(
            f"stage {stage.name} has no Snowflake login: deploy it first (make demo here, docs/deploy.md elsewhere)"
        ) from error
    say(
        f"reading {login.database} as {login.user} with role {login.role}: {_days(login, stage):,} days of shops"
    )
    return login


def _days(login: Credentials, stage: Stage) -> int:
    """Return the rows of MARTS.DAILY_KPIS, as a proof that the login works and that there is something to show."""
    from snowflake.connector.errors import ProgrammingError

    fill = (
        "run make demo, then make dashboards again" if stage.name == "local" else "run the pipeline: make run"
    )
    try:
        with warehouse_setup.connection(login) as connection:
            (count,) = warehouse.one(connection, ROWS)
    except ProgrammingError as error:
        if error.errno != DOES_NOT_EXIST:
            raise DeployError(f"user {login.user} cannot read {login.database}: {error.msg}") from error
        count = 0
    except SetUpError as error:
        raise DeployError(
            f"{error}\nFor a new key: python -m deploy.reader_login --stage {stage.name}"
        ) from error
    if not count:
        raise DeployError(f"{login.database} has no figures yet, so every board would be empty: {fill}")
    return int(count)


def connected(url: str, variables: Mapping[str, str]) -> Superset:
    """Return a session of another Superset, with the login that the environment holds.

    Raises:
        DeployError: there is no login, or it is refused.
    """
    superset = Superset(url)
    if variables.get("PRESET_TOKEN"):
        superset.log_in_to_preset(variables["PRESET_TOKEN"], variables.get("PRESET_SECRET", ""))
    elif variables.get("SUPERSET_TOKEN"):
        superset.use_token(variables["SUPERSET_TOKEN"])
    elif variables.get("SUPERSET_USER"):
        superset.log_in(variables["SUPERSET_USER"], variables.get("SUPERSET_PASSWORD", ""))
    else:
        raise DeployError(
            f"there is no login for {url}: set SUPERSET_USER and SUPERSET_PASSWORD, or SUPERSET_TOKEN, or PRESET_TOKEN and "
            "PRESET_SECRET, then run the same command again"
        )
    return superset


def _own(server: Server) -> Superset:
    """Return a session of the Superset that runs on this machine."""
    superset = Superset(server.url)
    login = server.login()
    try:
        superset.log_in(login.user, login.password)
    except SupersetError as error:
        raise DeployError(f"{error}\nIs it running? Start it in another terminal: make dashboards") from error
    return superset


def post(superset: Superset, login: Credentials, stage: Stage, say: Say) -> None:
    """Import the bundle, then create the role and the rule of each shop.

    Raises:
        SupersetError: Superset refuses the bundle.
    """
    own = assets.read()
    superset.import_assets(assets.bundle(own, login), assets.secrets(login))
    say(f"imported {_counts(own)} into {superset.url}")
    try:
        roles = access.sync(superset, own, stage.shops)
    except SupersetError as error:
        # Preset keeps roles elsewhere. Without a role, only administrators see the boards, so nothing leaks.
        if error.status not in (403, 404):
            raise
        say(
            "this Superset has no interface for roles: create them by hand (docs/dashboards.md). "
            "Until then, only administrators see rows"
        )
        return
    say(f"{len(roles)} shops have a role that sees their own rows only: {', '.join(roles)}")


def _serve(server: Server, login: Credentials, stage: Stage, say: Say) -> int:
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with server.running(say) as process:
            post(_own(server), login, stage, say)
            own = server.login()
            print(f"\n{server.url}   user {own.user}, password {own.password}   (Ctrl-C ends it)")
            for dashboard in _of_kind(assets.read(), "dashboards"):
                print(
                    f"  {server.url}/superset/dashboard/{dashboard['slug']}/   {dashboard['dashboard_title']}"
                )
            sys.stdout.flush()
            process.wait()
            raise DeployError(f"Superset ended. Its log is {server.log}")
    except KeyboardInterrupt:
        print("\nstopped; boards and logins stay in", server.state)
    return 0


def _interrupted(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _export(superset: Superset) -> int:
    changed = assets.write(assets.unpacked(superset.export_assets(), assets.read()))
    print("\n".join(changed) or "dashboards/assets holds what Superset has")
    return 0


def _add_login(superset: Superset, shop: str) -> int:
    name, password = access.add_login(superset, shop)
    print(f"{superset.url}   user {name}, password {password}   sees the shop {shop} only")
    return 0


def _dry_run(stage: Stage, url: str) -> int:
    own = assets.read()
    print(f"would import {_counts(own)} into {url}, and replace what has these uuids there:")
    for path, asset in own.items():
        print(f"  {asset['uuid']}  {path}")
    print(f"would read Snowflake with the secret {stage.reader_secret_name}, and create it if it is missing")
    words = access.declared()
    for shop in stage.shops:
        print(
            f"would let the role {words['role'].format(shop=shop)!r} read rows with {words['clause'].format(shop=shop)}"
        )
    return 0


def _of_kind(own: Mapping[str, assets.Asset], kind: str) -> list[assets.Asset]:
    return [asset for path, asset in own.items() if assets.kind_of(path) == kind]


def _counts(own: Mapping[str, assets.Asset]) -> str:
    return ", ".join(f"{len(_of_kind(own, kind))} {kind}" for kind in assets.KINDS[1:])


if __name__ == "__main__":
    sys.exit(main())
