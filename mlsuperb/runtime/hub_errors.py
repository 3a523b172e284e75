"""What goes wrong with the Hugging Face hub."""

from __future__ import annotations


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises where it does not get what it asks for; its HTTP client has been another in other versions."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    of_client = (
        kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError" and issubclass(kind, Exception)
    )
    return (LocalEntryNotFoundError, HFValidationError, OSError, *of_client)
