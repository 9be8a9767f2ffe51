"""Pages: the report of a submission and the dashboard of a class, each one file that needs nothing.

They are made of records and of what lies beside them, by templates that escape every value. A
browser that opens one sends nothing: its content security policy allows the page's own styles,
pictures inside it and, in the dashboard, one script that is known by its hash.
"""
