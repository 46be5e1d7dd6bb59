"""Many requests from a folder or a table, and one row of answers for each.

INPUT ─input→ Row ─request→ Request ─Pipeline.stream_many→ Event ─result→ dict ─output→ OUT
"""
