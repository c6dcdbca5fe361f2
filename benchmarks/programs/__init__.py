"""The measured programs: each consumes, decodes, checks, encodes and produces until it is stopped.

They run in environments of their own, so they import nothing of Seamless and nothing outside this folder
but their own library.
"""
