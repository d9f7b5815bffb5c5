"""List the clients of a shop that the model scores highest for an item: who should get a mail about it.

The scores are those of the newest batch, before any rule. Of several items, the one with the higher score counts.
A client is found if the item is among its 100 best.
"""

import sys
from pathlib import Path

import boto3

from deploy.batch.lists import about, reader, segment, write_csv, write_rows
from deploy.command import DeployError, exit_status, stage_parser
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import account_of, read_stage

HEADER = ("user_id", "client_id", "item_id", "score", "last_event")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        "deploy.batch.segment", __doc__, "--stage dev --item boot-7 -k 1000 --export boots.csv"
    )
    add_shop(parser)
    parser.add_argument(
        "--item", action="append", required=True, help="an item id; repeat it for a list of items"
    )
    parser.add_argument("-k", type=int, default=1000, help="clients at most (default: %(default)s)")
    parser.add_argument(
        "--users-only", action="store_true", help="one row per user id, and no client without one"
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="write a CSV file (default: print it)")
    args = parser.parse_args(arguments)
    if args.k < 1:
        parser.error("argument -k: use 1 or more")
    if not all(args.item):
        parser.error("argument --item: the id is empty: name one by ITEM=id")

    def run() -> int:
        stage = read_stage(args.stage)
        shop = chosen_shop(stage, args.shop)
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        with reader(stage, account_id, session.client("secretsmanager")) as connected:
            newest = about(connected, shop, stage)
            rows = segment(connected, shop, args.item, args.k, args.users_only)
            count = (
                write_csv(args.export, HEADER, rows) if args.export else write_rows(sys.stdout, HEADER, rows)
            )
        items = ", ".join(args.item)
        print(
            f"{newest}\n{count:,} clients for {items}" + (f" in {args.export}" if args.export else ""),
            file=sys.stderr,
        )
        if not count:
            raise DeployError(
                f"no client has {items} among its 100 best items: check the id, or make batch again"
            )
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
