"""Generated from event.schema.json by functions/collect/generate_validator.py: change the schema, not this file."""

# ruff: noqa
# mypy: ignore-errors
import re
from functions.collect.violation import SchemaViolation


REGEX_PATTERNS = {
    '^[A-Z]{3}$': re.compile('^[A-Z]{3}\\Z'),
    '^[^\\x00-\\x1f\\x7f]{1,64}$': re.compile('^[^\\x00-\\x1f\\x7f]{1,64}\\Z')
}

NoneType = type(None)

def validate_https___tugboat_example_schemas_event_1(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (dict)):
        raise SchemaViolation("" + (name_prefix or "data") + " must be object")
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['schema_version', 'event_id', 'event_name', 'shop_id', 'client_id', 'session_id', 'client_time_ms']) - data.keys()
        if data__missing_keys:
            raise SchemaViolation("" + (name_prefix or "data") + " must contain ")
        data_keys = data.keys()
        if "schema_version" in data_keys:
            data__schemaversion = data["schema_version"]
            if not isinstance(data__schemaversion, (int)) and not (isinstance(data__schemaversion, float) and data__schemaversion.is_integer()) or isinstance(data__schemaversion, bool):
                raise SchemaViolation("" + "data.schema_version must be integer")
            if not (isinstance(data__schemaversion, (int, float)) and not isinstance(data__schemaversion, bool) and data__schemaversion == 1):
                raise SchemaViolation("" + "data.schema_version must be one of [1]")
        if "event_id" in data_keys:
            data__eventid = data["event_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__eventid, custom_formats, "data.event_id")
        if "event_name" in data_keys:
            data__eventname = data["event_name"]
            if not isinstance(data__eventname, (str)):
                raise SchemaViolation("" + "data.event_name must be string")
            if not (isinstance(data__eventname, str) and data__eventname == 'page_view' or isinstance(data__eventname, str) and data__eventname == 'view_item' or isinstance(data__eventname, str) and data__eventname == 'view_item_list' or isinstance(data__eventname, str) and data__eventname == 'select_item' or isinstance(data__eventname, str) and data__eventname == 'search' or isinstance(data__eventname, str) and data__eventname == 'add_to_cart' or isinstance(data__eventname, str) and data__eventname == 'remove_from_cart' or isinstance(data__eventname, str) and data__eventname == 'begin_checkout' or isinstance(data__eventname, str) and data__eventname == 'purchase' or isinstance(data__eventname, str) and data__eventname == 'refund' or isinstance(data__eventname, str) and data__eventname == 'recommendation_impression' or isinstance(data__eventname, str) and data__eventname == 'recommendation_click'):
                raise SchemaViolation("" + "data.event_name must be one of ['page_view', 'view_item', 'view_item_list', 'select_item', 'search', 'add_to_cart', 'remove_from_cart', 'begin_checkout', 'purchase', 'refund', 'recommendation_impression', 'recommendation_click']")
        if "shop_id" in data_keys:
            data__shopid = data["shop_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__shopid, custom_formats, "data.shop_id")
        if "client_id" in data_keys:
            data__clientid = data["client_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__clientid, custom_formats, "data.client_id")
        if "session_id" in data_keys:
            data__sessionid = data["session_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__sessionid, custom_formats, "data.session_id")
        if "client_time_ms" in data_keys:
            data__clienttimems = data["client_time_ms"]
            if not isinstance(data__clienttimems, (int)) and not (isinstance(data__clienttimems, float) and data__clienttimems.is_integer()) or isinstance(data__clienttimems, bool):
                raise SchemaViolation("" + "data.client_time_ms must be integer")
            if isinstance(data__clienttimems, (int, float)) and not isinstance(data__clienttimems, bool):
                if data__clienttimems < 946684800000:
                    raise SchemaViolation("" + "data.client_time_ms must be bigger than or equal to 946684800000")
                if data__clienttimems > 4102444800000:
                    raise SchemaViolation("" + "data.client_time_ms must be smaller than or equal to 4102444800000")
        if "items" in data_keys:
            data__items = data["items"]
            if not isinstance(data__items, (list, tuple)):
                raise SchemaViolation("" + "data.items must be array")
            data__items_is_list = isinstance(data__items, (list, tuple))
            if data__items_is_list:
                data__items_len = len(data__items)
                if data__items_len > 200:
                    raise SchemaViolation("" + "data.items must contain less than or equal to 200 items")
                for data__items_x, data__items_item in enumerate(data__items):
                    if not isinstance(data__items_item, (dict)):
                        raise SchemaViolation("" + f"data.items[{data__items_x}]" + " must be object")
                    data__items_item_is_dict = isinstance(data__items_item, dict)
                    if data__items_item_is_dict:
                        data__items_item__missing_keys = set(['item_id']) - data__items_item.keys()
                        if data__items_item__missing_keys:
                            raise SchemaViolation("" + f"data.items[{data__items_x}]" + " must contain ")
                        data__items_item_keys = data__items_item.keys()
                        if "item_id" in data__items_item_keys:
                            data__items_item__itemid = data__items_item["item_id"]
                            validate_https___tugboat_example_schemas_event_1__definitions_id(data__items_item__itemid, custom_formats, f"data.items[{data__items_x}].item_id")
                        if "item_name" in data__items_item_keys:
                            data__items_item__itemname = data__items_item["item_name"]
                            validate_https___tugboat_example_schemas_event_1__definitions_text(data__items_item__itemname, custom_formats, f"data.items[{data__items_x}].item_name")
                        if "item_category" in data__items_item_keys:
                            data__items_item__itemcategory = data__items_item["item_category"]
                            validate_https___tugboat_example_schemas_event_1__definitions_text(data__items_item__itemcategory, custom_formats, f"data.items[{data__items_x}].item_category")
                        if "item_brand" in data__items_item_keys:
                            data__items_item__itembrand = data__items_item["item_brand"]
                            validate_https___tugboat_example_schemas_event_1__definitions_text(data__items_item__itembrand, custom_formats, f"data.items[{data__items_x}].item_brand")
                        if "price" in data__items_item_keys:
                            data__items_item__price = data__items_item["price"]
                            validate_https___tugboat_example_schemas_event_1__definitions_amount(data__items_item__price, custom_formats, f"data.items[{data__items_x}].price")
                        if "quantity" in data__items_item_keys:
                            data__items_item__quantity = data__items_item["quantity"]
                            if not isinstance(data__items_item__quantity, (int)) and not (isinstance(data__items_item__quantity, float) and data__items_item__quantity.is_integer()) or isinstance(data__items_item__quantity, bool):
                                raise SchemaViolation("" + f"data.items[{data__items_x}].quantity" + " must be integer")
                            if isinstance(data__items_item__quantity, (int, float)) and not isinstance(data__items_item__quantity, bool):
                                if data__items_item__quantity < 0:
                                    raise SchemaViolation("" + f"data.items[{data__items_x}].quantity" + " must be bigger than or equal to 0")
                                if data__items_item__quantity > 1000000:
                                    raise SchemaViolation("" + f"data.items[{data__items_x}].quantity" + " must be smaller than or equal to 1000000")
                        if "receipt" in data__items_item_keys:
                            data__items_item__receipt = data__items_item["receipt"]
                            validate_https___tugboat_example_schemas_event_1__definitions_receipt(data__items_item__receipt, custom_formats, f"data.items[{data__items_x}].receipt")
        if "page_location" in data_keys:
            data__pagelocation = data["page_location"]
            validate_https___tugboat_example_schemas_event_1__definitions_address(data__pagelocation, custom_formats, "data.page_location")
        if "page_referrer" in data_keys:
            data__pagereferrer = data["page_referrer"]
            validate_https___tugboat_example_schemas_event_1__definitions_address(data__pagereferrer, custom_formats, "data.page_referrer")
        if "search_term" in data_keys:
            data__searchterm = data["search_term"]
            validate_https___tugboat_example_schemas_event_1__definitions_text(data__searchterm, custom_formats, "data.search_term")
        if "item_list_id" in data_keys:
            data__itemlistid = data["item_list_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__itemlistid, custom_formats, "data.item_list_id")
        if "transaction_id" in data_keys:
            data__transactionid = data["transaction_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__transactionid, custom_formats, "data.transaction_id")
        if "value" in data_keys:
            data__value = data["value"]
            validate_https___tugboat_example_schemas_event_1__definitions_amount(data__value, custom_formats, "data.value")
        if "currency" in data_keys:
            data__currency = data["currency"]
            if not isinstance(data__currency, (str)):
                raise SchemaViolation("" + "data.currency must be string")
            if isinstance(data__currency, str):
                if not REGEX_PATTERNS['^[A-Z]{3}$'].search(data__currency):
                    raise SchemaViolation("" + "data.currency must match pattern ^[A-Z]{3}$")
        if "user_id" in data_keys:
            data__userid = data["user_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__userid, custom_formats, "data.user_id")
        if "recommendation_id" in data_keys:
            data__recommendationid = data["recommendation_id"]
            validate_https___tugboat_example_schemas_event_1__definitions_id(data__recommendationid, custom_formats, "data.recommendation_id")
        if "receipt" in data_keys:
            data__receipt = data["receipt"]
            validate_https___tugboat_example_schemas_event_1__definitions_receipt(data__receipt, custom_formats, "data.receipt")
    return data

def validate_https___tugboat_example_schemas_event_1__definitions_address(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (str)):
        raise SchemaViolation("" + (name_prefix or "data") + " must be string")
    if isinstance(data, str):
        data_len = len(data)
        if data_len > 2000:
            raise SchemaViolation("" + (name_prefix or "data") + " must be shorter than or equal to 2000 characters")
    return data

def validate_https___tugboat_example_schemas_event_1__definitions_receipt(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (str)):
        raise SchemaViolation("" + (name_prefix or "data") + " must be string")
    if isinstance(data, str):
        data_len = len(data)
        if data_len > 2000:
            raise SchemaViolation("" + (name_prefix or "data") + " must be shorter than or equal to 2000 characters")
    return data

def validate_https___tugboat_example_schemas_event_1__definitions_amount(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (int, float)) or isinstance(data, bool):
        raise SchemaViolation("" + (name_prefix or "data") + " must be number")
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        if data < -1000000000:
            raise SchemaViolation("" + (name_prefix or "data") + " must be bigger than or equal to -1000000000")
        if data > 1000000000:
            raise SchemaViolation("" + (name_prefix or "data") + " must be smaller than or equal to 1000000000")
    return data

def validate_https___tugboat_example_schemas_event_1__definitions_text(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (str)):
        raise SchemaViolation("" + (name_prefix or "data") + " must be string")
    if isinstance(data, str):
        data_len = len(data)
        if data_len > 500:
            raise SchemaViolation("" + (name_prefix or "data") + " must be shorter than or equal to 500 characters")
    return data

def validate_https___tugboat_example_schemas_event_1__definitions_id(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (str)):
        raise SchemaViolation("" + (name_prefix or "data") + " must be string")
    if isinstance(data, str):
        if not REGEX_PATTERNS['^[^\\x00-\\x1f\\x7f]{1,64}$'].search(data):
            raise SchemaViolation("" + (name_prefix or "data") + " must match pattern ^[^\\x00-\\x1f\\x7f]{1,64}$")
    return data

validate = validate_https___tugboat_example_schemas_event_1
