from model import Net


def test_it():
    assert Net()
