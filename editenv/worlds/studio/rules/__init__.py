"""The rules."""

from editenv.worlds.studio.constraints import (
    CHANGES,
    RULES,
    AttributeRule,
    AvoidLook,
    Change,
    Except,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    Replace,
    Revoke,
    Rule,
    ScopedRule,
    Statement,
    binding,
    change_from_json,
    demanded_looks,
    in_force,
    is_impossible,
    open_looks,
    right_result,
    rule_from_json,
    rule_to_json,
    statement_to_json,
)
from editenv.worlds.studio.constraints import Verdict as EditCheck
from editenv.worlds.studio.constraints import decided as choose_open
from editenv.worlds.studio.constraints import freed as allowed_changes
from editenv.worlds.studio.constraints import judge as check_edit

__all__ = [
    "CHANGES",
    "RULES",
    "RULE_SAMPLERS",
    "AttributeRule",
    "AvoidLook",
    "Change",
    "EditCheck",
    "Except",
    "KeepEmpty",
    "LimitAlike",
    "LimitCount",
    "Protect",
    "Replace",
    "Revoke",
    "Rule",
    "ScopedRule",
    "Statement",
    "allowed_changes",
    "binding",
    "change_from_json",
    "check_edit",
    "choose_open",
    "demanded_looks",
    "in_force",
    "is_impossible",
    "open_looks",
    "right_result",
    "rule_from_json",
    "rule_to_json",
    "statement_to_json",
]


def __getattr__(name: str) -> object:
    from editenv.worlds.studio.statements import STATEMENTS

    return {"RULE_SAMPLERS": STATEMENTS}[name]
