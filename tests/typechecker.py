"""What checks types and shapes at every call in the tests."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # 5 is a float, as everywhere in Python
