"""Editing operations."""

from editenv.tools.carry_out import TASKS as OPERATIONS
from editenv.tools.carry_out import Operation
from editenv.tools.carry_out import carry_out as apply_operation
from editenv.tools.masks import value_masks
from editenv.tools.operation import OperationParts, in_words, operation_parts

__all__ = [
    "OPERATIONS",
    "Operation",
    "OperationParts",
    "apply_operation",
    "in_words",
    "operation_parts",
    "value_masks",
]
