"""Tables of universes: members, lists, evidence, changes, conflicts."""

from __future__ import annotations

from quant_assets.schema.table import CREATED, FETCHED, RUN, UPDATED, Column, Table

EVIDENCE_KINDS = ("listed", "interval", "added", "removed")
"""What a source can say of a membership: that its lists had the security from one day to another,
that it was a member from one day to another, or that it joined or left on a day."""

CHANGE_KINDS = ("added", "removed", "renamed", "withdrawn")
"""Kinds of membership event; ``withdrawn`` takes back one whose day had not come."""

UNIVERSES = Table(
    "universes",
    "Named sets of securities.",
    (
        Column("universe", "VARCHAR", "Name, such as sp500."),
        Column("kind", "VARCHAR", "index, or custom where users decide.", required=False),
        Column("source", "VARCHAR", "Where its members come from."),
        Column(
            "passed_over",
            "VARCHAR",
            "Better sources that could not answer, and why; null where the first one answered.",
            required=False,
        ),
        Column("listed_on", "DATE", "Day of the latest list of its members.", required=False),
        CREATED,
        UPDATED,
    ),
    key=("universe",),
)

MEMBERSHIP = Table(
    "universe_membership",
    "Who belonged to a universe, and when, each interval with its source.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("security_id", "INTEGER", "The member."),
        Column("effective_on", "DATE", "First session as a member (before the open)."),
        Column("removed_on", "DATE", "First session no longer a member.", required=False),
        Column("symbol", "VARCHAR", "The ticker under which the source listed it."),
        Column("announced_on", "DATE", "When the change was announced.", required=False),
        Column("detected_at", "TIMESTAMP", "When this database learnt of it.", provenance=True),
        Column("source", "VARCHAR", "Who said so."),
        CREATED,
        UPDATED,
    ),
    key=("universe", "security_id", "effective_on"),
    revised=True,
)

MEMBERSHIP_LISTS = Table(
    "membership_lists",
    "Each day on which a source gave a list of members, and whether it was believed.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("source", "VARCHAR", "Who gave it."),
        Column("listed_on", "DATE", "The day of the list."),
        Column("accepted", "BOOLEAN", "Whether it was believed."),
        Column("trusted", "BOOLEAN", "Whether a user vouched for it, so that it needs no second."),
        Column("members", "INTEGER", "Members it has."),
        Column(
            "reason", "VARCHAR", "Why it was refused, or accepted all the same.", required=False
        ),
        FETCHED,
        RUN,
        CREATED,
        UPDATED,
    ),
    key=("universe", "source", "listed_on", "accepted"),
)

MEMBERSHIP_EVIDENCE = Table(
    "membership_evidence",
    "What each source says of each membership. The intervals of universe_membership are decided "
    "from these rows and the days of membership_lists, and from nothing else.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("source", "VARCHAR", "Who says so."),
        Column("kind", "VARCHAR", f"One of {', '.join(EVIDENCE_KINDS)}."),
        Column("security_id", "INTEGER", "The security."),
        Column("from_on", "DATE", "First day listed, first day a member, or day of the change."),
        Column(
            "until_on",
            "DATE",
            "First day no longer listed, or no longer a member.",
            required=False,
        ),
        Column("symbol", "VARCHAR", "The ticker it goes by there."),
        Column("said_added_on", "DATE", "When it joined, as a list says.", required=False),
        Column("reason", "VARCHAR", "Why it changed, as the source says.", required=False),
        RUN,
        CREATED,
        UPDATED,
    ),
    key=("universe", "source", "kind", "security_id", "from_on"),
)

MEMBERSHIP_CHANGES = Table(
    "membership_changes",
    "Every change of a universe, in the order in which it was noticed here.",
    (
        Column("change_id", "BIGINT", "Number of the event, rising."),
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("kind", "VARCHAR", f"One of {', '.join(CHANGE_KINDS)}."),
        Column("security_id", "INTEGER", "The security."),
        Column("symbol", "VARCHAR", "Its ticker, the new one where it was renamed."),
        Column("former_symbol", "VARCHAR", "The ticker before a renaming.", required=False),
        Column("effective_on", "DATE", "First session on which it holds (before the open)."),
        Column("announced_on", "DATE", "When it was announced, where known.", required=False),
        Column("detected_at", "TIMESTAMP", "When this database learnt of it."),
        Column("source", "VARCHAR", "Who said so."),
        Column("reason", "VARCHAR", "Why, as the source says.", required=False),
        RUN,
        CREATED,
        UPDATED,
    ),
    key=("change_id",),
)

MEMBERSHIP_CONFLICTS = Table(
    "membership_conflicts",
    "Days on which a source says other than what was decided of a membership.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("security_id", "INTEGER", "The security."),
        Column("source", "VARCHAR", "Who says otherwise."),
        Column("from_on", "DATE", "First day of the disagreement."),
        Column("until_on", "DATE", "First day after it; null while it lasts.", required=False),
        Column("symbol", "VARCHAR", "The ticker in question."),
        Column("says_member", "BOOLEAN", "Whether that source has it as a member in these days."),
        Column("cause", "VARCHAR", "What kind of disagreement it is, in words."),
        Column("decided_by", "VARCHAR", "The source that was followed."),
        Column("detected_at", "TIMESTAMP", "When it was noticed.", provenance=True),
        CREATED,
        UPDATED,
    ),
    key=("universe", "security_id", "source", "from_on"),
)
