"""Generated from event.schema.json by contracts/generate_validator.py: change the schema, not this file."""

# ruff: noqa
# mypy: ignore-errors
import re

from functions.platform.events.violation import SchemaViolation

EVENT_FIELDS = frozenset(['schema_version', 'event_id', 'event_name', 'shop_id', 'client_id', 'session_id', 'client_time_ms', 'items', 'page_location', 'page_referrer', 'search_term', 'item_list_id', 'transaction_id', 'value', 'currency', 'user_id', 'recommendation_id', 'receipt'])
ITEM_FIELDS = frozenset(['item_id', 'item_name', 'item_category', 'item_brand', 'price', 'quantity', 'receipt'])
REQUIRED_FIELDS = frozenset(['schema_version', 'event_id', 'event_name', 'shop_id', 'client_id', 'session_id', 'client_time_ms'])
_matches_1 = re.compile('^[^\\x00-\\x1f\\x7f]{1,64}\\Z').search
_matches_2 = re.compile('^[A-Z]{3}\\Z').search


def validate(data):
    if type(data) is not dict:
        raise SchemaViolation('data must be object')
    try:
        data_schema_version = data["schema_version"]
        data_event_id = data["event_id"]
        data_event_name = data["event_name"]
        data_shop_id = data["shop_id"]
        data_client_id = data["client_id"]
        data_session_id = data["session_id"]
        data_client_time_ms = data["client_time_ms"]
    except KeyError:
        raise SchemaViolation('data must contain ') from None
    if type(data_schema_version) is not int and not (type(data_schema_version) is float and data_schema_version.is_integer()):
        raise SchemaViolation('data.schema_version must be integer')
    if data_schema_version not in {1}:
        raise SchemaViolation('data.schema_version must be one of [1]')
    if type(data_event_id) is not str:
        raise SchemaViolation('data.event_id must be string')
    if not _matches_1(data_event_id):
        raise SchemaViolation('data.event_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if type(data_event_name) is not str:
        raise SchemaViolation('data.event_name must be string')
    if data_event_name not in {'page_view', 'view_item', 'view_item_list', 'select_item', 'search', 'add_to_cart', 'remove_from_cart', 'begin_checkout', 'purchase', 'refund', 'recommendation_impression', 'recommendation_click'}:
        raise SchemaViolation("data.event_name must be one of ['page_view', 'view_item', 'view_item_list', 'select_item', 'search', 'add_to_cart', 'remove_from_cart', 'begin_checkout', 'purchase', 'refund', 'recommendation_impression', 'recommendation_click']")
    if type(data_shop_id) is not str:
        raise SchemaViolation('data.shop_id must be string')
    if not _matches_1(data_shop_id):
        raise SchemaViolation('data.shop_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if type(data_client_id) is not str:
        raise SchemaViolation('data.client_id must be string')
    if not _matches_1(data_client_id):
        raise SchemaViolation('data.client_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if type(data_session_id) is not str:
        raise SchemaViolation('data.session_id must be string')
    if not _matches_1(data_session_id):
        raise SchemaViolation('data.session_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if type(data_client_time_ms) is not int and not (type(data_client_time_ms) is float and data_client_time_ms.is_integer()):
        raise SchemaViolation('data.client_time_ms must be integer')
    if data_client_time_ms < 946684800000:
        raise SchemaViolation('data.client_time_ms must be bigger than or equal to 946684800000')
    if data_client_time_ms > 4102444800000:
        raise SchemaViolation('data.client_time_ms must be smaller than or equal to 4102444800000')
    if "items" in data:
        data_items = data["items"]
        if type(data_items) is not list:
            raise SchemaViolation('data.items must be array')
        if len(data_items) > 200:
            raise SchemaViolation('data.items must contain less than or equal to 200 items')
        for at, item in enumerate(data_items):
            if type(item) is not dict:
                raise SchemaViolation(f"data.items[{at}] " 'must be object')
            try:
                item_item_id = item["item_id"]
            except KeyError:
                raise SchemaViolation(f"data.items[{at}] " 'must contain ') from None
            if type(item_item_id) is not str:
                raise SchemaViolation(f"data.items[{at}].item_id " 'must be string')
            if not _matches_1(item_item_id):
                raise SchemaViolation(f"data.items[{at}].item_id " 'must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
            if "item_name" in item:
                item_item_name = item["item_name"]
                if type(item_item_name) is not str:
                    raise SchemaViolation(f"data.items[{at}].item_name " 'must be string')
                if len(item_item_name) > 500:
                    raise SchemaViolation(f"data.items[{at}].item_name " 'must be shorter than or equal to 500 characters')
            if "item_category" in item:
                item_item_category = item["item_category"]
                if type(item_item_category) is not str:
                    raise SchemaViolation(f"data.items[{at}].item_category " 'must be string')
                if len(item_item_category) > 500:
                    raise SchemaViolation(f"data.items[{at}].item_category " 'must be shorter than or equal to 500 characters')
            if "item_brand" in item:
                item_item_brand = item["item_brand"]
                if type(item_item_brand) is not str:
                    raise SchemaViolation(f"data.items[{at}].item_brand " 'must be string')
                if len(item_item_brand) > 500:
                    raise SchemaViolation(f"data.items[{at}].item_brand " 'must be shorter than or equal to 500 characters')
            if "price" in item:
                item_price = item["price"]
                if type(item_price) is not int and type(item_price) is not float:
                    raise SchemaViolation(f"data.items[{at}].price " 'must be number')
                if item_price < -1000000000:
                    raise SchemaViolation(f"data.items[{at}].price " 'must be bigger than or equal to -1000000000')
                if item_price > 1000000000:
                    raise SchemaViolation(f"data.items[{at}].price " 'must be smaller than or equal to 1000000000')
            if "quantity" in item:
                item_quantity = item["quantity"]
                if type(item_quantity) is not int and not (type(item_quantity) is float and item_quantity.is_integer()):
                    raise SchemaViolation(f"data.items[{at}].quantity " 'must be integer')
                if item_quantity < 0:
                    raise SchemaViolation(f"data.items[{at}].quantity " 'must be bigger than or equal to 0')
                if item_quantity > 1000000:
                    raise SchemaViolation(f"data.items[{at}].quantity " 'must be smaller than or equal to 1000000')
            if "receipt" in item:
                item_receipt = item["receipt"]
                if type(item_receipt) is not str:
                    raise SchemaViolation(f"data.items[{at}].receipt " 'must be string')
                if len(item_receipt) > 2000:
                    raise SchemaViolation(f"data.items[{at}].receipt " 'must be shorter than or equal to 2000 characters')
    if "page_location" in data:
        data_page_location = data["page_location"]
        if type(data_page_location) is not str:
            raise SchemaViolation('data.page_location must be string')
        if len(data_page_location) > 2000:
            raise SchemaViolation('data.page_location must be shorter than or equal to 2000 characters')
    if "page_referrer" in data:
        data_page_referrer = data["page_referrer"]
        if type(data_page_referrer) is not str:
            raise SchemaViolation('data.page_referrer must be string')
        if len(data_page_referrer) > 2000:
            raise SchemaViolation('data.page_referrer must be shorter than or equal to 2000 characters')
    if "search_term" in data:
        data_search_term = data["search_term"]
        if type(data_search_term) is not str:
            raise SchemaViolation('data.search_term must be string')
        if len(data_search_term) > 500:
            raise SchemaViolation('data.search_term must be shorter than or equal to 500 characters')
    if "item_list_id" in data:
        data_item_list_id = data["item_list_id"]
        if type(data_item_list_id) is not str:
            raise SchemaViolation('data.item_list_id must be string')
        if not _matches_1(data_item_list_id):
            raise SchemaViolation('data.item_list_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if "transaction_id" in data:
        data_transaction_id = data["transaction_id"]
        if type(data_transaction_id) is not str:
            raise SchemaViolation('data.transaction_id must be string')
        if not _matches_1(data_transaction_id):
            raise SchemaViolation('data.transaction_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if "value" in data:
        data_value = data["value"]
        if type(data_value) is not int and type(data_value) is not float:
            raise SchemaViolation('data.value must be number')
        if data_value < -1000000000:
            raise SchemaViolation('data.value must be bigger than or equal to -1000000000')
        if data_value > 1000000000:
            raise SchemaViolation('data.value must be smaller than or equal to 1000000000')
    if "currency" in data:
        data_currency = data["currency"]
        if type(data_currency) is not str:
            raise SchemaViolation('data.currency must be string')
        if not _matches_2(data_currency):
            raise SchemaViolation('data.currency must match pattern ^[A-Z]{3}$')
    if "user_id" in data:
        data_user_id = data["user_id"]
        if type(data_user_id) is not str:
            raise SchemaViolation('data.user_id must be string')
        if not _matches_1(data_user_id):
            raise SchemaViolation('data.user_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if "recommendation_id" in data:
        data_recommendation_id = data["recommendation_id"]
        if type(data_recommendation_id) is not str:
            raise SchemaViolation('data.recommendation_id must be string')
        if not _matches_1(data_recommendation_id):
            raise SchemaViolation('data.recommendation_id must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$')
    if "receipt" in data:
        data_receipt = data["receipt"]
        if type(data_receipt) is not str:
            raise SchemaViolation('data.receipt must be string')
        if len(data_receipt) > 2000:
            raise SchemaViolation('data.receipt must be shorter than or equal to 2000 characters')
