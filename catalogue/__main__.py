"""Import a catalogue feed as the whole catalogue of a shop: Merchant Center, Shopify or WooCommerce. Or import changes.

The format is recognized by the file's content. The same feed twice is imported once.
Recommendations follow within 5 minutes: what is out of stock or missing is not shown. The next run of the pipeline loads
the feed into the warehouse.

A file of JSON Lines changes only the products and fields that it states, as PUT /catalogue does (docs/catalogue.md):
    {"item_id": "boot-7", "availability": "out_of_stock"}

Ids must be those of the shop's events. --item-id chooses among the feed's:
    merchant-center  id (default) or group, the item_group_id
    shopify          sku (default), handle, or variant-id (a column that some export apps add)
    woocommerce      id (default), sku, or parent, the id of a variation's product
Rows with the same group, handle or parent become one product, with the lowest price and the best availability.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import boto3

from catalogue.changes import import_changes, is_changes
from catalogue.formats import FORMATS, Options, recognized
from catalogue.imports import Feed, FeedRefused, Imported, ids_by_choice, import_feed
from catalogue.known_ids import compare, event_items
from catalogue.rows import FeedUnreadable
from catalogue.values import CURRENCY
from deploy.command import DeployError, exit_status
from deploy.shop_option import require_shop
from deploy.stages import Stage, account_of, read_stage
from functions.platform import warehouse

EXAMPLE = "python -m catalogue products_export.csv --shop demo --currency EUR --stage dev"


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    made = argparse.ArgumentParser(
        prog="python -m catalogue",
        description=__doc__,
        epilog=f"example: {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("file", type=Path, help="the feed or the changes, also gzipped")
    made.add_argument("--shop", required=True, metavar="ID", help="the shop_id of the shop's events")
    made.add_argument("--stage", default="local", help="a stage of deploy/stages.toml (default %(default)s)")
    made.add_argument("--format", choices=sorted(FORMATS), help="default: recognized by the content")
    made.add_argument("--item-id", metavar="CHOICE", help="which id the events have; see above")
    made.add_argument(
        "--currency", metavar="CODE", help="of prices that name none, such as EUR; needed for CSV of shops"
    )
    made.add_argument(
        "--shop-url", metavar="URL", help="the shop's address, for the product pages of Shopify feeds"
    )
    made.add_argument("--encoding", help="of a text feed (default: UTF-8, or by its byte order mark)")
    made.add_argument(
        "--max-rejects",
        type=float,
        default=10.0,
        metavar="PERCENT",
        help="refuse the feed if more rows are rejected (default %(default)s)",
    )
    made.add_argument(
        "--allow-removals",
        action="store_true",
        help="import a feed with less than half of the products before",
    )
    made.add_argument("--dry-run", action="store_true", help="read and count only; needs no login")
    made.add_argument(
        "--check-ids",
        action="store_true",
        help="only report, per --item-id, the share of the last week's event item ids that the feed has",
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parser().parse_args(arguments)

    def run() -> int:
        # Products of a misspelt shop would be written, and no carousel would ever show them.
        stage = read_stage(options.stage)
        require_shop(stage, options.shop)
        if options.file == Path():
            raise DeployError("catalogue: name the feed: FILE=products.xml")
        try:
            if is_changes(options.file):
                return _change(options, stage)
            feed = _feed(options)
            return _check_ids(feed, stage) if options.check_ids else _import(feed, options, stage)
        except (FeedUnreadable, FeedRefused) as error:
            raise DeployError(f"catalogue: {error}") from error

    return exit_status(run)


def _change(options: argparse.Namespace, stage: Stage) -> int:
    """Store the changes. The exit status is 1 if a line is refused."""
    if options.dry_run:
        lines, refused = import_changes(options.file, options.shop, None, "")
    else:
        session = boto3.Session(region_name=stage.region)
        bucket = stage.events_bucket(account_of(stage, session.client("sts")))
        lines, refused = import_changes(options.file, options.shop, session.client("s3"), bucket)
    for line in lines:
        print(line)
    if refused:
        print(
            f"catalogue: {refused:,} lines changed nothing. Correct them, and import them again.",
            file=sys.stderr,
        )
    return 1 if refused else 0


def _feed(options: argparse.Namespace) -> Feed:
    form = FORMATS[options.format] if options.format else recognized(options.file, options.encoding)
    item_id = options.item_id or form.item_ids[0]
    if item_id not in form.item_ids:
        raise FeedRefused(
            f"a {form.name} feed has no {item_id}: choose --item-id {' or '.join(form.item_ids)}"
        )
    currency = options.currency.upper() if options.currency else None
    if currency and not CURRENCY.fullmatch(currency):
        raise FeedRefused(f"--currency {options.currency} is no ISO 4217 code such as EUR")
    if options.shop_url and not options.shop_url.startswith(("https://", "http://")):
        raise FeedRefused(f"--shop-url {options.shop_url} is no address: write https://{options.shop_url}")
    how = Options(options.encoding, currency, options.shop_url)
    return Feed(options.file, form, options.shop, item_id, how, datetime.now(UTC))


def _import(feed: Feed, options: argparse.Namespace, stage: Stage) -> int:
    share = options.max_rejects / 100
    if options.dry_run:
        imported = import_feed(feed, share, None, "")
    else:
        session = boto3.Session(region_name=stage.region)
        bucket = stage.events_bucket(account_of(stage, session.client("sts")))
        s3 = session.client("s3")
        imported = import_feed(feed, share, s3, bucket, allow_removals=options.allow_removals)
    for line in summary(feed, imported, dry_run=options.dry_run):
        print(line)
    return 0


def summary(feed: Feed, imported: Imported, *, dry_run: bool = False) -> list[str]:
    """Return the outcome of an import in lines for a person."""
    counts = imported.counts
    lines = [
        f"{feed.path}: {feed.format.name}, item_id = {feed.item_id}",
        f"{counts.rows:,} rows = {counts.products:,} products + {counts.merged:,} merged + {counts.rejected:,} rejected",
    ]
    lines += [f"  {count:,} x {reason}" for reason, count in counts.reasons.most_common()]
    lines += [f"  line {row.line}: {row.reason}: {row.detail}" for row in imported.first_rejects]
    if imported.rejects_key:
        lines.append(f"rejected rows: {imported.rejects_key}")
    if dry_run:
        lines.append("dry run: nothing was written")
    elif imported.is_new:
        lines.append(f"written: {imported.key}; recommendations follow within 5 minutes")
    else:
        lines.append(f"nothing to write: {imported.key} has the same products")
    return lines


def _check_ids(feed: Feed, stage: Stage) -> int:
    """Print the comparison. The exit status is 1 if the chosen id covers less than half of the week's item events."""
    session = boto3.Session(region_name=stage.region)
    credentials = warehouse.read_credentials(session.client("secretsmanager"), stage.secret_name)
    with warehouse.connect(credentials) as connection:
        items = event_items(connection, feed.shop_id)
    if not items:
        print(f"shop {feed.shop_id} has no events with items in {stage.name} yet: run the pipeline first")
        return 1
    compared = compare(ids_by_choice(feed), items)
    for one in compared:
        print(
            f"--item-id {one.choice}: the feed has {one.known_items:,} of {one.items:,} item ids of the last week "
            f"({one.share:.1%}), and {one.known_events / one.events:.1%} of the item events"
        )
    chosen = next(one for one in compared if one.choice == feed.item_id)
    if chosen.known_events * 2 < chosen.events:
        print(f"{feed.item_id} is probably not the id of the events: choose another --item-id")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
