"""The section of the audit log."""

from pydantic import Field

from dockgate_server.config.sections import Section


class AuditSection(Section):
    """The record of who asked for what."""

    keep_days: int = Field(default=400, ge=1, le=36_500)
    """How long an entry of the audit log is kept."""
