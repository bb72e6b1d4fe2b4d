"""Tables of universes: members, lists, evidence, changes, conflicts."""

from __future__ import annotations

from quant_assets.schema.table import FETCHED, RUN, Column, Table

EVIDENCE_KINDS = ("listed", "interval", "added", "removed")
"""Kinds of statement about a membership: a source's lists had the security from one day to another,
it was a member from one day to another, it joined on a day, or it left on a day."""

CHANGE_KINDS = ("added", "removed", "renamed", "withdrawn")
"""Kinds of membership event; ``withdrawn`` takes back one whose day had not come."""

UNIVERSES = Table(
    "universes",
    "Named sets of securities.",
    (
        Column("universe", "VARCHAR", "Name, such as sp500."),
        Column("kind", "VARCHAR", "index, or custom where users decide.", required=False),
        Column("source", "VARCHAR", "The source of its members."),
        Column("passed_over", "VARCHAR", "Better sources that failed, and why.", required=False),
        Column("listed_on", "DATE", "Day of the latest list of its members.", required=False),
    ),
    key=("universe",),
)

MEMBERSHIP = Table(
    "universe_membership",
    "The members of a universe over time, each interval with its source.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("security_id", "INTEGER", "The member."),
        Column("effective_on", "DATE", "First session as a member (before the open)."),
        Column("removed_on", "DATE", "First session no longer a member.", required=False),
        Column("symbol", "VARCHAR", "The ticker under which the source listed it."),
        Column("announced_on", "DATE", "When the change was announced.", required=False),
        Column("detected_at", "TIMESTAMP", "When it was detected here.", provenance=True),
        Column("source", "VARCHAR", "The source."),
    ),
    key=("universe", "security_id", "effective_on"),
    revised=True,
)

MEMBERSHIP_LISTS = Table(
    "membership_lists",
    "Each day on which a source gave a list of members, and whether the list was accepted.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("source", "VARCHAR", "The source of the list."),
        Column("listed_on", "DATE", "Day of the list."),
        Column("accepted", "BOOLEAN", "Whether the list was accepted."),
        Column("trusted", "BOOLEAN", "Whether a user vouched for the list."),
        Column("members", "INTEGER", "Number of members listed."),
        Column("reason", "VARCHAR", "Why it was refused, or accepted in spite.", required=False),
        FETCHED,
        RUN,
    ),
    key=("universe", "source", "listed_on", "accepted"),
)

MEMBERSHIP_EVIDENCE = Table(
    "membership_evidence",
    "Each source's statements about each membership. The intervals of universe_membership are "
    "decided from these rows and the days of membership_lists, and from nothing else.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("source", "VARCHAR", "The source of the statement."),
        Column("kind", "VARCHAR", f"One of {', '.join(EVIDENCE_KINDS)}."),
        Column("security_id", "INTEGER", "The security."),
        Column("from_on", "DATE", "First day listed, first day a member, or day of the change."),
        Column("until_on", "DATE", "First day no longer listed or a member.", required=False),
        Column("symbol", "VARCHAR", "The security's ticker at the source."),
        Column("said_added_on", "DATE", "Day of joining, according to a list.", required=False),
        Column("reason", "VARCHAR", "Reason according to the source.", required=False),
        Column("reported_on", "DATE", "Day of the first list or page that has it.", required=False),
        RUN,
    ),
    key=("universe", "source", "kind", "security_id", "from_on"),
)

MEMBERSHIP_CHANGES = Table(
    "membership_changes",
    "Every change of a universe, in the order of detection.",
    (
        Column("change_id", "BIGINT", "Number of the event, rising."),
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("kind", "VARCHAR", f"One of {', '.join(CHANGE_KINDS)}."),
        Column("security_id", "INTEGER", "The security."),
        Column("symbol", "VARCHAR", "Its ticker, the new one where it was renamed."),
        Column("former_symbol", "VARCHAR", "The ticker before a renaming.", required=False),
        Column("effective_on", "DATE", "First session of the change (before the open)."),
        Column("announced_on", "DATE", "Day of the announcement, where known.", required=False),
        Column("detected_at", "TIMESTAMP", "When it was detected here."),
        Column("source", "VARCHAR", "The source."),
        Column("reason", "VARCHAR", "Reason according to the source.", required=False),
        RUN,
    ),
    key=("change_id",),
)

MEMBERSHIP_CONFLICTS = Table(
    "membership_conflicts",
    "Days on which a source disagrees with the decided membership.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("security_id", "INTEGER", "The security."),
        Column("source", "VARCHAR", "The source that disagrees."),
        Column("from_on", "DATE", "First day of the disagreement."),
        Column("until_on", "DATE", "First day after it; null while it lasts.", required=False),
        Column("symbol", "VARCHAR", "The ticker in question."),
        Column("says_member", "BOOLEAN", "Whether that source has the security as a member."),
        Column("cause", "VARCHAR", "Kind of disagreement, in words."),
        Column("decided_by", "VARCHAR", "The source that was followed."),
        Column("detected_at", "TIMESTAMP", "When it was detected here.", provenance=True),
    ),
    key=("universe", "security_id", "source", "from_on"),
)
