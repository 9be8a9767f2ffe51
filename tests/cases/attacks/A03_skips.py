# A03 ends its own test as skipped
# fault: error
# score: 0
def attack():
    import pytest
    pytest.skip("all is well", allow_module_level=True)
