"""The exception that the generated validator raises."""

from functions.platform.errors import Reason


class SchemaViolation(ValueError):
    """The event breaks its schema. The message begins with the field's path from the event's root, `data`."""

    @property
    def field(self) -> str:
        """The offending field, such as `items[0].item_id`; empty for the event as a whole."""
        return str(self).split(" ", 1)[0].removeprefix("data").lstrip(".")

    @property
    def reason(self) -> Reason:
        """The machine-readable reason of the refusal."""
        if str(self).rstrip().endswith("must contain"):
            return Reason.FIELD_MISSING
        if self.field == "event_name":
            return Reason.UNKNOWN_EVENT_NAME
        if self.field == "schema_version":
            return Reason.UNKNOWN_SCHEMA_VERSION
        return Reason.FIELD_INVALID
