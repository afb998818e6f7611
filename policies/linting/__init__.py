"""What is wrong with a policy before any cluster sees it: findings, and the rules that make them.

Pure, like all of `policies`: no file, no YAML, no terminal. A finding names a path in the manifest;
who read the file knows the line.
"""
