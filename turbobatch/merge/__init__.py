"""Mail merge: sandboxed Jinja templates and a table's row become an email, or the row's problems."""

from turbobatch.merge.mailmerge import MailMerge
from turbobatch.merge.merger import Merged, Merger
from turbobatch.merge.problems import Problem

__all__ = ["MailMerge", "Merged", "Merger", "Problem"]
