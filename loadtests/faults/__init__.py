"""Everything that can die does, while calls run: hosts as network namespaces, and a schedule made from a
seed."""
