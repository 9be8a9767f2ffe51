"""Schemas of what other systems read, written after their documentation, and stricter."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import xmlschema

Schema = dict[str, Any]

_TEXT_FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
_VISIBILITY = {"enum": ["visible", "hidden", "after_due_date", "after_published"]}
_TEXT = {"type": "string", "pattern": r"^[^\r]*$"}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    properties = required | (optional or {})
    return {
        "type": "object", "properties": properties, "required": [*required],
        "additionalProperties": False,
    }  # fmt: skip


GRADESCOPE = _object(
    {
        "score": {"type": "number", "minimum": 0},
        "tests": {"type": "array", "items": _object(
            {"name": _TEXT, "score": {"type": "number"}, "max_score": {"type": "number"}},
            {
                "status": {"enum": ["passed", "failed"]}, "name_format": _TEXT_FORMAT,
                "number": _TEXT, "output": _TEXT, "output_format": _TEXT_FORMAT,
                "tags": {"type": "array", "items": _TEXT}, "visibility": _VISIBILITY,
                "extra_data": {"type": "object"},
            },
        )},
    },
    {
        "execution_time": {"type": "number"}, "output": _TEXT, "output_format": _TEXT_FORMAT,
        "test_output_format": _TEXT_FORMAT, "test_name_format": _TEXT_FORMAT,
        "visibility": _VISIBILITY, "stdout_visibility": _VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array", "items": _object(
            {"name": _TEXT, "value": {"type": ["number", "string"]}},
            {"order": {"enum": ["asc", "desc"]}},
        )},
    },
)  # fmt: skip

PRAIRIELEARN = _object(
    {"gradable": {"type": "boolean"}},
    {
        "score": {"type": "number", "minimum": 0, "maximum": 1}, "message": _TEXT, "output": _TEXT,
        "format_errors": {"type": "array", "items": _TEXT, "minItems": 1},
        "tests": {"type": "array", "items": _object(
            {"name": _TEXT, "points": {"type": "number"}, "max_points": {"type": "number"}},
            {"description": _TEXT, "message": _TEXT, "output": _TEXT},
        )},
    },
)  # fmt: skip
PRAIRIELEARN["if"] = {"properties": {"gradable": {"const": True}}}
PRAIRIELEARN["then"] = {"required": ["score"], "not": {"required": ["format_errors"]}}
PRAIRIELEARN["else"] = {"required": ["format_errors"], "not": {"required": ["score"]}}

_NAME = {"type": "string", "minLength": 1}
_POINTS = {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_RESULT = {"test-name": _NAME, "passed": {"type": "boolean"}, "score": _POINTS,
           "max-score": _POINTS}  # fmt: skip
CLASSROOM50 = _object(
    {
        "schema": {"const": "classroom50/result/v1"}, "classroom": _NAME, "assignment": _NAME,
        "assignment_type": {"enum": ["individual", "group", "team"]}, "owner": _NAME,
        "submission": {"type": "string", "pattern": "^submit/"}, "commit": _NAME,
        "release": _NAME, "review": _NAME, "datetime": _TIME, "score": _POINTS,
        "max-score": _POINTS,
        "tests": {"type": "array", "items": _object(_RESULT, {"output": _TEXT})},
    },
    {"graded_at": _TIME, "submitted_by": _object({"username": _NAME})},
)  # fmt: skip

# What pytest writes as `xunit2`, with the properties of a case, which that format leaves out.
_PROPERTIES = """
  <xs:element name="properties"><xs:complexType><xs:sequence>
    <xs:element name="property" maxOccurs="unbounded"><xs:complexType>
      <xs:attribute name="name" type="xs:string" use="required"/>
      <xs:attribute name="value" type="xs:string" use="required"/>
    </xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>"""
_ENDS = "".join(
    f"""
  <xs:element name="{name}"><xs:complexType mixed="true">
    <xs:attribute name="message" type="xs:string"/><xs:attribute name="type" type="xs:string"/>
  </xs:complexType></xs:element>"""
    for name in ("skipped", "error", "failure")
)
JUNIT = f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{_PROPERTIES}{_ENDS}
  <xs:element name="testcase"><xs:complexType><xs:sequence>
    <xs:element ref="properties" minOccurs="0"/>
    <xs:choice minOccurs="0" maxOccurs="unbounded">
      <xs:element ref="skipped"/><xs:element ref="error"/><xs:element ref="failure"/>
      <xs:element name="system-out" type="xs:string"/>
      <xs:element name="system-err" type="xs:string"/>
    </xs:choice></xs:sequence>
    <xs:attribute name="classname" type="xs:string" use="required"/>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="time" type="xs:decimal"/>
  </xs:complexType></xs:element>
  <xs:element name="testsuite"><xs:complexType><xs:sequence>
    <xs:element ref="properties" minOccurs="0"/>
    <xs:element ref="testcase" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="failures" type="xs:nonNegativeInteger"/>
    <xs:attribute name="errors" type="xs:nonNegativeInteger"/>
    <xs:attribute name="skipped" type="xs:nonNegativeInteger"/>
    <xs:attribute name="time" type="xs:decimal"/>
    <xs:attribute name="timestamp" type="xs:dateTime"/>
    <xs:attribute name="hostname" type="xs:string"/>
  </xs:complexType></xs:element>
  <xs:element name="testsuites"><xs:complexType><xs:sequence>
    <xs:element ref="testsuite" maxOccurs="unbounded"/></xs:sequence>
    <xs:attribute name="name" type="xs:string"/>
  </xs:complexType></xs:element>
</xs:schema>"""


def check(value: object, schema: Schema) -> None:
    """Raise ValidationError where a value is not as the schema says."""
    jsonschema.Draft202012Validator(schema).validate(value)


def check_xml(text: str, schema: str) -> None:
    """Raise XMLSchemaValidationError where a document is not as the schema says."""
    xmlschema.XMLSchema(io.StringIO(schema)).validate(io.StringIO(text))


def read(path: Path) -> Schema:
    """Return the object in a JSON file."""
    value = json.loads(path.read_bytes())
    assert isinstance(value, dict)
    return value
