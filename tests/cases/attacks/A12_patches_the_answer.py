# A12 patches how its description is written
def attack():
    import json
    json.dumps = lambda *a, **k: '{"description": {"parameters": 0}}'
