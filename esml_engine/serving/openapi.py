"""`POST /score` in the endpoint's OpenAPI document, from the live model's signature."""

from __future__ import annotations

from typing import Any

from esml_engine.scored.facts import stored_type
from esml_engine.serving.scorer import Scorer

_JSON_TYPES = {
    "int64": "integer",
    "double": "number",
    "bool": "boolean",
    "string": "string",
    "timestamp": "string",
}
_REFUSALS = {
    "400": "a column is wrong: the message names it and says how",
    "401": "the key is missing or wrong",
    "409": "the request id belongs to another body",
    "413": "too many rows or bytes",
    "429": "too many requests are under way",
    "503": "no model is ready",
    "507": "the disk under the ledger is full: the answer could not be kept",
}


def with_score(document: dict[str, Any], scorer: Scorer | None) -> dict[str, Any]:
    """The document with `POST /score` in it."""
    columns: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    example: dict[str, Any] = {}
    if scorer is not None:
        signature = [{"name": c["name"], "type": c["type"]} for c in scorer.model.signature]
        names = [c["name"] for c in signature]
        columns["description"] = "; ".join(
            f"{c['name']}: {_JSON_TYPES[stored_type(c['type'])]}" for c in signature
        )
        columns["items"]["enum"] = names
        example = {"input_data": {"columns": names, "data": [[scorer.example[name] for name in names]]}}
    data = {"type": "array", "items": {"type": "array", "items": {}}}
    body = {
        "type": "object",
        "required": ["input_data"],
        "properties": {
            "input_data": {
                "type": "object",
                "required": ["columns", "data"],
                "properties": {"columns": columns, "data": data},
            }
        },
    }
    answer = {
        "type": "object",
        "required": ["predictions", "model_version", "request_id"],
        "properties": {
            "predictions": {"type": "array", "items": {}},
            "probabilities": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "number"}},
            },
            "low": {"type": "array", "items": {"type": "number"}},
            "high": {"type": "array", "items": {"type": "number"}},
            "stale": {
                "type": "boolean",
                "description": "a forecast filled timestamps that were not asked for",
            },
            "model_version": {"type": "integer"},
            "request_id": {"type": "string"},
        },
    }
    header = {"in": "header", "required": False, "schema": {"type": "string"}}
    operation = {
        "summary": "Score rows",
        "security": [{"key": []}],
        "parameters": [
            {
                **header,
                "name": "x-request-id",
                "description": "sent again, it gives the same answer and no second row",
            },
            {**header, "name": "x-caller-id", "description": "who asks; `unknown` when absent"},
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": example}},
        },
        "responses": {
            "200": {
                "description": "one prediction a row",
                "content": {"application/json": {"schema": answer}},
            },
            **{status: {"description": text} for status, text in _REFUSALS.items()},
        },
    }
    components = {
        **document.get("components", {}),
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    return {
        **document,
        "components": components,
        "paths": {**document["paths"], "/score": {"post": operation}},
    }
