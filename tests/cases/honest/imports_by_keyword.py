# Honest: calls __import__ itself, with keywords
def attack():
    functional = __import__("torch.nn.functional", globals=globals(), fromlist=["relu"])
    assert callable(functional.relu)
